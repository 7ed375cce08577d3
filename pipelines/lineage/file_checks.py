"""Files of artifacts compared with their records: many side by side, to a chosen depth.

Owns the levels of an audit, which files a level reads, and the threads that read them on this machine; `file_lists.py`
has them read on many. `record_checks.py` compares the records with each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, NamedTuple, TypeAlias

from pipelines.lineage.read_manifest import ReadManifest
from stages.artifacts.records import STEPS_PHASE, FileEntry, ItemBalance, PartRecord
from stages.artifacts.taken_over import superseded_reasons
from stages.commit.repair import file_problem
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import balance_of
from stages.store.range_stream import buffered_ranges
from stages.store.store import Store

Level = Literal["quick", "size", "sample", "full"]
"""How much an audit reads. `quick`: records alone. `size`: the size of each file as well. `sample`: also the bytes of a
share of the files. `full`: the bytes of all."""
NUM_READERS = 32
"""Files that are read side by side, a chunk of each in memory at a time."""
TABLE_BUFFER_BYTES = 1024 * 1024
VERDICT_COLUMNS = ("verdict", "reason")


@dataclass(frozen=True)
class Depth:
    """How much of the files an audit reads."""

    level: Level = "full"
    share: float = 0.05
    """Share of the files that level `sample` reads, 0 to 1. Files are drawn by key and seed, whatever their size."""
    seed: int = 0
    """Seed of the drawing at level `sample`: another seed reads other files."""

    @property
    def looks_at_files(self) -> bool:
        """Whether files are looked at, and not records alone."""
        return self.level != "quick"

    def reads(self, entry: FileEntry) -> bool:
        """Whether the bytes of a file are read."""
        if self.level != "sample":
            return self.level == "full"
        drawn = hashlib.sha256(f"{self.seed} {entry.key}".encode()).digest()
        return int.from_bytes(drawn[:8], "big") < self.share * 2**64


class PlacedFile(NamedTuple):
    """A file, with its place among all files of its artifact."""

    place: int
    """Files of the artifact before it."""
    part: PartRecord
    entry: FileEntry


@dataclass(frozen=True)
class FileCheck:
    """The result for one file."""

    file: PlacedFile
    problem: str
    """What is wrong with it, as a phrase; '' if it is as it was recorded, as far as it was looked at."""
    was_read: bool
    """Whether its bytes were read, now or by the unfinished audit that this one continues."""
    version: str = ""
    """The version of the object before it was read; '' if it was not read now."""
    counts: bool = False
    """Whether the problem is that the rows of a table do not add up, while its bytes are those that were recorded."""


@dataclass(frozen=True)
class ArtifactFiles:
    """The files of one artifact that are to be looked at."""

    store: Store
    manifest: ReadManifest
    kept: Sequence[PartRecord]
    """Checkpoints that training went past, which the manifest does not list; their files come last."""
    depth: Depth
    noted: Callable[[FileEntry], str]
    """The version of a file that an unfinished audit has read, which need not be read again if it is still the same;
    '' for a file that is to be read."""

    def __iter__(self) -> Iterator[PlacedFile]:
        return placed(chain(self.manifest.parts(), self.kept))


FileReader: TypeAlias = Callable[[ArtifactFiles, Callable[[FileCheck], None]], None]
"""Looks at files, and hands over the result for each, in any order."""


def placed(parts: Iterable[PartRecord], first: int = 0) -> Iterator[PlacedFile]:
    """The files of parts; `first` is the place of the first."""
    entries = ((part, entry) for part in parts for entry in part.files)
    return (PlacedFile(place, part, entry) for place, (part, entry) in enumerate(entries, first))


def read_here(files: ArtifactFiles, take: Callable[[FileCheck], None]) -> None:
    """Look at files on this machine, `NUM_READERS` side by side."""
    for check in check_files(files.store, files, files.depth, files.noted, NUM_READERS):
        take(check)


def check_files(
    store: Store, files: Iterable[PlacedFile], depth: Depth, noted: Callable[[FileEntry], str], num_readers: int
) -> Iterator[FileCheck]:
    """The result for each file, in order, `num_readers` side by side."""

    def check(file: PlacedFile) -> FileCheck:
        entry = file.entry
        if not depth.reads(entry):
            return FileCheck(file, file_problem(store, entry, reads_bytes=False), was_read=False)
        version = noted(entry)
        if version and version == store.version(entry.key):
            return FileCheck(file, "", was_read=True)
        return _read(store, file)

    return ahead(check, files if depth.looks_at_files else (), num_readers)


def _read(store: Store, file: PlacedFile) -> FileCheck:
    """Read a file: its bytes, and whether the rows of a sample table add up to its part's balance."""
    _, part, entry = file
    version = store.version(entry.key) or ""
    problem = file_problem(store, entry)
    counted = None if problem else _miscounted(store, part, entry)
    return FileCheck(file, counted or problem, was_read=True, version=version, counts=counted is not None)


def _miscounted(store: Store, part: PartRecord, entry: FileEntry) -> str | None:
    """How the verdicts in a sample table differ from the item balance of its part; None if they do not."""
    if part.phase == STEPS_PHASE or not entry.name.endswith(".parquet"):
        return None
    counted = _counted(store, entry, superseded_reasons(part))
    if counted is None or counted == part.items:
        return None
    return f"its rows count {_balance(counted)}, its part states {_balance(part.items)}"


def _counted(store: Store, entry: FileEntry, superseded: Collection[str]) -> ItemBalance | None:
    """The balance of a sample table, without its superseded rows, or None if the table has no verdicts.

    Reads the two columns, by ranges.
    """
    import pyarrow.parquet as pq

    def read_range(start: int, length: int) -> bytes:
        return store.read_range(entry.key, start, length)

    with buffered_ranges(entry.size_bytes, read_range, TABLE_BUFFER_BYTES) as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        if not set(VERDICT_COLUMNS) <= set(file.schema_arrow.names):
            return None
        balance = balance_of(file.read(columns=list(VERDICT_COLUMNS), use_threads=False))
    failed = {reason: number for reason, number in balance.failed.items() if reason not in superseded}
    return balance.model_copy(update={"failed": failed})


def _balance(items: ItemBalance) -> str:
    return f"{items.kept} kept, {items.num_dropped} dropped, {items.num_failed} failed"
