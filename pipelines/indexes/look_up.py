"""Looks digests up in an index: one, many at once, a stretch of them, or all that differ in few bits.

What is found are numbers of parts; a few in a million are wrong, so the table of the part is read next.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from math import comb
from typing import TYPE_CHECKING, Final

from pipelines.indexes.build import DamagedPartsError, read_parts
from pipelines.indexes.entries import REST_BITS, parts_of, piece_arrays, rests_of
from pipelines.indexes.pieces import DamagedIndexError, Pieces
from pipelines.indexes.records import INDEX_HEAD, folder_of, head_key
from pipelines.indexes.tables import PartTables
from stages.artifacts.head import ManifestHead
from stages.duplicates.measures.hash_bits import num_bits
from stages.formats.read_ahead import ahead
from stages.store.reader import NUM_READERS
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Digests = NDArray[np.uint64]
    Numbers = NDArray[np.int64]

MAX_NEAR_SLOTS: Final = 2**12
"""Slots that are read one by one, at most: with more, whole pieces are read, of 21 MB each."""
FEW: Final = 64
"""Digests up to which each is looked up by its own reads."""


class Index(Pieces):
    """One index of an artifact."""

    @cached_property
    def parts(self) -> PartTables:
        """The parts whose numbers are found. Read at first use. Raises `DamagedIndexError`."""
        try:
            return read_parts(self.store, self.folder, self.head.parts_sha256)
        except DamagedPartsError as error:
            raise DamagedIndexError(str(error)) from error

    def find(self, digest: int) -> list[int]:
        """Numbers of the parts that may hold what has this digest, rising; [] for none."""
        import numpy as np

        one = np.array([digest], np.uint64)
        piece, slot = int(self.layout.pieces(one)[0]), int(self.layout.slots(one)[0])
        entries = self.slots(piece, slot, slot + 1)
        return sorted(set(parts_of(entries[rests_of(entries) == self.layout.rests(one)[0]]).tolist()))

    def find_many(self, digests: Digests) -> tuple[Numbers, Numbers]:
        """For each match the number of the digest, and of a part that may hold what has it. In no order."""
        import numpy as np

        nothing = np.zeros(0, np.int64)
        if len(digests) <= FEW:
            answers = self.store.each(self.find, digests.tolist())
            each = [(number, part) for number, parts in enumerate(answers) for part in parts]
            pairs = np.array(each, np.int64).reshape(-1, 2)
            return pairs[:, 0], pairs[:, 1]
        # Questions that follow each other in the index read pages that lie together.
        order = np.argsort(digests)
        pieces = self.layout.pieces(digests[order])
        edges = np.searchsorted(pieces, np.arange(self.layout.num_pieces + 1))
        asked = [piece for piece in range(self.layout.num_pieces) if edges[piece] < edges[piece + 1]]
        numbers, parts = [nothing], [nothing]
        for piece, data in zip(asked, self.whole(asked), strict=True):
            own = order[edges[piece] : edges[piece + 1]]
            questions, found = self.matches(piece, data, digests[own])
            numbers.append(own[questions])
            parts.append(found)
        return np.concatenate(numbers), np.concatenate(parts)

    def find_all(self, digests: Sequence[int]) -> list[int]:
        """Numbers of the parts that may hold all of these digests, rising; [] for none."""
        found: set[int] | None = None
        for digest in digests:
            found = set(self.find(digest)) if found is None else found & set(self.find(digest))
            if not found:
                break
        return sorted(found or ())

    def find_between(self, first: int, last: int) -> tuple[Digests, Numbers]:
        """The leading bits of each digest from `first` to `last`, as far as the index knows them, and its part.

        Digests that differ from these in bits that are not known are among them. Read slot by slot: ask for few.
        """
        import numpy as np

        ends = np.array([first, last], np.uint64)
        (piece, last_piece), (slot, last_slot) = self.layout.pieces(ends).tolist(), self.layout.slots(ends).tolist()
        unknown = 64 - self.layout.known_bits
        known, parts = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
        for number in range(piece, last_piece + 1):
            begin = slot if number == piece else 0
            until = last_slot + 1 if number == last_piece else self.layout.num_slots
            for at, entries in self.each_slot(number, begin, until):
                prefix = (number * self.layout.num_slots + at) << REST_BITS
                digests = (rests_of(entries) | prefix).astype(np.uint64) << np.uint64(unknown)
                is_in = (digests >= np.uint64(first >> unknown << unknown)) & (digests <= np.uint64(last))
                known.append(digests[is_in])
                parts.append(parts_of(entries)[is_in])
        return np.concatenate(known), np.concatenate(parts)

    def find_near(self, digest: int, max_bits: int) -> list[int]:
        """Numbers of the parts that may hold a digest which differs from this one in `max_bits` bits at the most.

        Looks into every slot whose own bits differ in no more: 2,000 of 4 million for 3 bits, at 390 million digests.
        Where these are too many, 600,000 for 8 bits, it reads the whole pieces that have them.
        """
        import numpy as np

        width = self.layout.slot_bits
        if sum(comb(width, number) for number in range(min(width, max_bits) + 1)) > MAX_NEAR_SLOTS:
            return self._find_near_in_whole(digest, max_bits)
        slots = self._near_slots(digest >> (64 - self.layout.slot_bits), max_bits)
        known = np.uint64(digest >> (64 - self.layout.known_bits))

        def near(slot: int) -> list[int]:
            entries = self.slots(slot // self.layout.num_slots, (own := slot % self.layout.num_slots), own + 1)
            there = rests_of(entries).astype(np.uint64) | np.uint64(slot << REST_BITS)
            numbers: list[int] = parts_of(entries)[num_bits(there ^ known) <= max_bits].tolist()
            return numbers

        found = map(near, slots) if self.store.folder else ahead(near, slots, NUM_READERS)
        return sorted({part for parts in found for part in parts})

    def _find_near_in_whole(self, digest: int, max_bits: int) -> list[int]:
        """The same from whole pieces, one after the other: some 32 bytes of memory for each entry of one."""
        import numpy as np

        layout, known = self.layout, np.uint64(digest >> (64 - self.layout.known_bits))
        own = digest >> (64 - layout.piece_bits)
        pieces = [one for one in range(layout.num_pieces) if (one ^ own).bit_count() <= max_bits]
        found: set[int] = set()
        for piece, data in zip(pieces, self.whole(pieces), strict=True):
            self.compare(piece, data)
            offsets, entries = piece_arrays(data, layout)
            first = piece * layout.num_slots
            slots = np.arange(first, first + layout.num_slots, dtype=np.uint64) << np.uint64(REST_BITS)
            there = np.repeat(slots, np.diff(offsets[:, 0])) | rests_of(entries).astype(np.uint64)
            found.update(parts_of(entries[num_bits(there ^ known) <= max_bits]).tolist())
        return sorted(found)

    def _near_slots(self, slot: int, max_bits: int) -> list[int]:
        """The slots of the whole index whose numbers differ from `slot` in `max_bits` bits at the most, rising."""
        width = self.layout.slot_bits
        bits = [1 << bit for bit in range(width)]
        numbers = range(min(width, max_bits) + 1)
        return sorted(slot ^ sum(flipped) for number in numbers for flipped in combinations(bits, number))


def open_index(store: Store, artifact: ManifestHead, subject: str) -> Index | None:
    """An index of an artifact, or None where there is none that can be read."""
    head = INDEX_HEAD.read_or_skip(store, head_key(folder_of(artifact), subject))
    return None if head is None else Index(store, artifact, head)
