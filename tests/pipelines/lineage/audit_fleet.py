"""Audits on a Ray of two machines, beside the same audits on one: findings, lost machines, Ctrl-C, and memory.

A test runs `main` in a process of its own, which has no other Ray. Workers import this module, for its slow store.
"""

import contextlib
import io
import json
import os
import signal
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

import pipelines.commands.context as commands_context
from cluster.parts import machines
from cluster.site import load_site
from pipelines.cli import main as neo_main
from pipelines.lineage import audit_notes, file_lists, record_checks
from pipelines.lineage.audit import audit
from pipelines.lineage.file_checks import Depth
from pipelines.lineage.graph import lineage_of
from stages.artifacts.head import head_bytes, head_key, head_of
from stages.artifacts.manifest import Manifest, content_digest, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.commit import phase_records
from stages.commit.phase_records import parts_key, record_key
from stages.store.store import Store
from tests.cluster.slow_nodes import patiently
from tests.pipelines.conftest import NOBODY
from tests.worlds.cluster_world import write_down

MIB = 1024**2
NODE = {"num_cpus": 1, "object_store_memory": 100 * MIB}
BUCKET = "AUDITED_BUCKET"
"""Environment variable: a bucket with a copy of the damaged store."""
DIARY, PAUSE = "AUDIT_DIARY", "AUDIT_PAUSE_SECONDS"
"""Environment variables: where a slow store notes what it reads; how long it takes for each range of it."""
STAGE, FINGERPRINT = "make_bytes", "ab" * 32
SIZES = (500, 2000)
"""Parts of the artifacts whose audits are measured."""


class SlowStore(Store):
    """Takes its time for each range of a data file, and notes the file."""

    def read_range(self, key: str, start: int, length: int, *, keep_open: bool = False) -> bytes:
        diary = Path(self.url).parent / "diary"
        if "/attempts/" in key and diary.is_dir():
            write_down(str(diary), Path(key).parent.name + "-" + Path(key).name)
            time.sleep(float((diary / "pause").read_text()))
        return super().read_range(key, start, length, keep_open=keep_open)


def neo(*words: str) -> tuple[int, str]:
    """Type `neo` with these words; the exit code, and what it printed."""
    out, sys.argv = io.StringIO(), ["neo", *words]
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            neo_main()
            code = 0
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue()


