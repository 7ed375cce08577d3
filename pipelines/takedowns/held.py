"""Finds what an artifact holds of a list: how many of its samples, in which parts.

Pictures and samples by the indexes of the artifact, where it has both; else all tables are read, a few columns of each.
Indexes know URLs and hosts as a table spells them, so that a URL with a blank behind it would be missed: tables are
read for these. An artifact never changes, so what was found once is kept, created exclusively.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias

from pipelines.indexes.look_up import open_index
from pipelines.indexes.pieces import DamagedIndexError
from pipelines.indexes.subjects import IDS, PICTURES, TABLES, Indexed
from pipelines.indexes.tables import PartTable, listed
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.formats.read_ahead import ahead
from stages.formats.sample_table import without_reasons
from stages.store.fault_points import fault_point
from stages.store.reader import NUM_READERS
from stages.store.store import Store
from stages.takedowns.held_parts import HELD_PARTS, HeldParts, held_key
from stages.takedowns.lists import KINDS, entries_of, read_list
from stages.takedowns.tombstones import NAME_COLUMNS, TAKEN_DOWN, TEXT_COLUMNS, Tombstones

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

INDEX_OF: Final = {"picture": PICTURES, "sample": IDS}
"""Kind of an entry to the index that knows it. Captions have none by their whole text, URLs and hosts none by what they
are compared by."""
COLUMNS_OF: Final[dict[str, tuple[str, ...]]] = {
    "url": NAME_COLUMNS,
    "domain": ("url",),
    "picture": ("sha256",),
    "sample": ("sample_id",),
    "caption": TEXT_COLUMNS,
}
"""Kind of an entry to the columns that are compared with it."""
Told: TypeAlias = Callable[[ManifestHead], None]


def can_hold(head: ManifestHead) -> bool:
    """Whether samples begin in an artifact, so that it may hold what a list names."""
    return head.kind in TABLES


def held_parts(
    store: Store, list_sha256: str, head: ManifestHead, *, typed: bytes = b"", tell: Told = lambda _: None
) -> HeldParts:
    """What an artifact holds of a list, as it was found once, or is found now. Writes nothing.

    `typed` are the bytes of a list that the store does not have. `tell` is told of an artifact all of whose tables are
    about to be read.
    """
    known = HELD_PARTS.read(store, held_key(list_sha256, head.stage, head.fingerprint))
    return known if known is not None else _found(_Question(store, list_sha256, head, typed, tell))


def keep_held_parts(store: Store, list_sha256: str, head: ManifestHead, held: HeldParts | None = None) -> None:
    """Put on record what an artifact holds of a list, unless it is. It is looked for where `held` does not say it."""
    key = held_key(list_sha256, head.stage, head.fingerprint)
    if store.size_bytes(key) is None:
        held = held or held_parts(store, list_sha256, head)
        with fault_point("takedown.found", key):
            store.create_json(key, held.model_dump(mode="json"))


@dataclass(frozen=True)
class _Question:
    """An artifact and a list. What was found is remembered by them."""

    store: Store
    list_sha256: str
    head: ManifestHead
    typed: bytes
    tell: Told

    def __hash__(self) -> int:
        return hash(self._names)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Question) and self._names == other._names

    @property
    def _names(self) -> tuple[str, str, str, str]:
        return self.store.url, self.list_sha256, self.head.stage, self.head.fingerprint


@lru_cache(maxsize=256)
def _found(asked: _Question) -> HeldParts:
    store, head = asked.store, asked.head
    if not can_hold(head):
        return HeldParts(num_samples=0, num_kept=0, parts=())
    entries = entries_of([asked.typed or read_list(store, asked.list_sha256)])
    kinds = {kind: entries["look_up"][entries["kind"] == letter] for kind, letter in KINDS.items()}
    wanted = {kind: numbers for kind, numbers in kinds.items() if len(numbers)}
    artifact = Artifact(store, head)
    tables = _by_indexes(artifact, wanted)
    if tables is None:
        asked.tell(head)
        tables = listed(artifact, Indexed(TABLES[head.kind], ()))
    columns = sorted({name for kind in wanted for name in COLUMNS_OF[kind]})
    lists = () if asked.typed else (asked.list_sha256,)
    tombstones = Tombstones(store, lists, asked.typed)

    def read(table: PartTable) -> tuple[str, int, int, bool]:
        try:
            return table.part, *_counted(table, store, columns, tombstones)
        except (KeyError, OSError, ValueError) as error:  # Arrow's own errors are of these
            raise artifact.damaged(table.key, f"cannot be read ({error})") from error

    num_samples, num_kept, parts = 0, 0, list[str]()
    for part, samples, kept, is_any in map(read, tables) if store.folder else ahead(read, tables, NUM_READERS):
        num_samples, num_kept = num_samples + samples, num_kept + kept
        parts += [part] if is_any else []
    return HeldParts(num_samples=num_samples, num_kept=num_kept, parts=tuple(sorted(parts)))


def _by_indexes(artifact: Artifact, wanted: dict[str, NDArray[np.uint64]]) -> Iterable[PartTable] | None:
    """The tables of the parts that indexes name, in their order; None where an index is missing or damaged."""
    import numpy as np

    found: dict[str, PartTable] = {}
    try:
        for kind, look_ups in wanted.items():
            index = open_index(artifact.store, artifact.head, INDEX_OF[kind]) if kind in INDEX_OF else None
            if index is None:
                return None
            _, numbers = index.find_many(np.unique(look_ups.astype(np.uint64)))
            found |= {table.part: table for table in (index.parts[int(one)] for one in np.unique(numbers))}
    except DamagedIndexError:
        return None
    return [found[part] for part in sorted(found)]


def _counted(table: PartTable, store: Store, columns: Sequence[str], tombstones: Tombstones) -> tuple[int, int, bool]:
    """How many rows of a table are to be forgotten, how many of these were kept, and whether there are any at all."""
    import pyarrow as pa
    import pyarrow.compute as pc

    file = table.open(store)
    names = file.schema_arrow.names
    judged = [name for name in ("verdict", "reason") if name in names]
    rows: pa.Table = file.read([*(name for name in columns if name in names), *judged], use_threads=False)
    gone = rows.filter(pa.array(tombstones.rows_of(rows.select([n for n in columns if n in names]))))
    if "reason" in names:
        gone = gone.filter(pc.fill_null(pc.not_equal(gone["reason"], TAKEN_DOWN), True))
    counted = without_reasons(gone, table.superseded)
    kept = pc.sum(pc.equal(counted["verdict"], "kept")).as_py() or 0 if "verdict" in names else counted.num_rows
    return counted.num_rows, int(kept), gone.num_rows > 0
