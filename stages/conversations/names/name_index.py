"""Finds what was collected under names, among any number of names, by small reads.

    names.bin      of one part of an artifact: its entries, sorted by the digest of their names
    {all}.bin      of one range of digests: the entries of all parts; `pictures.bin`, `clips.bin`

Both begin with int64 prefix offsets of slots (all entries whose digests have the same leading bits) and hold entries of
one fixed layout: digest of the name (16), sample id (16), then fields of the kind. Two phases make them: one with a
part for each part of the artifact, one with a part for each range. Memory: the entries of one part, or of one range,
some 2 million; a reader keeps the prefix offsets, 8 bytes for some 1,000 names, and the slots that it needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from stages.contract import Part, PartDraft, PartFacts, PartTask, StageContext
from stages.formats.external_sort import RECORDS_PER_BUCKET
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Entries: TypeAlias = NDArray[np.void]
    """One-dimensional array of entries."""

NAMES_FILE: Final = "names.bin"
"""The names of one part of the artifact."""
NAME_SLOT_BITS: Final = 10
"""Leading bits of a digest that choose its slot in `names.bin`."""
ENTRIES_PER_SLOT: Final = 1024
"""Entries in a slot of a range, on average, at most: one look-up reads some 40 KB."""
GAP_SLOTS: Final = 12
"""Slots that are read rather than skipped, so that near look-ups share a read: some 500 KB."""


@dataclass(frozen=True, kw_only=True)
class NameLayout:
    """How the names of one kind of thing are kept."""

    names_phase: str
    """The phase that lists the names, a part for each part of the artifact."""
    ranges_phase: str
    """The phase that brings the names together, a part for each range of digests."""
    ranges_file: str
    """The names of all parts in one range of digests."""
    fields: tuple[tuple[str, str], ...]
    """Names and numpy types of what an entry holds behind its digest and its sample id."""
    keeps_all: bool
    """Whether a name keeps all its entries, in table order, or the first alone."""

    @property
    def dtype(self) -> np.dtype[np.void]:
        """The type of an entry."""
        import numpy as np

        digest = f"V{SAMPLE_ID_BYTES}"
        return np.dtype([("digest", digest), ("sample_id", digest), *self.fields])


class NamedPart(PartTask):
    """The task of a part that lists names: which part of the artifact it lists."""

    part: str
    """Name of the part."""


class NameRange(PartTask):
    """The task of a part that brings names together: which slots of `names.bin` it takes."""

    first_slot: int
    """First slot."""
    until_slot: int
    """Slot after the last."""


class NameIndexFacts(PartFacts):
    """What such a part records."""

    num_bits: int
    """Leading bits of a digest, behind those that all of the range share, that choose a slot."""


@dataclass(frozen=True)
class IndexedRange:
    """The names in one range of digests."""

    key: str
    """Key of its file."""
    num_bits: int
    """Bits that choose a slot, behind those that the range shares."""


@dataclass(frozen=True)
class NameIndex:
    """Finds entries by their names. Pickles; holds a key for each range."""

    store: Store
    layout: NameLayout
    ranges: tuple[IndexedRange, ...] = ()
    """A power of two of ranges, by rising digest; none where there is nothing."""
    _offsets: dict[int, NDArray[np.int64]] = field(default_factory=dict, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        return NameIndex, (self.store, self.layout, self.ranges)

    def find(self, names: Collection[str]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
        """Each name under which there is something, with its entries in table order, without their digests."""
        if not self.ranges:
            return
        shared_bits = (len(self.ranges) - 1).bit_length()
        by_slot: dict[tuple[int, int], list[tuple[bytes, str]]] = {}
        for name in names:
            digest = name_digest(name)
            head = int.from_bytes(digest[:8], "big")
            number = head >> (64 - shared_bits) if shared_bits else 0
            bits = shared_bits + self.ranges[number].num_bits
            slot = (head >> (64 - bits) if bits else 0) & (2 ** self.ranges[number].num_bits - 1)
            by_slot.setdefault((number, slot), []).append((digest, name))
        for number, first, until in _stretches(sorted(by_slot)):
            wanted = [one for slot in range(first, until) for one in by_slot.get((number, slot), ())]
            yield from _matches(self._entries(number, first, until), wanted)

    def _entries(self, number: int, first_slot: int, until_slot: int) -> Entries:
        """The entries of some slots of a range."""
        one, dtype = self.ranges[number], self.layout.dtype
        if number not in self._offsets:
            self._offsets[number] = _read(self.store, one.key, 0, 2**one.num_bits + 1, "<i8")
        start, end = (int(self._offsets[number][slot]) for slot in (first_slot, until_slot))
        head_bytes = 8 * (2**one.num_bits + 1)
        return _read(self.store, one.key, head_bytes + start * dtype.itemsize, end - start, dtype)


def index_names(
    ctx: StageContext,
    layout: NameLayout,
    list_part: Callable[[Part, PartDraft], None],
    parts: Sequence[str],
    total: int,
) -> NameIndex:
    """Make names findable, in two phases of the artifact that is being made.

    `list_part` writes the names of one part (`write_names`); `total` is about how many there are in all parts.
    """
    if not parts:
        return NameIndex(ctx.store, layout)
    over = [Part(name=f"{layout.names_phase}_{part}", task=NamedPart(part=part).dump()) for part in parts]
    listed = ctx.spread(list_part, over=over, phase=layout.names_phase)
    keys = [record.file(NAMES_FILE).key for record in listed]
    num_ranges = 1
    while num_ranges < 2**NAME_SLOT_BITS and total > num_ranges * RECORDS_PER_BUCKET:
        num_ranges *= 2
    size = 2**NAME_SLOT_BITS // num_ranges
    tasks = [NameRange(first_slot=slot, until_slot=slot + size) for slot in range(0, 2**NAME_SLOT_BITS, size)]
    over = [Part(name=f"{layout.ranges_phase}_{number:05d}", task=task.dump()) for number, task in enumerate(tasks)]
    gathering = partial(gather_names, layout=layout, store=ctx.store, keys=keys)
    gathered = ctx.spread(gathering, over=over, phase=layout.ranges_phase)
    ranges = [IndexedRange(one.file(layout.ranges_file).key, NameIndexFacts.of(one).num_bits) for one in gathered]
    return NameIndex(ctx.store, layout, tuple(ranges))


def write_names(
    layout: NameLayout, names: Sequence[tuple[str, int]], columns: Mapping[str, Any], draft: PartDraft
) -> None:
    """Write the entries of one part: names with the row of each, and `sample_id` and the layout's fields by row."""
    import numpy as np

    rows = np.array([row for _, row in names], np.int64)
    entries = np.zeros(len(names), layout.dtype)
    kind = f"V{SAMPLE_ID_BYTES}"
    entries["digest"] = np.frombuffer(b"".join(name_digest(name) for name, _ in names), kind)
    entries["sample_id"] = np.frombuffer(b"".join(columns["sample_id"]), kind)[rows]
    for name, _ in layout.fields:
        entries[name] = np.asarray(columns[name])[rows]
    write_entries(entries, NAME_SLOT_BITS, 0, draft.path(NAMES_FILE))