class Fleet:
    """Two machines beside the driver's, and sites that name them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = patiently(lambda: Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0}))
        self.nodes = [patiently(lambda: self.cluster.add_node(**NODE)) for _ in range(2)]
        ray.init(address=self.cluster.address, log_to_driver=False)

    def site(self, store: str) -> str:
        path = self.folder / f"{abs(hash(store))}.toml"
        cluster = f'code = "local"\n[ray]\naddress = "{self.cluster.address}"\n'
        path.write_text(f'store = "{store}"\nmlflow = "{NOBODY}"\n{cluster}')
        return str(path)

    def compare(self, name: str, store: str, *levels: str) -> None:
        """Audit on the cluster and on this machine alone, and note both documents of each level."""
        told: dict[str, list[Any]] = {}
        for level in levels:
            words = [
                "audit",
                "whole/evaluate",
                "--level",
                level,
                "--share",
                "0.5",
                "--json",
                "--site",
                self.site(store),
            ]
            told[level] = [json.loads(neo(*words, *more)[1]) for more in ([], ["--here"])]
        (self.folder / f"{name}.json").write_text(json.dumps(told))

    def slow_audit(self, name: str, pause_seconds: float, meanwhile: Callable[[], object]) -> None:
        """Audit a slow store; once its first note is written, `meanwhile` is called. Notes what was told and read."""
        folder = self.folder / "slow"
        (folder / "diary").mkdir(exist_ok=True)
        for seen in (folder / "diary").iterdir():
            seen.unlink()
        (folder / "diary" / "pause").write_text(str(pause_seconds))
        before = len(list((folder / "store").glob("audits/**/verified-*")))
        ended, at_seconds = threading.Event(), [0.0]

        def watch() -> None:
            while len(list((folder / "store").glob("audits/**/verified-*"))) == before and not ended.is_set():
                time.sleep(0.02)
            at_seconds[0] = time.monotonic()
            meanwhile()

        watching = threading.Thread(target=watch)
        watching.start()
        code, out = neo("audit", "whole/evaluate", "--site", self.site(f"{folder}/store"))
        ended.set()
        watching.join()
        seconds = time.monotonic() - at_seconds[0]
        read = sorted(path.name.rpartition(".")[0] for path in (folder / "diary").iterdir() if path.name != "pause")
        self.note(name, code=code, out=out, seconds=seconds, read=read)

    def lose(self, node: Any) -> None:
        self.cluster.remove_node(node, allow_graceful=False)

    def note(self, name: str, **told: Any) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(told))

    def memory(self, num_parts: int) -> dict[str, Any]:
        """The peak that Python holds in the driver during an audit of an artifact of this many parts."""
        store = Store(self.folder / f"large-{num_parts}")
        write_large(store, num_parts)
        file_lists.MAX_FILES_OF_LIST = 256
        site = load_site(self.site(store.url))
        lineage = lineage_of(store, STAGE, FINGERPRINT)
        with machines.machines_of(site, "audit") as those:
            reader = file_lists.reader_on(those, print, contextlib.nullcontext)
            tracemalloc.start()
            report = audit(store, lineage, lambda *_: None, Depth("size"), read_files=reader)
            peak_bytes = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        return {"peak_bytes": peak_bytes, "num_files": report.num_files, "findings": len(report.findings)}


def write_large(store: Store, num_parts: int) -> None:
    """An artifact of many parts with four files each, all of which are the same object."""
    folder = f"artifacts/{STAGE}/{FINGERPRINT[:12]}"
    key, data = f"{folder}/attempts/a/data.bin", b"data"
    store.create(key, data)
    entries = tuple(FileEntry(name=f"{n}.bin", key=key, size_bytes=len(data), sha256="0" * 64) for n in range(4))
    parts = tuple(PartRecord(phase="write", part=f"{n:05d}", files=entries) for n in range(num_parts))
    fields = {"kind": "Artifact", "stage": STAGE, "number": 1, "fingerprint": FINGERPRINT, "recipe": {}, "inputs": {}}
    manifest = Manifest(**fields, items=ItemBalance(), content=content_digest(parts), versions={}, parts=parts)
    written = manifest_bytes(manifest)
    store.create(manifest_key(STAGE, FINGERPRINT), written)
    store.create(head_key(STAGE, FINGERPRINT), head_bytes(head_of(written)))
    store.create_json(f"{folder}/inputs.json", {})
    store.create_json(parts_key(folder, "write"), [{"name": part.part} for part in parts])
    for part in parts:
        path = Path(store.url) / record_key(folder, "write", part.part)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(part.model_dump_json())


def main(folder: Path) -> None:
    """Run one scenario after the other; leaves `NAME.json` of each."""
    file_lists.MAX_FILES_OF_LIST = 2
    phase_records.PARTS_PER_BUNDLE = 2
    record_checks.MAX_PARTS_AT_A_TIME = 100
    fleet = Fleet(folder)
    try:
        fleet.compare("folder", str(folder / "damaged"), "quick", "size", "sample", "full")
        fleet.compare("bucket", os.environ[BUCKET], "size", "full")
        fleet.note("memory", peaks=[fleet.memory(number) for number in SIZES])
        file_lists.MAX_FILES_OF_LIST = 1
        commands_context.Store = SlowStore
        audit_notes.SECONDS_BETWEEN_NOTES = 0.0
        fleet.slow_audit("stopped", 1.0, lambda: os.kill(os.getpid(), signal.SIGINT))
        fleet.slow_audit("continued", 0.0, lambda: None)
        machines.GRACE_SECONDS = 2.0
        fleet.slow_audit("stuck", 1.0, lambda: make_stuck(folder))
        fleet.slow_audit("unstuck", 0.0, lambda: None)
        fleet.slow_audit("lost", 1.0, lambda: fleet.lose(fleet.nodes[0]))
    finally:
        ray.shutdown()
        fleet.cluster.shutdown()


def make_stuck(folder: Path) -> None:
    """Let the store answer no read any more, and stop the audit once one waits."""
    (folder / "slow" / "diary" / "pause").write_text("100")
    time.sleep(3)
    os.kill(os.getpid(), signal.SIGINT)
