"""What `neo verify` costs beside hashing the same files, for a model of few large files and a copy of many small ones.

`python -m benchmarks.verify [--mb 2000] [--num-files 20000] [--repeats 3]`: an exported folder with four files of
weights, and a copy of an artifact with many files of 16 KB, both in the page cache. Each is verified, and its files are
hashed by sha256 alone with as many threads; the two alternate. Speed is by wall time; the ratio is what counts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.evidence.folder_check import NUM_READERS, check_folder
from pipelines.outside.copy_record import FILES_FILE
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.kinds import LINEAGE_FILE
from stages.artifacts.merkle import MerkleTree, artifact_root, canonical, file_leaf
from stages.artifacts.records import sha256_of
from stages.exporting.lineage_file import sealed

BLOCK = os.urandom(2**20)


def entry_of(files_root: str) -> dict[str, object]:
    """An artifact without inputs, as the record tells of it."""
    described = {
        "stage": "pack_rows", "number": 1, "kind": "Rows", "fingerprint": "f" * 64, "content": "c" * 64, "recipe": {},
        "items": {"kept": 0, "dropped": {}, "failed": {}}, "inputs": {},
    }  # fmt: skip
    return {**described, "files_root": files_root, "root": artifact_root(described, files_root, {})}


def fill_export(folder: Path, num_mb: int) -> None:
    """Four large files and a lineage."""
    files = []
    for number in range(4):
        path = folder / f"model-{number}.safetensors"
        with path.open("wb") as file:
            for _ in range(num_mb // 4):
                file.write(BLOCK)
        files.append({"name": path.name, "size_bytes": path.stat().st_size, "sha256": sha256_of(path)})
    document = {
        "checkpoint": "f" * 64,
        "artifacts": [entry_of("0" * 64)],
        "evaluated": [],
        "scores": {},
        "files": files,
    }
    (folder / LINEAGE_FILE).write_bytes(sealed(document))


def fill_copy(folder: Path, num_files: int) -> None:
    """Many small files and the record of a copy."""
    tree = MerkleTree()
    (folder / HIDDEN).mkdir()
    with (folder / HIDDEN / FILES_FILE).open("wb") as lines:
        for number in range(num_files):
            part, data = f"{number // 4:06}", BLOCK[number % 1000 :][:16_384]
            name = f"{number % 4}.bin"
            path = folder / "write" / part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
            digest = hashlib.sha256(data).hexdigest()
            tree.add(file_leaf("write", part, name, len(data), digest))
            line = {"copied": True, "name": name, "part": part, "path": f"write/{part}/{name}", "phase": "write"}
            lines.write(canonical({**line, "sha256": digest, "size_bytes": len(data)}) + b"\n")
    document = {"artifact": "f" * 64, "artifacts": [entry_of(tree.root)], "lacking": ""}
    (folder / HIDDEN / LINEAGE_FILE).write_bytes(sealed(document))
    about = '{\n  "artifact": "pack_rows/ffffffffffff",\n  "content": "%s",\n  "layout": "files"\n}\n' % ("c" * 64)
    (folder / HIDDEN / "about.json").write_text(about)


def paths_of(folder: Path) -> Iterator[Path]:
    """All files of a folder but those of its record."""
    return (path for path in folder.rglob("*") if path.is_file() and HIDDEN not in path.parts)


def hash_alone(folder: Path) -> None:
    """The baseline: sha256 of every file."""
    with ThreadPoolExecutor(NUM_READERS) as pool:
        for _ in pool.map(sha256_of, paths_of(folder)):
            pass


def verify(folder: Path) -> None:
    """What is measured."""
    if findings := check_folder(folder).findings:
        raise AssertionError(findings[:3])


def seconds(work: Callable[[Path], None], folder: Path) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work(folder)
    return time.perf_counter() - started


def compare(name: str, folder: Path, repeats: int) -> None:
    """Print both speeds and their ratio."""
    size_mb = sum(path.stat().st_size for path in paths_of(folder)) / 1e6
    hash_alone(folder)
    alone, verified = [], []
    for _ in range(repeats):
        alone.append(seconds(hash_alone, folder))
        verified.append(seconds(verify, folder))
    best_alone, best_verified = min(alone), min(verified)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(
        f"{name:24} {size_mb:8,.0f} MB  hash {size_mb / best_alone:7,.0f} MB/s  verify "
        f"{size_mb / best_verified:7,.0f} MB/s  x {best_alone / best_verified:.2f}  peak {peak_mb:,.0f} MB",
        flush=True,
    )


def main() -> None:
    """Fill both folders, then compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--mb", type=int, default=2_000)
    parser.add_argument("--num-files", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="neo-verify-") as place:
        export, copy = Path(place) / "export", Path(place) / "copy"
        export.mkdir()
        copy.mkdir()
        fill_export(export, options.mb)
        compare("export, 4 large files", export, options.repeats)
        fill_copy(copy, options.num_files)
        compare(f"copy, {options.num_files:,} files", copy, options.repeats)


if __name__ == "__main__":
    main()
