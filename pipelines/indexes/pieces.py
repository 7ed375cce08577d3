"""The pieces of an index, read: a slot by two small reads, or a whole piece; what is damaged is never taken for good.

In a local folder pieces are mapped into memory, `MAX_MAPPED` of them at the most; of an object store the prefix offsets
of a slot and its entries are two range reads. Each slot that is read is compared with its checksum.
"""

from __future__ import annotations

import hashlib
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipelines.indexes.entries import OFFSET_BYTES, DamagedSlotError, check_slots, matches
from pipelines.indexes.records import IndexHead, folder_of, piece_key
from pipelines.indexes.subjects import TEXTS
from stages.artifacts.head import ManifestHead
from stages.formats.read_ahead import ahead
from stages.store.errors import CutShortError, StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Digests = NDArray[np.uint64]
    Numbers = NDArray[np.int64]

MAX_MAPPED: Final = 64
"""Pieces that are mapped into memory at a time, at most; of 21 MB each."""
NUM_PIECES_AHEAD: Final = 8
"""Pieces of an object store that are read at a time where many digests are looked up: 170 MB."""


class DamagedIndexError(StoreError):
    """A file of an index is missing, or is not what was written: the tables themselves are what answers."""


class Pieces:
    """The pieces of one index of an artifact."""

    def __init__(self, store: Store, artifact: ManifestHead, head: IndexHead) -> None:
        self.store = store
        self.artifact = artifact
        self.head = head
        self.layout = head.layout
        self.folder = folder_of(artifact)
        self._mapped: OrderedDict[int, Any] = OrderedDict()
        self._compared: set[int] = set()

    def each_slot(self, piece: int, first: int, until: int) -> Iterator[tuple[int, Bytes]]:
        """Slots of a piece with their entries."""
        offsets, entries = self._slots(piece, first, until)
        for slot in range(first, until):
            start, end = (offsets[slot - first : slot - first + 2] - offsets[0]).tolist()
            if start < end:
                yield slot, entries[start:end]

    def slots(self, piece: int, first: int, until: int) -> Bytes:
        """The entries of the slots from `first` to `until`: two reads. Raises `DamagedIndexError`."""
        return self._slots(piece, first, until)[1]

    def _slots(self, piece: int, first: int, until: int) -> tuple[Numbers, Bytes]:
        """Prefix offsets of slots, and the entries of all of them."""
        import numpy as np

        data = self._range(piece, first * OFFSET_BYTES, (until - first + 1) * OFFSET_BYTES)
        checked = np.frombuffer(data, "<u4").reshape(-1, 2)
        offsets: Numbers = checked[:, 0].astype(np.int64)
        start, *_, end = offsets.tolist()
        size = self.layout.entry_bytes
        entries = np.zeros((0, size), np.uint8)
        if start < end <= self.head.pieces[piece].num_entries:
            data = self._range(piece, self.layout.offsets_bytes + start * size, (end - start) * size)
            entries = np.frombuffer(data, np.uint8).reshape(-1, size)
        try:
            check_slots(checked, first, entries)
        except DamagedSlotError as error:
            raise self._damaged(piece, str(error)) from error
        return offsets, entries

    def matches(self, piece: int, data: Any, digests: Digests) -> tuple[Numbers, Numbers]:
        """Which of the digests a whole piece holds: numbers of digests, and of parts. Raises `DamagedIndexError`."""
        try:
            return matches(data, digests, self.layout)
        except DamagedSlotError as error:
            raise self._damaged(piece, str(error)) from error

    def _range(self, piece: int, start: int, length: int) -> Any:
        if self.store.folder is not None:
            data = memoryview(self._map(piece))[start : start + length]
            if len(data) != length:
                raise self._damaged(piece, f"ends at byte {start + len(data)}")
            return data
        try:
            return self.store.read_range(piece_key(self.folder, self.head.subject, piece), start, length)
        except (CutShortError, FileNotFoundError) as error:
            raise self._damaged(piece, str(error)) from error

    def whole(self, pieces: Sequence[int]) -> Iterable[Any]:
        """Whole pieces, in order."""
        return map(self._map, pieces) if self.store.folder else ahead(self._read, pieces, NUM_PIECES_AHEAD)

    def compare(self, piece: int, data: Any) -> None:
        """Compare a whole piece with its digest, once. Raises `DamagedIndexError`."""
        if piece not in self._compared and hashlib.sha256(data).hexdigest() != self.head.pieces[piece].sha256:
            raise self._damaged(piece, "has other bytes than were written")
        self._compared.add(piece)

    def _read(self, piece: int) -> bytes:
        data = self.store.read(piece_key(self.folder, self.head.subject, piece))
        self._check_size(piece, None if data is None else len(data))
        return data or b""

    def _map(self, piece: int) -> Any:
        """A piece in memory, whose pages all processes of a machine share."""
        if piece in self._mapped:
            self._mapped.move_to_end(piece)
            return self._mapped[piece]
        path = f"{self.store.url}/{piece_key(self.folder, self.head.subject, piece)}"
        try:
            handle = os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            raise self._damaged(piece, "is missing") from None
        try:
            self._check_size(piece, os.fstat(handle).st_size)
            self._mapped[piece] = mmap.mmap(handle, 0, prot=mmap.PROT_READ)
        finally:
            os.close(handle)
        if len(self._mapped) > MAX_MAPPED:
            self._mapped.popitem(last=False)  # unmapped once no array looks into it
        return self._mapped[piece]

    def _check_size(self, piece: int, size_bytes: int | None) -> None:
        if size_bytes != self.head.pieces[piece].size_bytes:
            raise self._damaged(piece, "is missing" if size_bytes is None else f"has {size_bytes} bytes")

    def _damaged(self, piece: int, how: str) -> DamagedIndexError:
        texts = " --text" if self.head.subject == TEXTS else ""
        return DamagedIndexError(
            f"{piece_key(self.folder, self.head.subject, piece)} {how}, {self.head.pieces[piece].size_bytes} bytes "
            f"were written. It is derived: `neo index {self.artifact.short}{texts}` makes it again"
        )
