"""Inputs and results of plans, by the million documents, for the benchmarks of packing: measured parts without their
records, a plan part in a process of its own, and an index of samples.

Each document is a sample of its own, drawn once, of a lognormal length; its place in the draw is a keyed permutation,
as in a real draw, so neighbours in the draw come from different parts.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import MEASURED_DOCUMENTS_FILE, SAMPLE_ROWS_FILE, SAMPLE_ROWS_OFFSETS_FILE
from stages.artifacts.manifest import Manifest
from stages.artifacts.records import FileEntry
from stages.commit.draft import Draft
from stages.contract import ItemBalance, Part, PartRecord
from stages.formats.external_sort import Buckets
from stages.formats.packed_rows.sample_index import ENTRY_FIELDS, PREFIX_BITS, SampleIndex, halves, write_index
from stages.formats.permutation import Shuffle
from stages.formats.sample_table import sample_id_type, write_table
from stages.packing.plan import plan_part
from stages.store.store import Store

Result = TypeVar("Result")
NUM_DOCUMENTS_PER_PART = 10_000
ROW_TOKENS = 16_384


def lognormal(
    num_documents: int, chance: np.random.Generator, *, median: float = 500, sigma: float = 1.0
) -> np.ndarray:
    """Lengths in tokens [num_documents], 1 to `ROW_TOKENS`."""
    drawn = chance.lognormal(np.log(median), sigma, num_documents)
    return np.clip(np.rint(drawn), 1, ROW_TOKENS).astype(np.uint16)


def measured_parts(num_documents: int, store: Store) -> Iterator[PartRecord]:
    """The records of measured parts, whose tables of documents are written into a folder's store."""
    draw = Shuffle(num_documents, "draw")
    for first in range(0, num_documents, NUM_DOCUMENTS_PER_PART):
        chance = np.random.default_rng(first)
        number = min(NUM_DOCUMENTS_PER_PART, num_documents - first)
        lengths = lognormal(number, chance)
        sizes_bytes = 300 + 5 * lengths.astype(np.int64)
        table = pa.table(
            {
                "sample_id": pa.FixedSizeBinaryArray.from_buffers(
                    sample_id_type(), number, [None, pa.py_buffer(chance.bytes(16 * number))]
                ),
                "place": draw.places(np.arange(first, first + number)),
                "repetition": np.zeros(number, np.int32),
                "piece": np.zeros(number, np.int32),
                "num_tokens": lengths.astype(np.int32),
                "offset": np.cumsum(sizes_bytes) - sizes_bytes,
                "size_bytes": sizes_bytes.astype(np.int32),
            }
        )
        name = f"pairs-{first // NUM_DOCUMENTS_PER_PART:05d}"
        key = f"artifacts/pack_rows/benchmark/attempts/{name}/{MEASURED_DOCUMENTS_FILE}"
        assert store.folder is not None
        path = store.folder / key
        path.parent.mkdir(parents=True)
        write_table(table, path)
        facts = {"source": "pairs", "num_documents": number, "num_tokens": int(lengths.sum()), "num_images": number}
        yield PartRecord(
            phase="measure",
            part=name,
            files=(FileEntry(name=MEASURED_DOCUMENTS_FILE, key=key, size_bytes=path.stat().st_size, sha256=""),),
            items=ItemBalance(kept=number),
            facts=facts | {"num_with_smaller_pictures": 0, "num_cut_texts": 0},
        )


def in_a_fresh_process(work: Callable[..., Result], *arguments: object) -> tuple[Result, int]:
    """The result of `work` in a process of its own, and the peak memory of that process, in bytes."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(_watched, (work, arguments))


def _watched(work: Callable[..., Result], arguments: Sequence[object]) -> tuple[Result, int]:
    """The result and the peak memory of this process. `getrusage` would include the process that started it."""
    result = work(*arguments)
    lines = Path("/proc/self/status").read_text().splitlines()
    return result, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def plan_in_a_fresh_process(num_documents: int, folder: Path) -> tuple[float, int, int]:
    """CPU seconds of the plan part, the bytes it wrote, and the peak memory of its process."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        store = Store(Path(place) / "store")
        measured = list(measured_parts(num_documents, store))
        (seconds, made_bytes), memory_bytes = in_a_fresh_process(_plan, store, measured, Path(place) / "draft")
        return seconds, made_bytes, memory_bytes


def _plan(store: Store, measured: list[PartRecord], folder: Path) -> tuple[float, int]:
    folder.mkdir()
    task = {"key": "0/rows", "row_tokens": ROW_TOKENS, "num_rows_per_part": 512, "window_documents": None}
    draft = Draft(folder, lambda _: None)
    started = time.process_time()
    plan_part(Part(name="plan", task=task), draft, store=store, measured=measured)
    seconds = time.process_time() - started
    made_bytes = sum(path.stat().st_size for _, path in draft.files())
    return seconds, made_bytes


def sample_index(num_samples: int, folder: Path) -> SampleIndex:
    """An index of `num_samples` samples, each in one row, written as a plan writes it."""
    store, chance = Store(folder / "store"), np.random.default_rng(0)
    with Buckets(folder / "buckets", ENTRY_FIELDS, num_keys=2**PREFIX_BITS, num_records=num_samples) as buckets:
        for first in range(0, num_samples, 2**20):
            entries = np.zeros(min(2**20, num_samples - first), ENTRY_FIELDS)
            entries["sample_id"] = np.frombuffer(chance.bytes(16 * len(entries)), "V16")
            entries["row"] = np.arange(first, first + len(entries)) // 20
            buckets.add(entries, halves(entries["sample_id"])[0] >> np.uint64(64 - PREFIX_BITS))
        place = "artifacts/pack_rows/benchmark/attempts"
        keys = {name: f"{place}/{name}" for name in (SAMPLE_ROWS_FILE, SAMPLE_ROWS_OFFSETS_FILE)}
        (folder / "store" / place).mkdir(parents=True)
        paths = {name: folder / "store" / key for name, key in keys.items()}
        write_index(buckets.drain(), num_samples, paths[SAMPLE_ROWS_FILE], paths[SAMPLE_ROWS_OFFSETS_FILE])
    files = tuple(
        FileEntry(name=name, key=key, size_bytes=paths[name].stat().st_size, sha256="") for name, key in keys.items()
    )
    manifest = Manifest(
        kind="Rows", stage="pack_rows", number=0, fingerprint="benchmark", recipe={}, inputs={},
        items=ItemBalance(), content="", versions={}, parts=(),
    )  # fmt: skip
    return SampleIndex(Artifact(store, manifest), PartRecord(phase="plan", part="plan", files=files))
