"""What `neo gc` and `neo diff` cost for artifacts of many thousand parts, in a local folder.

`python -m benchmarks.delete [--num-parts 39000]`: two artifacts of that many parts, of two files, a record each, as a
download leaves them; a name points at one of them, which also holds uploads of a dead attempt, and nothing leads to the
other. Measured in a process of their own, at a tenth of the parts and at all:

    survey    what nothing leads to, and the uploads that no record names
    delete    one artifact and the uploads deleted
    diff      the two artifacts compared, before one of them is deleted

Beside them, in seconds of CPU: listing and deleting as many plain files by obstore. Prints ratios, peak memory and what
a part costs; asserts nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from pipelines.comparing.differences import compare
from pipelines.comparing.sides import side_of
from pipelines.garbage.deletion import Deletion
from pipelines.garbage.reachability import Reachability
from pipelines.garbage.survey import survey
from stages.artifacts.head import head_bytes, head_key, head_of
from stages.artifacts.manifest import Manifest, artifact_folder, manifest_bytes, manifest_key
from stages.artifacts.records import FileEntry, ItemBalance, PartRecord
from stages.store.metadata import readable_json
from stages.store.refs import set_ref
from stages.store.store import Store

Made = TypeVar("Made")
STAGE, NUM_FILES = "download_pairs", 2
NO_GRACE = timedelta(0)
DEAD_SHARE = 100
"""One upload of a dead attempt for so many parts."""


def fill(folder: Path, num_parts: int) -> None:
    """Write both artifacts, and as many plain files for the baseline."""
    store = Store(folder)
    for letter in "ab":
        whole = artifact_folder(STAGE, letter * 64)
        parts = []
        for number in range(num_parts):
            name = f"{number:06d}"
            keys = [f"{whole}/attempts/made-1/{name}/{file}.bin" for file in range(NUM_FILES)]
            files = tuple(FileEntry(name=key[-5:], key=key, size_bytes=1, sha256=letter * 64) for key in keys)
            parts.append(PartRecord(phase="download", part=name, files=files, items=ItemBalance(kept=number)))
            written = {f"{whole}/records/download/{name}.json": readable_json(parts[-1].model_dump(mode="json"))}
            written |= dict.fromkeys(keys, b"x")
            written |= {f"{whole}/attempts/dead-1/{name}.bin": b"x"} if not number % DEAD_SHARE else {}
            for place, data in (*written.items(), *((f"plain/{letter}/{key}", one) for key, one in written.items())):
                (folder / place).parent.mkdir(parents=True, exist_ok=True)
                (folder / place).write_bytes(data)
        manifest = Manifest(
            kind="RawPairs", stage=STAGE, number=1, fingerprint=letter * 64, recipe={"seed": letter}, inputs={},
            parts=tuple(parts), items=ItemBalance(), content=letter, versions={},
        )  # fmt: skip
        data = manifest_bytes(manifest)
        store.create(manifest_key(STAGE, letter * 64), data)
        store.create(head_key(STAGE, letter * 64), head_bytes(head_of(data)))
    set_ref(store, "own/pairs", {"stage": STAGE, "fingerprint": "a" * 64})


def measure(folder: Path) -> dict[str, tuple[float, float]]:
    """Name of what is measured to CPU seconds, and MiB by which the process grew at its highest."""
    store = Store(folder)
    found: dict[str, tuple[float, float]] = {}

    def timed(name: str, work: Callable[[], Made]) -> Made:
        before, started = peak_mib(), time.process_time()
        made = work()
        found[name] = (time.process_time() - started, peak_mib() - before)
        return made

    def delete_plainly() -> None:
        for key, _, _ in [*store.objects("plain/b/")]:
            store.delete(key)

    names = [f"{STAGE}/{letter * 12}" for letter in "ab"]
    timed("diff", lambda: compare(store, *(side_of(store, name) for name in names)))
    timed("list plainly", lambda: sum(1 for _ in store.objects("plain/")))
    reached = Reachability(store)
    seen = timed("survey", lambda: survey(store, reached, NO_GRACE, datetime.now(UTC)))
    timed("delete", lambda: Deletion(store, reached, NO_GRACE, lambda _: None).carry_out(seen))
    timed("delete plainly", delete_plainly)
    return found


def peak_mib() -> float:
    """Highest memory of this process so far, in MiB; `getrusage` would tell that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def main() -> None:
    """Measure at two sizes and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--num-parts", type=int, default=39_000)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    for num_parts in (options.num_parts // 10, options.num_parts):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            fill(Path(folder), num_parts)
            with get_context("spawn").Pool(1) as process:
                found = process.apply(measure, (Path(folder),))
        beside = {"survey": "list plainly", "delete": "delete plainly"}
        print(f"{num_parts:,} parts of {NUM_FILES} files and a record")
        for name, (seconds, grown_mib) in found.items():
            ratio = f"{seconds / found[beside[name]][0]:>5.1f} x {beside[name]}" if name in beside else ""
            each = f"{1e6 * seconds / num_parts:>7.0f} us a part"
            print(f"  {name:<15}{seconds:>8.2f} s CPU{each}  +{grown_mib:>5.1f} MiB  {ratio}")


if __name__ == "__main__":
    main()