def gather_names(part: Part, draft: PartDraft, layout: NameLayout, store: Store, keys: Sequence[str]) -> None:
    """Bring the names of one range of digests together."""
    import numpy as np

    task, dtype = NameRange.of(part), layout.dtype
    pieces = []
    for key in keys:
        ends = _read(store, key, 8 * task.first_slot, task.until_slot - task.first_slot + 1, "<i8")
        head_bytes = 8 * (2**NAME_SLOT_BITS + 1)
        first, number = int(ends[0]), int(ends[-1] - ends[0])
        pieces.append(_read(store, key, head_bytes + first * dtype.itemsize, number, dtype))
    entries = np.concatenate(pieces)
    entries = entries[np.argsort(_comparable(entries["digest"]), kind="stable")]
    if not layout.keeps_all:
        digests = _comparable(entries["digest"])
        is_first = np.ones(len(entries), bool)
        is_first[1:] = digests[1:] != digests[:-1]
        entries = entries[is_first]
    num_bits = max(0, -(-len(entries) // ENTRIES_PER_SLOT) - 1).bit_length()
    shared_bits = NAME_SLOT_BITS - (task.until_slot - task.first_slot - 1).bit_length()
    write_entries(entries, num_bits, shared_bits, draft.path(layout.ranges_file))
    draft.fact(**NameIndexFacts(num_bits=num_bits).dump())


def name_digest(name: str) -> bytes:
    """The digest of a name, 16 bytes."""
    return hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:SAMPLE_ID_BYTES]


def write_entries(entries: Entries, num_bits: int, shared_bits: int, path: Path) -> None:
    """Write entries sorted by digest, behind the offsets of their slots: `num_bits` bits after `shared_bits`."""
    import numpy as np

    entries = entries[np.argsort(_comparable(entries["digest"]), kind="stable")]
    heads = np.ascontiguousarray(entries["digest"]).view(">u8").reshape(-1, 2)[:, 0].astype(np.uint64)
    # Two shifts, because one by 64, the whole width of the number, is undefined: 3 + 5 bits shift by 1 and 55.
    slots = (heads >> np.uint64(1) >> np.uint64(63 - shared_bits - num_bits)) & np.uint64(2**num_bits - 1)
    offsets = np.zeros(2**num_bits + 1, "<i8")
    offsets[1:] = np.cumsum(np.bincount(slots.astype(np.int64), minlength=2**num_bits))
    path.write_bytes(offsets.tobytes() + entries.tobytes())


def _comparable(digests: NDArray[np.void]) -> NDArray[np.bytes_]:
    """Digests as a type that numpy sorts; trailing zero bytes, which it drops, are of equal length in all."""
    import numpy as np

    return np.ascontiguousarray(digests).view(f"S{SAMPLE_ID_BYTES}")


def _stretches(slots: Iterable[tuple[int, int]]) -> list[tuple[int, int, int]]:
    """Slots of ranges, rising, as (range, first slot, slot after the last) of slots that are near each other."""
    stretches: list[tuple[int, int, int]] = []
    for number, slot in slots:
        if stretches and stretches[-1][0] == number and slot - stretches[-1][2] <= GAP_SLOTS:
            stretches[-1] = (number, stretches[-1][1], slot + 1)
        else:
            stretches.append((number, slot, slot + 1))
    return stretches


def _matches(entries: Entries, wanted: Sequence[tuple[bytes, str]]) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    import numpy as np

    digests = _comparable(entries["digest"])
    asked = np.array([digest for digest, _ in wanted], digests.dtype)
    firsts = np.searchsorted(digests, asked, side="left")
    untils = np.searchsorted(digests, asked, side="right")
    for (_, name), first, until in zip(wanted, firsts.tolist(), untils.tolist(), strict=True):
        if until > first:
            yield name, [(bytes(sample_id), *rest) for _, sample_id, *rest in entries[first:until].tolist()]


def _read(store: Store, key: str, offset: int, number: int, kind: Any) -> NDArray[Any]:
    import numpy as np

    dtype = np.dtype(kind)
    return (
        np.frombuffer(store.read_range(key, offset, number * dtype.itemsize), dtype) if number else np.empty(0, dtype)
    )
