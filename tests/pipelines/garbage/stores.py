"""Small stores for tests of deletion: two runs that share what they fetched, and checks that nothing looks whole."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from stages.store.store import Store
from tests.pipelines.conftest import TOYS, NeoSite

DATA = f"{TOYS}:data"
OTHER = ("--set", "kept.min_width_px=15")


def two_runs(site: NeoSite) -> tuple[str, str]:
    """Names of two runs of one pipeline, of which the second is the newer; both read the same pairs.

    They are made once in a session, and copied.
    """
    template = site.folder.parent / "two-runs"
    if template.is_dir():
        shutil.copytree(template / "store", site.folder / "store")
        old, new = (template / "names").read_text().split()
        return old, new
    first = site.neo("run", DATA, "--json")
    second = site.neo("run", DATA, *OTHER, "--json")
    assert (first.code, second.code) == (0, 0), first.err + second.err
    names = first.json["run"], second.json["run"]
    shutil.copytree(site.folder / "store", template / "store")
    (template / "names").write_text(" ".join(names))
    return names


def artifacts(store: Store) -> set[str]:
    """Stage and digits of each artifact's folder."""
    return {f"{stage}/{name}" for stage in store.folders("artifacts/") for name in store.folders(f"artifacts/{stage}/")}


def made_by(store: Store, run: str) -> set[str]:
    """The artifacts that the plan of a run names."""
    steps = store.read_json(f"runs/{run}/plan.json")["steps"]
    return {f"{step['stage']}/{step['fingerprint'][:12]}" for step in steps}


def check_nothing_looks_whole(store: Store) -> None:
    """Every manifest, and every record where no mark keeps attempts away, names files that are there.

    What a committed artifact was made of is committed, too.
    """
    for short in artifacts(store):
        folder = f"artifacts/{short}"
        keys = set(store.keys(f"{folder}/"))
        records = [key for key in keys if key.startswith(f"{folder}/records/") and key.endswith(".json")]
        if f"{folder}/manifest.json" in keys:
            manifest = store.read_json(f"{folder}/manifest.json")
            files = [entry for part in manifest["parts"] for entry in part["files"]]
            read = [f"artifacts/{one['stage']}/{one['fingerprint'][:12]}" for one in manifest["inputs"].values()]
            assert all(store.size_bytes(f"{one}/manifest.json") for one in read), f"{folder} lost what it was made of"
        elif f"{folder}/collected.json" in keys:
            files = [entry for key in records for entry in store.read_json(key)["files"]]
        else:
            assert not records, f"{folder} has records, no manifest and no mark"
            continue
        assert all(store.size_bytes(entry["key"]) == entry["size_bytes"] for entry in files), folder


def grow_old(folder: Path, days: float = 3.0) -> None:
    """Set the time of writing of every file below a folder so many days back."""
    then = time.time() - days * 86400
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


def listed(store: Store, number: int = 0) -> dict[str, Any]:
    """A list of what was deleted."""
    data = store.read(f"collected/{number}/list.json")
    assert data is not None
    return json.loads(data)


def all_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
