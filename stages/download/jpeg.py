"""Shows, without decoding a pixel, that a JPEG will decode: its marker segments are complete and ordinary.

Decoding costs a hundred times as much as reading the markers, and everything that makes libjpeg fail is in them: it
fills in missing entropy-coded data, but refuses broken tables, frames and scans. So a picture that passes here is kept
as it is; any other one is decoded to learn more. Marker codes and tables: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache, partial
from typing import Final

from neo_model.inputs.containers.container import PieceCount, TooManyPiecesError

MAX_SCANS: Final = 32
"""Most scans of a progressive JPEG; encoders write about ten. Each scan of a large picture costs as much as decoding it
once."""
MAX_BLOCKS_IN_MCU: Final = 10
"""Most 8 x 8 blocks in one interleaved unit (T.81, B.2.3)."""
MAX_TABLES: Final = 8
"""Most tables that one segment defines: four of each kind, each once. More of them are left to the decoder."""
MAX_SIDE_PX: Final = 65_500
"""Longest side that libjpeg accepts; the format allows 65,535."""
# In entropy-coded data FF is stuffed as FF 00; FF D0 to FF D7 are restart markers. Any other FF ends the scan.
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_END: Final = b"\xff\xd9"
_IGNORED = frozenset({0xFE, *range(0xE0, 0xF0)})
"""Markers of comments and application segments, which are skipped."""


class Marker(IntEnum):
    """Second bytes of the markers that are read."""

    BASELINE = 0xC0
    EXTENDED = 0xC1
    PROGRESSIVE = 0xC2
    DHT = 0xC4
    EOI = 0xD9
    SOS = 0xDA
    DQT = 0xDB
    DRI = 0xDD
    EXIF = 0xE1
    PROFILE = 0xE2


@dataclass(slots=True)
class PlainJpeg:
    """Facts read from the markers of a JPEG."""

    width_px: int = 0
    """Stored width, before EXIF orientation."""
    height_px: int = 0
    """Stored height, before EXIF orientation."""
    has_exif: bool = False
    has_profile: bool = False
    """Whether it embeds an ICC profile, or a piece of one."""
    is_progressive: bool = False
    num_scans: int = 0
    quantisation_of: dict[int, int] = field(default_factory=dict)
    """Component id to the quantisation table that it names."""
    sampling_of: dict[int, int] = field(default_factory=dict)
    """Component id to its blocks in one interleaved unit."""
    quantisation_tables: set[int] = field(default_factory=set)
    huffman_tables: set[tuple[int, int]] = field(default_factory=set)
    """Huffman tables defined so far, as (class, id): class 0 for DC, 1 for AC."""

    @property
    def num_components(self) -> int:
        """Colour components: 1 for grey, 3 for RGB."""
        return len(self.sampling_of)


class _UnusualError(Exception):
    """A segment is broken or rare, so only a decoder can tell whether the picture decodes."""


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """The facts of a JPEG that is sure to decode to grey or RGB, or None where only decoding can tell."""
    jpeg, pieces = PlainJpeg(), PieceCount(data)
    try:
        position = 2
        while (start := data[position : position + 2]) != _END:
            pieces.take()
            _require(len(start) == 2 and start[0] == 0xFF)
            position = _read_segment(jpeg, start[1], data, position + 2)
        _require(jpeg.num_scans > 0)
    except (_UnusualError, TooManyPiecesError):
        return None
    return jpeg


def _read_segment(jpeg: PlainJpeg, marker: int, data: bytes, position: int) -> int:
    """Read one segment, and the scan behind it if it opens one; returns the position of the next marker."""
    end = position + int.from_bytes(data[position : position + 2])
    _require(position + 2 <= end <= len(data))
    read = _READERS.get(marker, _ignore if marker in _IGNORED else _refuse)
    read(jpeg, data[position + 2 : end])
    if marker != Marker.SOS:
        return end
    following = _MARKER_AFTER_SCAN.search(data, end)
    if following is None:
        raise _UnusualError
    return following.start()


def _read_frame(jpeg: PlainJpeg, content: bytes, *, is_progressive: bool = False) -> None:
    _require(len(content) >= 6 and not jpeg.sampling_of)
    precision_bits, num_components = content[0], content[5]
    _require(precision_bits == 8 and num_components in (1, 3) and len(content) == 6 + 3 * num_components)
    jpeg.height_px, jpeg.width_px = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    _require(0 < jpeg.height_px <= MAX_SIDE_PX and 0 < jpeg.width_px <= MAX_SIDE_PX)
    jpeg.is_progressive = is_progressive
    for start in range(6, len(content), 3):
        component, sampling, table = content[start : start + 3]
        horizontal, vertical = sampling >> 4, sampling & 15
        _require(component not in jpeg.sampling_of and horizontal in (1, 2, 4) and vertical in (1, 2, 4) and table < 4)
        jpeg.sampling_of[component] = horizontal * vertical
        jpeg.quantisation_of[component] = table


def _read_quantisation_tables(jpeg: PlainJpeg, content: bytes) -> None:
    while content:
        precision, table = content[0] >> 4, content[0] & 15
        size_bytes = 1 + 64 * (1 + precision)
        _require(precision < 2 and table < 4 and len(content) >= size_bytes)
        jpeg.quantisation_tables.add(table)
        content = content[size_bytes:]


def _read_huffman_tables(jpeg: PlainJpeg, content: bytes) -> None:
    jpeg.huffman_tables |= _huffman_tables(content)


@lru_cache(maxsize=64)
def _huffman_tables(content: bytes) -> frozenset[tuple[int, int]]:
    """The tables that a segment defines, cached: most pictures have the ones that the standard proposes."""
    tables: set[tuple[int, int]] = set()
    for _ in range(MAX_TABLES):
        if not content:
            return frozenset(tables)
        _require(len(content) >= 17)
        kind, table = content[0] >> 4, content[0] & 15
        counts = content[1:17]
        symbols = content[17 : 17 + sum(counts)]
        _require(kind < 2 and table < 4 and len(symbols) == sum(counts) <= 256)
        _require(kind == 1 or max(symbols, default=0) < 16)
        _require(_codes_fit(counts))
        tables.add((kind, table))
        content = content[17 + len(symbols) :]
    _require(not content)
    return frozenset(tables)


def _codes_fit(counts: bytes) -> bool:
    """Whether prefix codes with these counts of lengths 1 to 16 exist, none of them all ones.

    Codes are numbered upwards and shifted left at each length. Counts (0, 1, 5, ...): one code of 2 bits, `00`, so
    codes of 3 bits begin at `010`; five of them end at `110`, one below `111`, which is forbidden. Six would not fit.
    """
    code = 0
    for bits, count in enumerate(counts, start=1):
        code += count
        if count and code >= 1 << bits:
            return False
        code <<= 1
    return True


def _read_interval(_: PlainJpeg, content: bytes) -> None:
    _require(len(content) == 2)


def _read_exif(jpeg: PlainJpeg, content: bytes) -> None:
    jpeg.has_exif |= content.startswith(b"Exif\0")


def _read_profile(jpeg: PlainJpeg, content: bytes) -> None:
    jpeg.has_profile |= content.startswith(b"ICC_PROFILE\0")


def _ignore(_: PlainJpeg, __: bytes) -> None:
    """A comment, or a segment of an application."""


def _refuse(_: PlainJpeg, __: bytes) -> None:
    raise _UnusualError


def _read_scan(jpeg: PlainJpeg, content: bytes) -> None:
    jpeg.num_scans += 1
    num_components = content[0] if content else 0
    _require(1 <= num_components <= jpeg.num_components and len(content) == 4 + 2 * num_components)
    _require(jpeg.num_scans <= MAX_SCANS)
    first, last, approximation = content[-3:]
    chosen = {content[1 + 2 * n]: content[2 + 2 * n] for n in range(num_components)}
    _require(len(chosen) == num_components and chosen.keys() <= jpeg.sampling_of.keys())
    blocks = sum(jpeg.sampling_of[component] for component in chosen)
    _require(num_components == 1 or blocks <= MAX_BLOCKS_IN_MCU)
    _require({jpeg.quantisation_of[component] for component in chosen} <= jpeg.quantisation_tables)
    if jpeg.is_progressive:
        _check_progression(first, last, approximation, num_components)
    else:
        _require((first, last, approximation) == (0, 63, 0))
        _require(jpeg.num_scans == 1 and num_components == jpeg.num_components)
    uses_dc, uses_ac = first == 0 and approximation < 16, last > 0
    for tables in chosen.values():
        _require(not uses_dc or (0, tables >> 4) in jpeg.huffman_tables)
        _require(not uses_ac or (1, tables & 15) in jpeg.huffman_tables)


def _check_progression(first: int, last: int, approximation: int, num_components: int) -> None:
    high, low = approximation >> 4, approximation & 15
    _require(last == 0 if first == 0 else first <= last <= 63 and num_components == 1)
    _require(low <= 13 and high in (0, low + 1))


def _require(holds: bool) -> None:
    if not holds:
        raise _UnusualError


_READERS: Final[Mapping[int, Callable[[PlainJpeg, bytes], None]]] = {
    Marker.BASELINE: _read_frame,
    Marker.EXTENDED: _read_frame,
    Marker.PROGRESSIVE: partial(_read_frame, is_progressive=True),
    Marker.DHT: _read_huffman_tables,
    Marker.DQT: _read_quantisation_tables,
    Marker.DRI: _read_interval,
    Marker.SOS: _read_scan,
    Marker.EXIF: _read_exif,
    Marker.PROFILE: _read_profile,
}
"""Marker to what reads the content of its segment; of the others, comments and application segments are skipped."""
