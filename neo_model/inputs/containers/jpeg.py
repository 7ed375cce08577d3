"""JPEG taken apart: marker segments up to the first scan. Marker codes: ITU-T T.81, annex B.

Comments and application segments are left out of what is decoded (JFIF and Adobe, which say what the components mean,
stay). With them go the second pictures that cameras append (MPF), which Pillow would take for frames.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
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
from neo_model.inputs.containers.exif import orientation_of

SOI: Final = b"\xff\xd8"
EOI: Final = b"\xff\xd9"
_SOS: Final = 0xDA
_EOI: Final = 0xD9
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_EXIF: Final = 0xE1
_PROFILE: Final = 0xE2
_LEFT_OUT: Final = frozenset({0xFE, *range(0xE1, 0xF0)}) - {0xEE}
_EXIF_START: Final = b"Exif\0"
_PROFILE_START: Final = b"ICC_PROFILE\0"
_MAX_PROFILE_PIECES: Final = 255
"""One byte says how many there are."""
_MARKER: Final = re.compile(rb"\xff[^\x00\xff]")
# In entropy-coded data FF is stuffed as FF 00; FF D0 to FF D7 are restart markers. Any other FF ends the scan.
_MARKER_AFTER_SCAN: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


@dataclass
class _Head:
    """What stands before the first scan."""

    kept: list[Data] = field(default_factory=lambda: [SOI])
    exif: Data | None = None
    profile_pieces: list[bytes] = field(default_factory=list)
    scan: int = 0
    """Position of the marker of the first scan."""


def read_jpeg(data: Data) -> Container:
    """Take a JPEG apart. The first EXIF segment counts; a profile lies in numbered pieces."""
    try:
        head = _read_head(data)
    except EndsEarlyError:
        return Container(format="JPEG", pixels=data, is_cut=True)
    except MalformedError:
        return Container(format="JPEG", pixels=data)
    return Container(
        format="JPEG",
        pixels=b"".join([*head.kept, data[head.scan :]]),
        orientation=1 if head.exif is None else orientation_of(head.exif),
        profile=_joined(head.profile_pieces),
    )


def lacks_end(data: Data) -> bool:
    """Whether no end of image (EOI) stands behind the first scan."""
    try:
        start = _read_head(data).scan
    except (EndsEarlyError, MalformedError, TooManyPiecesError):
        return False
    return bytes(data[start:]).rfind(EOI) < 0


def num_scans(data: Data) -> int:
    """Scans of a JPEG, without those of thumbnails in its metadata or of pictures behind its end."""
    count, pieces = 0, PieceCount(data)
    try:
        position, plain = _read_head(data).scan, bytes(data)
        while (marker := plain[position + 1 : position + 2]) and marker[0] != _EOI:
            pieces.take()
            count += marker[0] == _SOS
            behind = position + 2 + int.from_bytes(plain[position + 2 : position + 4])
            following = _MARKER_AFTER_SCAN.search(plain, behind)
            if following is None:
                break
            position = following.start()
    except (EndsEarlyError, MalformedError, TooManyPiecesError):
        pass
    return count


def _read_head(data: Data) -> _Head:
    head, position, pieces = _Head(), len(SOI), PieceCount(data)
    while True:
        pieces.take()
        start, marker = _next_marker(data, position)
        if marker == _SOS:
            head.scan = start
            return head
        if marker == _EOI:
            raise MalformedError
        position = start + 2
        if marker in _STANDALONE:
            continue
        length = int.from_bytes(data[position : position + 2])
        if position + max(length, 2) > len(data):
            raise EndsEarlyError
        content, position = data[position + 2 : position + length], position + length
        if length < 2:
            raise MalformedError
        if marker not in _LEFT_OUT:
            head.kept.append(data[start:position])
        elif marker == _EXIF and head.exif is None and bytes(content[:5]) == _EXIF_START:
            head.exif = content
        elif marker == _PROFILE and bytes(content[:12]) == _PROFILE_START:
            head.profile_pieces.append(bytes(content))


def _next_marker(data: Data, position: int) -> tuple[int, int]:
    """Position of the next marker, and its code. Bytes that are no marker are passed over, as libjpeg does."""
    found = _MARKER.search(data, position)
    if found is None:
        raise EndsEarlyError
    return found.start(), data[found.start() + 1]


def _joined(pieces: list[bytes]) -> bytes | None:
    """The profile of its pieces, each with its number and their count behind the name; None if one is missing."""
    numbered = sorted(pieces, key=lambda piece: piece[12:14])
    if not 0 < len(pieces) <= _MAX_PROFILE_PIECES:
        return None
    if [piece[12:14] for piece in numbered] != [bytes((n + 1, len(pieces))) for n in range(len(pieces))]:
        return None
    profile = b"".join(piece[14:] for piece in numbered)
    return profile if len(profile) <= MAX_PROFILE_BYTES else None
