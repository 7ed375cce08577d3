"""TIFF taken apart: the tags of its first directory (TIFF 6.0 and BigTIFF).

The directory is cut down in place to the tags that the pixels need, and names no next page. So orientation is applied
by us alone, and EXIF, XMP, private tags and later pages cost nothing.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from neo_model.inputs.containers.container import (
    MAX_PROFILE_BYTES,
    Container,
    Data,
    EndsEarlyError,
    MalformedError,
    PieceCount,
    TooManyPiecesError,
)
from neo_model.inputs.containers.exif import ORIENTATION

_PROFILE: Final = 34675
_STRIPS: Final = ((273, 279), (324, 325))
"""Tags of the offsets and of the sizes of strips, and of tiles."""
_TILE_SIDES: Final = (322, 323)
"""Tags of the width and the height of tiles."""
_NEEDED: Final = frozenset({
    254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325, 332, 334, 338,
    339, 347, *range(512, 522), 529, 530, 531, 532, 50674,
})  # fmt: skip
"""Tags that say how pixels are stored: sizes, samples, compression, strips and tiles, colour table, JPEG tables."""
_FIELD_BYTES: Final = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
_INTEGERS: Final = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
MAX_STRIPS: Final = 1_000_000
MAX_PAGES_COUNTED: Final = 10_000


@dataclass(frozen=True)
class _Layout:
    """Byte order and widths of a file."""

    data: Data
    sign: str
    is_big: bool
    pieces: PieceCount

    @classmethod
    def of(cls, data: Data) -> _Layout:
        """The layout that the first bytes announce."""
        sign = "<" if bytes(data[:2]) == b"II" else ">"
        return cls(data, sign, 43 in bytes(data[2:4]), PieceCount(data))

    @property
    def offset(self) -> str:
        """Code of an offset for `struct`."""
        return "Q" if self.is_big else "I"

    @property
    def entry_bytes(self) -> int:
        """Size of a directory's entry."""
        return 20 if self.is_big else 12

    def unpack(self, kinds: str, position: int) -> tuple[int, ...]:
        """Numbers at a position. Raises `EndsEarlyError` beyond the data."""
        try:
            return struct.unpack_from(self.sign + kinds, self.data, position)
        except (struct.error, OverflowError) as error:
            raise EndsEarlyError from error

    def directory(self, position: int) -> tuple[int, list[int]]:
        """The position of the first entry of a directory, and the tag of each entry."""
        (count,) = self.unpack("Q" if self.is_big else "H", position)
        first = position + (8 if self.is_big else 2)
        if count > 65_535:
            raise MalformedError
        self.pieces.take(count)
        return first, [self.unpack("H", first + number * self.entry_bytes)[0] for number in range(count)]

    def next_directory(self, first: int, count: int) -> int:
        """Position of the next directory; 0 if there is none."""
        return self.unpack(self.offset, first + count * self.entry_bytes)[0]

    def is_beyond(self, entry: int) -> bool:
        """Whether an entry's value lies beyond the end of the data."""
        return self._place(entry)[1] > len(self.data)

    def value(self, entry: int) -> Data:
        """The bytes of an entry's value; empty where its kind is unknown or it lies beyond the data."""
        start, end = self._place(entry)
        return self.data[start:end] if end <= len(self.data) else b""

    def _place(self, entry: int) -> tuple[int, int]:
        """First byte of an entry's value, and the byte behind it: a small value stands in the entry itself."""
        kind, count = self.unpack(f"H{self.offset}", entry + 2)
        size_bytes = _FIELD_BYTES.get(kind, 0) * count
        inline = entry + (12 if self.is_big else 8)
        start = inline if size_bytes <= (8 if self.is_big else 4) else self.unpack(self.offset, inline)[0]
        return start, start + size_bytes

    def numbers(self, entry: int) -> tuple[int, ...]:
        """The integers of an entry's value; none where it holds others."""
        (kind,) = self.unpack("H", entry + 2)
        value = self.value(entry)
        count = len(value) // _FIELD_BYTES.get(kind, 1)
        if kind not in _INTEGERS or count > MAX_STRIPS:
            return ()
        return struct.unpack(f"{self.sign}{count}{_INTEGERS[kind]}", value)


def read_tiff(data: Data) -> Container:
    """Take a TIFF apart."""
    layout = _Layout.of(data)
    try:
        (start,) = layout.unpack(layout.offset, 8 if layout.is_big else 4)
        first, tags = layout.directory(start)
        entries = {tag: first + number * layout.entry_bytes for number, tag in enumerate(tags)}
        orientation = layout.numbers(entries[ORIENTATION]) if ORIENTATION in entries else ()
        profile = bytes(layout.value(entries[_PROFILE])) if _PROFILE in entries else b""
        is_cut = any(layout.is_beyond(entries[tag]) for tag in _NEEDED & set(tags)) or _lacks_strips(layout, entries)
    except EndsEarlyError:
        return Container(format="TIFF", pixels=data, is_cut=True)
    except MalformedError:
        return Container(format="TIFF", pixels=data)
    return Container(
        format="TIFF",
        pixels=_cut_down(layout, start, first, tags),
        orientation=orientation[0] if len(orientation) == 1 and orientation[0] in range(1, 9) else 1,
        block_px=_tile_px(layout, entries),
        profile=profile if 0 < len(profile) <= MAX_PROFILE_BYTES else None,
        is_cut=is_cut,
    )


def num_tiff_pages(data: Data) -> int:
    """Directories in the chain that begins with the first, up to one that is broken or was counted before."""
    return max(1, sum(1 for _ in _pages(_Layout.of(data))))


def _pages(layout: _Layout) -> Iterator[int]:
    """Position of each page's directory that has width, height and a place of its pixels."""
    seen: set[int] = set()
    try:
        (position,) = layout.unpack(layout.offset, 8 if layout.is_big else 4)
        while position and position not in seen and len(seen) < MAX_PAGES_COUNTED:
            seen.add(position)
            first, tags = layout.directory(position)
            if {256, 257} <= set(tags) and {273, 324} & set(tags):
                yield position
            position = layout.next_directory(first, len(tags))
    except (EndsEarlyError, MalformedError, TooManyPiecesError):
        return


def _tile_px(layout: _Layout, entries: dict[int, int]) -> int:
    """Pixels of a tile; 0 where there are none. A tile is decoded whole, however little of it the picture shows."""
    sides = [layout.numbers(entries[tag]) if tag in entries else () for tag in _TILE_SIDES]
    return math.prod(side[0] for side in sides) if all(sides) else 0


def _lacks_strips(layout: _Layout, entries: dict[int, int]) -> bool:
    """Whether a strip or tile lies beyond the end of the data."""
    for offsets, sizes in _STRIPS:
        if offsets in entries and sizes in entries:
            ends = zip(layout.numbers(entries[offsets]), layout.numbers(entries[sizes]), strict=False)
            if any(offset + size > len(layout.data) for offset, size in ends):
                return True
    return False


def _cut_down(layout: _Layout, start: int, first: int, tags: list[int]) -> bytes:
    """The file with a directory of the needed tags alone. Positions in a TIFF are absolute, so the rest may stay."""
    size = layout.entry_bytes
    kept = [
        bytes(layout.data[first + number * size : first + (number + 1) * size])
        for number, tag in enumerate(tags)
        if tag in _NEEDED
    ]
    count = struct.pack(layout.sign + ("Q" if layout.is_big else "H"), len(kept))
    directory = b"".join([count, *kept, bytes(8 if layout.is_big else 4)])
    return b"".join([layout.data[:start], directory, layout.data[start + len(directory) :]])
