"""Makes the indexes of an artifact, in two maps: groups of its parts to runs, then runs to pieces.

A run holds what the tables of a group of parts have, sorted by digest, with prefix offsets; a piece takes its stretch
out of every run, by one range read each. Both lie in the store once they are whole, so that what is broken off is
continued, on the same machine or another. Work on a group holds the digests of 64 MB of tables (some 150 MB, with
texts more), work on a piece those of 4 million entries (some 400 MB), whatever the artifact holds.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from pipelines.indexes.entries import FOUND_FIELDS, IndexLayout, leading, piece_bytes
from pipelines.indexes.records import (
    INDEX_HEAD,
    LAYOUT_VERSION,
    IndexHead,
    PieceFile,
    folder_of,
    head_key,
    parts_key,
    piece_key,
    run_key,
    runs_prefix,
)
from pipelines.indexes.subjects import SUBJECTS, indexed_of
from pipelines.indexes.tables import PartTables, keep, listed
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.formats.external_sort import raw
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import read_table
from stages.store.errors import StoreError
from stages.store.fault_points import fault_point
from stages.store.reader import NUM_READERS
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]
    Found = NDArray[np.void]

ROWS_PER_GROUP: Final = 2**20
"""Rows of the parts that one run is made of, at least, where there are so many."""
BYTES_PER_GROUP: Final = 2**26
"""Bytes of their tables, at least: of long texts, whose words are many times as many as the rows."""
RUN_SLOT_BITS: Final = 12
"""Leading bits by which a run has prefix offsets: pieces are cut by as many at the most."""
RUN_OFFSETS_BYTES: Final = 8 * ((1 << RUN_SLOT_BITS) + 1)
"""Length of the prefix offsets of a run, which come first."""


class DamagedPartsError(StoreError):
    """The list of indexed parts is missing, or is not what was written."""


Task = TypeVar("Task")
Done = TypeVar("Done")


class TaskSpread(Protocol):
    """How work on groups and pieces is done: here one after the other, or on the machines of a site."""

    def __call__(self, work: Callable[[Task], Done], tasks: Sequence[Task], phase: str, /) -> Iterable[Done]:
        """`work` of each task, in any order."""


def spread_here(work: Callable[[Task], Done], tasks: Sequence[Task], _phase: str, /) -> Iterable[Done]:
    """One after the other, in this process."""
    return map(work, tasks)


@dataclass(frozen=True)
class RunWork:
    """Makes the runs of one group of parts. Pickles."""

    store: Store
    head: ManifestHead
    subjects: tuple[str, ...]

    def __call__(self, task: tuple[int, int, int]) -> dict[str, int]:
        """Number of the group, its first part and the one behind its last: how much was found, by subject."""
        number, first, until = task
        folder = folder_of(self.head)
        missing = [name for name in self.subjects if self.store.size_bytes(run_key(folder, name, number)) is None]
        found: dict[str, list[Found]] = {name: [] for name in missing}
        if missing:
            tables = read_parts(self.store, folder)
            for part in range(first, until):
                for name, digests in _digests(self.store, tables, part, missing).items():
                    found[name].append(_found(digests, part))
        for name, ones in found.items():
            _write_run(self.store, run_key(folder, name, number), ones)
        return {name: _num_found(self.store, run_key(folder, name, number)) for name in self.subjects}


@dataclass(frozen=True)
class PieceWork:
    """Makes one piece of an index. Pickles."""

    store: Store
    head: ManifestHead
    num_runs: int
    layouts: Mapping[str, IndexLayout]

    def __call__(self, task: tuple[str, int]) -> tuple[str, int, PieceFile]:
        """Subject and number of the piece: the same, and what the file holds."""
        subject, piece = task
        folder, layout = folder_of(self.head), self.layouts[subject]
        key = piece_key(folder, subject, piece)
        there = self.store.read(key)
        if there is None:
            found = _stretch(self.store, [run_key(folder, subject, run) for run in range(self.num_runs)], piece, layout)
            there, _ = piece_bytes(found, layout)
            _upload(self.store, key, there)
        num_entries = (len(there) - layout.offsets_bytes) // layout.entry_bytes
        return (
            subject,
            piece,
            PieceFile(size_bytes=len(there), num_entries=num_entries, sha256=hashlib.sha256(there).hexdigest()),
        )


@dataclass
class MadeIndexes:
    """What was made, for people."""

    indexes: list[IndexHead] = field(default_factory=list)
    """Indexes that there are now."""
    num_parts: int = 0
    """Tables that are indexed."""

    @property
    def size_bytes(self) -> int:
        """Bytes of all pieces."""
        return sum(one.size_bytes for one in self.indexes)


def make_indexes(
    store: Store,
    head: ManifestHead,
    *,
    texts: bool = False,
    spread: TaskSpread = spread_here,
    progress: Callable[[str], None] = lambda _: None,
) -> MadeIndexes:
    """Make the indexes of an artifact that are missing or damaged, by `texts` if that is asked for.

    What was made before a kill is not made again.
    """
    folder = folder_of(head)
    subjects = _subjects(head, texts=texts)
    _forget_damaged(store, head, subjects, spread, progress)
    if store.size_bytes(parts_key(folder)) is None:
        _keep_parts(store, head)
    tables = read_parts(store, folder)
    heads = {name: INDEX_HEAD.read_or_skip(store, head_key(folder, name)) for name in subjects}
    missing = tuple(name for name, one in heads.items() if one is None)
    if missing:
        tasks = [(number, *group) for number, group in enumerate(tables.groups(ROWS_PER_GROUP, BYTES_PER_GROUP))]
        counts = dict.fromkeys(missing, 0)
        for done, found in enumerate(spread(RunWork(store, head, missing), tasks, "read"), 1):
            counts = {name: counts[name] + found[name] for name in missing}
            progress(f"{done:,} of {len(tasks):,} groups of parts read")
        layouts = {name: IndexLayout.of(counts[name], len(tables)) for name in missing}
        pieces = [(name, piece) for name in missing for piece in range(layouts[name].num_pieces)]
        made: dict[str, dict[int, PieceFile]] = {name: {} for name in missing}
        work = PieceWork(store, head, len(tasks), layouts)
        for done, (name, piece, file) in enumerate(spread(work, pieces, "sort"), 1):
            made[name][piece] = file
            progress(f"{done:,} of {len(pieces):,} pieces sorted")
        for name in missing:
            heads[name] = _record(store, _index_head(store, head, name, layouts[name], made[name]), folder)
    for key in [key for name in subjects for key in store.keys(runs_prefix(folder, name))]:
        _delete(store, key)  # of this attempt, and what a killed one left of its own
    return MadeIndexes([one for one in heads.values() if one is not None], len(tables))


def _forget_damaged(
    store: Store, head: ManifestHead, subjects: Sequence[str], spread: TaskSpread, progress: Callable[[str], None]
) -> None:
    """Delete what of finished indexes is not what was written, so that it is made again.

    Heads go last: while one is there, its damaged pieces are found again.
    """
    folder = folder_of(head)
    found = {name: INDEX_HEAD.read_or_skip(store, head_key(folder, name)) for name in subjects}
    heads = {name: one for name, one in found.items() if one is not None}
    sha256 = _parts_sha256(store, folder)
    if any(one.parts_sha256 != sha256 for one in heads.values()):
        progress("the list of parts is damaged and made again")
        _keep_parts(store, head)
        sha256 = _parts_sha256(store, folder)
    damaged = {name for name, one in heads.items() if one.parts_sha256 != sha256}
    digests = {name: tuple(piece.sha256 for piece in one.pieces) for name, one in heads.items()}
    tasks = [(name, piece) for name, several in digests.items() for piece in range(len(several))]
    keys = []
    if tasks:
        progress(f"{len(tasks):,} pieces there are compared with their digests")
    for name, piece, is_intact in spread(CompareWork(store, folder, digests), tasks, "compare"):
        if not is_intact:
            progress(f"piece {piece} of {name} is damaged and made again")
            damaged.add(name)
            keys.append(piece_key(folder, name, piece))
    for key in [*keys, *(head_key(folder, name) for name in sorted(damaged))]:
        _delete(store, key)


def _parts_sha256(store: Store, folder: str) -> str:
    return hashlib.sha256(store.read(parts_key(folder)) or b"").hexdigest()


def forget_indexes(store: Store, head: ManifestHead) -> None:
    """Delete everything that was derived of an artifact for its indexes: their heads first."""
    keys = list(store.keys(f"{folder_of(head)}/"))
    for key in sorted(keys, key=lambda one: not one.endswith(".json")):
        _delete(store, key)


@dataclass(frozen=True)
class CompareWork:
    """Compares a piece with the digest of it in the head of its index. Pickles."""

    store: Store
    folder: str
    digests: Mapping[str, Sequence[str]]
    """The digests of the pieces, by subject."""

    def __call__(self, task: tuple[str, int]) -> tuple[str, int, bool]:
        """Subject and number of a piece: the same, and whether it is what was written."""
        subject, piece = task
        data = self.store.read(piece_key(self.folder, subject, piece))
        is_intact = data is not None and hashlib.sha256(data).hexdigest() == self.digests[subject][piece]
        return subject, piece, is_intact


def read_parts(store: Store, folder: str, sha256: str = "") -> PartTables:
    """The list of indexed parts. Raises `DamagedPartsError` where it is missing, or its digest is not `sha256`."""
    data = store.read(parts_key(folder))
    if data is None or (sha256 and hashlib.sha256(data).hexdigest() != sha256):
        how = "is missing" if data is None else "has other bytes than were written"
        raise DamagedPartsError(
            f"{parts_key(folder)} {how}, which an index names its parts by: `neo index` makes it again"
        )
    return PartTables(read_table(data))


def _subjects(head: ManifestHead, *, texts: bool) -> tuple[str, ...]:
    """What an artifact is indexed by. Raises `StoreError` for a kind without tables."""
    indexed = indexed_of(head, texts=texts)
    if indexed is None:
        raise StoreError(f"{head.short} holds {head.kind}: nothing of it is indexed")
    return indexed.subjects


def _keep_parts(store: Store, head: ManifestHead) -> None:
    indexed = indexed_of(head, texts=True)
    assert indexed is not None
    keep(store, head, listed(Artifact(store, head), indexed))


def _digests(store: Store, tables: PartTables, part: int, names: Iterable[str]) -> dict[str, Digests]:
    """The digests of the table of a part, by subject; a column is read once."""
    import numpy as np

    file = tables[part].open(store)
    there = file.schema_arrow.names
    wanted = {name: [one for one in SUBJECTS[name].columns if one in there] for name in names}
    columns = file.read(list(dict.fromkeys(one for ones in wanted.values() for one in ones)), use_threads=False)
    nothing = np.zeros(0, np.uint64)
    return {
        name: np.concatenate([nothing, *(SUBJECTS[name].digests(columns[one]) for one in ones)])
        for name, ones in wanted.items()
    }


def _found(digests: Digests, part: int) -> Found:
    import numpy as np

    found = np.empty(len(digests), FOUND_FIELDS)
    found["digest"], found["part"] = np.sort(digests), part
    return found


def _write_run(store: Store, key: str, ones: Sequence[Found]) -> None:
    import numpy as np

    found = np.concatenate([np.zeros(0, FOUND_FIELDS), *ones])
    found = found[np.argsort(found["digest"], kind="stable")]  # of sorted stretches, which it merges
    starts = np.zeros((1 << RUN_SLOT_BITS) + 1, "<i8")
    slots = leading(found["digest"], RUN_SLOT_BITS).astype(np.int64)
    np.cumsum(np.bincount(slots, minlength=1 << RUN_SLOT_BITS), out=starts[1:])
    _upload(store, key, starts.tobytes(), raw(found))


def _num_found(store: Store, key: str) -> int:
    """What a run holds: the last of its prefix offsets."""
    return int.from_bytes(store.read_range(key, RUN_OFFSETS_BYTES - 8, 8), "little")


def _stretch(store: Store, keys: Sequence[str], piece: int, layout: IndexLayout) -> Found:
    """What the runs hold for a piece."""
    import numpy as np

    first = piece << (RUN_SLOT_BITS - layout.piece_bits)
    until = (piece + 1) << (RUN_SLOT_BITS - layout.piece_bits)

    def read(key: str) -> Found:
        start, *_, end = np.frombuffer(store.read_range(key, 8 * first, 8 * (until - first + 1)), "<i8").tolist()
        size = np.dtype(FOUND_FIELDS).itemsize
        return np.frombuffer(
            store.read_range(key, RUN_OFFSETS_BYTES + start * size, (end - start) * size), FOUND_FIELDS
        )

    return np.concatenate([np.zeros(0, FOUND_FIELDS), *ahead(read, keys, NUM_READERS)])


def _index_head(
    store: Store, head: ManifestHead, subject: str, layout: IndexLayout, pieces: Mapping[int, PieceFile]
) -> IndexHead:
    return IndexHead(
        layout_version=LAYOUT_VERSION,
        subject=subject,
        content=head.content,
        manifest_sha256=head.manifest_sha256,
        piece_bits=layout.piece_bits,
        slot_bits=layout.slot_bits,
        part_bytes=layout.part_bytes,
        parts_sha256=_parts_sha256(store, folder_of(head)),
        pieces=tuple(pieces[number] for number in range(layout.num_pieces)),
    )


def _record(store: Store, index: IndexHead, folder: str) -> IndexHead:
    """Create the head of an index, whose pieces all lie in the store; or find that another process has."""
    key = head_key(folder, index.subject)
    with fault_point("index.recorded", key):
        store.create_json(key, index.model_dump(mode="json"))
    return INDEX_HEAD.read_existing(store, key)


def _delete(store: Store, key: str) -> None:
    with fault_point("index.deleted", key):
        store.delete(key)


def _upload(store: Store, key: str, *stretches: bytes | memoryview) -> None:
    """Write a file of an index, which then is whole or not there. Two processes may do so at once: the same bytes."""
    with tempfile.TemporaryDirectory(prefix="neo-index-") as folder:
        path = Path(folder) / "file"
        with path.open("wb") as file:
            for data in stretches:
                file.write(data)
        with fault_point("index.uploaded", key):
            store.upload(path, key)
