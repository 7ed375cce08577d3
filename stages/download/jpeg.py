"""Proof, without decoding a pixel, that a JPEG will decode: its structure is whole and says nothing unusual.

Decoding costs a hundred times as much as reading the markers, and what can make libjpeg give up lies in them: it
fills in what entropy-coded data lacks, but refuses broken tables, frames and scans. So a picture that passes here may
be kept as it is; one that does not is decoded to learn more. Marker codes and tables: ITU-T T.81, annex B.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Final

MAX_SCANS: Final = 32
"""Progressive encoders write about ten. Each scan of a large picture costs as much as decoding it once."""
MAX_BLOCKS_IN_MCU: Final = 10
MAX_SIDE_PX: Final = 65_500
"""Of libjpeg; the format says 65,535."""
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_IGNORED = frozenset({0xFE, *range(0xE0, 0xF0)})
"""Comments and application segments."""


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


@dataclass(slots=True)
class PlainJpeg:
    """What the markers of a JPEG say."""

    width_px: int = 0
    height_px: int = 0
    """Both as stored, before EXIF orientation."""
    has_exif: bool = False
    is_progressive: bool = False
    num_scans: int = 0
    quantisation_of: dict[int, int] = field(default_factory=dict)
    """Component id to the quantisation table that it names."""
    sampling_of: dict[int, int] = field(default_factory=dict)
    """Component id to its blocks in one interleaved unit."""
    quantisation_tables: set[int] = field(default_factory=set)
    huffman_tables: set[tuple[int, int]] = field(default_factory=set)
    """(class, id): class 0 for DC, 1 for AC."""

    @property
    def num_components(self) -> int:
        return len(self.sampling_of)


class _UnusualError(Exception):
    """Something here is broken or rare: let a decoder judge."""


def plain_jpeg(data: bytes) -> PlainJpeg | None:
    """The facts of a JPEG that is sure to decode to grey or RGB, or None where only decoding can tell."""
    found = PlainJpeg()
    try:
        position = 2
        while (marker := data[position + 1 : position + 2]) != bytes([Marker.EOI]):
            _need(data[position : position + 1] == b"\xff" and bool(marker))
            position = _read_segment(found, marker[0], data, position + 2)
        _need(found.num_scans > 0)
    except _UnusualError:
        return None
    return found


def _read_segment(found: PlainJpeg, marker: int, data: bytes, position: int) -> int:
    """Read one segment, and the scan behind it if it opens one; returns where the next marker stands."""
    length = int.from_bytes(data[position : position + 2])
    end = position + length
    _need(length >= 2 and end <= len(data))
    content = data[position + 2 : end]
    match marker:
        case Marker.BASELINE | Marker.EXTENDED | Marker.PROGRESSIVE:
            _read_frame(found, marker, content)
        case Marker.DHT:
            found.huffman_tables |= _read_huffman_tables(content)
        case Marker.DQT:
            _read_quantisation_tables(found, content)
        case Marker.DRI:
            _need(length == 4)
        case Marker.SOS:
            _read_scan(found, content)
            following = _MARKER_AFTER_SCAN.search(data, end)
            _need(following is not None)
            return following.start() if following else end
        case _:
            _need(marker in _IGNORED)
            found.has_exif |= marker == Marker.EXIF and content.startswith(b"Exif\0")
    return end


def _read_frame(found: PlainJpeg, marker: int, content: bytes) -> None:
    _need(len(content) >= 6 and not found.sampling_of)
    precision_bits, num_components = content[0], content[5]
    _need(precision_bits == 8 and num_components in (1, 3) and len(content) == 6 + 3 * num_components)
    found.height_px, found.width_px = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    _need(0 < found.height_px <= MAX_SIDE_PX and 0 < found.width_px <= MAX_SIDE_PX)
    found.is_progressive = marker == Marker.PROGRESSIVE
    for start in range(6, len(content), 3):
        component, sampling, table = content[start : start + 3]
        horizontal, vertical = sampling >> 4, sampling & 15
        _need(component not in found.sampling_of and horizontal in (1, 2, 4) and vertical in (1, 2, 4) and table < 4)
        found.sampling_of[component] = horizontal * vertical
        found.quantisation_of[component] = table


def _read_quantisation_tables(found: PlainJpeg, content: bytes) -> None:
    while content:
        precision, table = content[0] >> 4, content[0] & 15
        size_bytes = 1 + 64 * (1 + precision)
        _need(precision < 2 and table < 4 and len(content) >= size_bytes)
        found.quantisation_tables.add(table)
        content = content[size_bytes:]


@lru_cache(maxsize=64)
def _read_huffman_tables(content: bytes) -> frozenset[tuple[int, int]]:
    """The tables that a segment defines. Most pictures hold the same ones: those that the standard proposes."""
    tables: set[tuple[int, int]] = set()
    while content:
        _need(len(content) >= 17)
        kind, table = content[0] >> 4, content[0] & 15
        counts = content[1:17]
        symbols = content[17 : 17 + sum(counts)]
        _need(kind < 2 and table < 4 and len(symbols) == sum(counts) <= 256)
        _need(kind == 1 or max(symbols, default=0) < 16)
        _need(_codes_fit(counts))
        tables.add((kind, table))
        content = content[17 + len(symbols) :]
    return frozenset(tables)


def _codes_fit(counts: bytes) -> bool:
    """Whether so many codes of 1 to 16 bits exist, none of them all ones."""
    code = 0
    for bits, count in enumerate(counts, start=1):
        code += count
        if count and code >= 1 << bits:
            return False
        code <<= 1
    return True


def _read_scan(found: PlainJpeg, content: bytes) -> None:
    found.num_scans += 1
    num_components = content[0] if content else 0
    _need(1 <= num_components <= found.num_components and len(content) == 4 + 2 * num_components)
    _need(found.num_scans <= MAX_SCANS)
    first, last, approximation = content[-3:]
    chosen = {content[1 + 2 * n]: content[2 + 2 * n] for n in range(num_components)}
    _need(len(chosen) == num_components and chosen.keys() <= found.sampling_of.keys())
    blocks = sum(found.sampling_of[component] for component in chosen)
    _need(num_components == 1 or blocks <= MAX_BLOCKS_IN_MCU)
    _need({found.quantisation_of[component] for component in chosen} <= found.quantisation_tables)
    if found.is_progressive:
        _check_progression(first, last, approximation, num_components)
    else:
        _need((first, last, approximation) == (0, 63, 0))
        _need(found.num_scans == 1 and num_components == found.num_components)
    uses_dc, uses_ac = first == 0 and approximation < 16, last > 0
    for tables in chosen.values():
        _need(not uses_dc or (0, tables >> 4) in found.huffman_tables)
        _need(not uses_ac or (1, tables & 15) in found.huffman_tables)


def _check_progression(first: int, last: int, approximation: int, num_components: int) -> None:
    high, low = approximation >> 4, approximation & 15
    _need(last == 0 if first == 0 else first <= last <= 63 and num_components == 1)
    _need(low <= 13 and high in (0, low + 1))


def _need(holds: bool) -> None:
    if not holds:
        raise _UnusualError
