"""The bytes of an index: from digests to the parts whose tables hold them, sorted, of fixed width.

An index is cut into pieces by the leading bits of the digest, `IndexLayout.piece_bits` of them:

    00000.bin   prefix offsets: uint32 [S + 1, 2], the number of the first entry of each slot of the piece, and of all;
                and beside each the checksum of the entries of its slot (`checksum`)
                entries [E, 3 + W]: 24 bits of the digest behind those of its slot, and the number of a part (W bytes)

A slot is all entries whose digests have the same `IndexLayout.slot_bits` leading bits: 64 to 128 on average, where
digests are spread evenly. With 390 million digests 22 bits are known by the slot and 24 by the entry: of a million
digests that are in no table, some 8 are taken for one that is. The table of the part is therefore read next.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Digests = NDArray[np.uint64]
    Bytes = NDArray[np.uint8]

REST_BYTES: Final = 3
"""Bytes of a digest that an entry holds, behind the bits that its slot stands for."""
REST_BITS: Final = 8 * REST_BYTES
ENTRIES_PER_SLOT: Final = 128
"""Entries in a slot on average, at most: one look-up reads some 600 bytes."""
ENTRIES_PER_PIECE: Final = 2**22
"""Entries in a piece on average, at most: 21 MB, and some 400 MB of memory while it is sorted."""
OFFSET_BYTES: Final = 8
"""Bytes of a prefix offset and of the checksum beside it."""
FOUND_FIELDS: Final = [("digest", "<u8"), ("part", "<u4")]
"""Fields of what is indexed before it is sorted: a digest, and the number of the part whose table holds it."""


@dataclass(frozen=True)
class IndexLayout:
    """How an index is cut: a pure function of how much it holds."""

    piece_bits: int
    """Leading bits of a digest that say in which piece it is."""
    slot_bits: int
    """Leading bits of a digest that say in which slot it is, those of the piece included."""
    part_bytes: int
    """Bytes of the number of a part."""

    @classmethod
    def of(cls, num_found: int, num_parts: int) -> IndexLayout:
        """The layout for so many digests in the tables of so many parts.

        >>> IndexLayout.of(390_000_000, 39_000)
        IndexLayout(piece_bits=7, slot_bits=22, part_bytes=2)
        """
        piece_bits = max(0, -(-num_found // ENTRIES_PER_PIECE) - 1).bit_length()
        slot_bits = max(piece_bits, max(0, -(-num_found // ENTRIES_PER_SLOT) - 1).bit_length())
        return cls(piece_bits, slot_bits, max(1, -(-max(0, num_parts - 1).bit_length() // 8)))

    @property
    def num_pieces(self) -> int:
        """Pieces of the index."""
        return 1 << self.piece_bits

    @property
    def num_slots(self) -> int:
        """Slots of a piece."""
        return 1 << (self.slot_bits - self.piece_bits)

    @property
    def entry_bytes(self) -> int:
        """Length of an entry."""
        return REST_BYTES + self.part_bytes

    @property
    def offsets_bytes(self) -> int:
        """Length of the prefix offsets of a piece."""
        return (self.num_slots + 1) * OFFSET_BYTES

    @property
    def known_bits(self) -> int:
        """Leading bits of a digest that the index knows."""
        return self.slot_bits + REST_BITS

    def pieces(self, digests: Digests) -> NDArray[np.int64]:
        """The piece of each digest."""
        return leading(digests, self.piece_bits).astype("i8")

    def slots(self, digests: Digests) -> NDArray[np.int64]:
        """The slot of each digest, counted within its piece."""
        slots: NDArray[np.int64] = leading(digests, self.slot_bits).astype("i8") & (self.num_slots - 1)
        return slots

    def rests(self, digests: Digests) -> NDArray[np.int64]:
        """The bits of each digest that an entry holds."""
        rests: NDArray[np.int64] = leading(digests, self.known_bits).astype("i8") & ((1 << REST_BITS) - 1)
        return rests


def leading(digests: Digests, num_bits: int) -> Digests:
    """The first bits of each digest, as numbers."""
    import numpy as np

    # Two shifts, by 1 and by 63 - `num_bits`: a single one by 64, for no bits, is left undefined by C.
    return (digests >> np.uint64(1)) >> np.uint64(63 - num_bits)


class DamagedSlotError(ValueError):
    """The entries of a slot are not those that were written."""


def checksum(slot: int, entries: bytes | memoryview) -> int:
    """The checksum of the entries of a slot, by its number in the piece; never 0, so that no stretch of zeros passes.

    >>> checksum(7, b"")
    8
    """
    return zlib.crc32(entries, slot + 1) or 1


def check_slots(offsets: NDArray[np.uint32], first: int, entries: Bytes) -> None:
    """Compare the slots from `first` on with their checksums. Raises `DamagedSlotError`.

    `offsets` [N + 1, 2] are theirs, and the one behind them; `entries` [E, 3 + W] are all that they hold.
    """
    edges = ((offsets[:, 0].astype("i8") - int(offsets[0, 0])) * entries.shape[1]).tolist()
    slots = range(first, first + len(edges) - 1)
    _check(memoryview(entries.tobytes()), zip(slots, edges, edges[1:], offsets[:-1, 1].tolist(), strict=False))


def _check(entries: memoryview, slots: Iterable[tuple[int, int, int, int]]) -> None:
    """Compare slots with their checksums: the number of each, its first byte, the one behind it, and the checksum."""
    for slot, start, end, known in slots:
        if not 0 <= start <= end <= len(entries) or checksum(slot, entries[start:end]) != known:
            raise DamagedSlotError(f"has other entries in slot {slot} than were written")


def piece_bytes(found: NDArray[np.void], layout: IndexLayout) -> tuple[bytes, int]:
    """The bytes of a piece, from everything that was found for it, in any order; and its number of entries.

    Entries that are equal become one.
    """
    import numpy as np

    known, parts = _distinct(leading(found["digest"], layout.known_bits), found["part"], 8 * layout.part_bytes)
    slots = (known >> np.uint64(REST_BITS)).astype(np.int64) & (layout.num_slots - 1)
    offsets = np.zeros((layout.num_slots + 1, 2), "<u4")
    offsets[1:, 0] = np.cumsum(np.bincount(slots, minlength=layout.num_slots))
    entries = np.empty((len(known), layout.entry_bytes), np.uint8)
    # Numbers with the highest byte first: their last bytes are those of an entry.
    entries[:, :REST_BYTES] = known.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - REST_BYTES :]
    entries[:, REST_BYTES:] = parts.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 4 - layout.part_bytes :]
    data = entries.tobytes()
    edges, view = (offsets[:, 0].astype("i8") * layout.entry_bytes).tolist(), memoryview(data)
    offsets[:-1, 1] = [checksum(slot, view[edges[slot] : edges[slot + 1]]) for slot in range(layout.num_slots)]
    return offsets.tobytes() + data, len(known)


def _distinct(known: Digests, parts: NDArray[np.unsignedinteger[Any]], part_bits: int) -> tuple[Digests, Digests]:
    """Pairs of a digest and a part, sorted, each once."""
    import numpy as np

    if int(known.max(initial=0)).bit_length() + part_bits <= 64:  # sorted as one number: five times as fast
        packed = (known << np.uint64(part_bits)) | parts.astype(np.uint64)
        packed.sort()
        packed = packed[np.diff(packed, prepend=~packed[:1]) != 0]  # `unique` takes twice as long and as much memory
        return packed >> np.uint64(part_bits), packed & np.uint64((1 << part_bits) - 1)
    order = np.lexsort((parts, known))
    known, parts = known[order], parts[order].astype(np.uint64)
    is_new = np.ones(len(known), bool)
    is_new[1:] = (known[1:] != known[:-1]) | (parts[1:] != parts[:-1])
    return known[is_new], parts[is_new]


def rests_of(entries: Bytes) -> NDArray[np.int64]:
    """The bits of the digest that each entry [E, 3 + W] holds."""
    return _numbers(entries[:, :REST_BYTES])


def parts_of(entries: Bytes) -> NDArray[np.int64]:
    """The number of the part of each entry [E, 3 + W]."""
    return _numbers(entries[:, REST_BYTES:])


def _numbers(columns: Bytes) -> NDArray[np.int64]:
    import numpy as np

    numbers = np.zeros(len(columns), np.int64)
    for column in range(columns.shape[1]):
        numbers = (numbers << 8) | columns[:, column]
    return numbers


def piece_arrays(piece: Any, layout: IndexLayout) -> tuple[NDArray[np.uint32], Bytes]:
    """Prefix offsets with checksums [S + 1, 2], and entries [E, 3 + W], of a whole piece."""
    import numpy as np

    offsets = np.frombuffer(piece, "<u4", 2 * (layout.num_slots + 1)).reshape(-1, 2)
    return offsets, np.frombuffer(piece, np.uint8, offset=layout.offsets_bytes).reshape(-1, layout.entry_bytes)


def matches(piece: Any, digests: Digests, layout: IndexLayout) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which of the digests a whole piece holds: for each match the number of the digest, and of the part.

    All are searched for side by side, each among the entries of its slot: a dozen passes, however large the piece is.
    Raises `DamagedSlotError` where one of these slots is damaged.
    """
    import numpy as np

    checked, entries = piece_arrays(piece, layout)
    offsets, slots, wanted = checked[:, 0], layout.slots(digests), layout.rests(digests)
    asked = np.unique(slots)
    edges = ((offsets[at].astype("i8") * layout.entry_bytes).tolist() for at in (asked, asked + 1))
    known = checked[asked, 1].tolist()
    _check(memoryview(piece)[layout.offsets_bytes :], zip(asked.tolist(), *edges, known, strict=True))
    low, end = offsets[slots].astype(np.int64), offsets[slots + 1].astype(np.int64)
    high = end.copy()
    while (is_open := low < high).any():
        middle = (low + high) // 2
        at = np.minimum(middle, max(0, len(entries) - 1))
        is_below = is_open & (rests_of(entries[at]) < wanted)
        low = np.where(is_below, middle + 1, low)
        high = np.where(is_open & ~is_below, middle, high)
    questions, numbers = [], []
    number = np.arange(len(digests))
    while True:  # the same digest in several parts
        left = low < end
        left[left] = rests_of(entries[low[left]]) == wanted[left]
        if not left.any():
            break
        low, end, wanted, number = low[left], end[left], wanted[left], number[left]
        questions.append(number)
        numbers.append(parts_of(entries[low]))
        low = low + 1
    nothing = np.zeros(0, np.int64)
    return np.concatenate([nothing, *questions]), np.concatenate([nothing, *numbers])
