"""WebP taken apart: the chunks of its RIFF container (RFC 9649).

The container is written anew around the first frame, so wrong sizes and chunks behind it cost nothing.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from neo_model.inputs.containers.container import MAX_PROFILE_BYTES, Container, Data, PieceCount
from neo_model.inputs.containers.exif import orientation_of

_HEAD_BYTES: Final = 12
_EXTENDED: Final = b"VP8X"
_FRAME: Final = b"ANMF"
_IMAGES: Final = (b"VP8 ", b"VP8L")
# Flags of VP8X.
_HAS_ANIMATION: Final = 0x02
_HAS_EXIF: Final = 0x08
_HAS_ALPHA: Final = 0x10
_HAS_PROFILE: Final = 0x20


@dataclass
class _Chunks:
    extended: bytes = b""
    kept: list[Data] = field(default_factory=list)
    """Chunks of the first frame, whole."""
    exif: Data | None = None
    profile: bytes | None = None
    num_frames: int = 0
    """Whole frames of an animation."""
    has_image: bool = False
    is_cut: bool = False

    def has(self, flag: int) -> bool:
        """Whether the header of an extended file has a flag."""
        return len(self.extended) > 0 and bool(self.extended[0] & flag)


def read_webp(data: Data) -> Container:
    """Take a WebP apart."""
    chunks = _read(data)
    if not chunks.has_image:
        return Container(format="WEBP", pixels=data, is_cut=True)
    head: list[Data] = []
    if chunks.extended:
        flags = chunks.extended[0] & (_HAS_ALPHA | _HAS_ANIMATION)
        head = _chunk(_EXTENDED, bytes([flags]) + chunks.extended[1:])
    pieces = [b"WEBP", *head, *chunks.kept]
    return Container(
        format="WEBP",
        pixels=b"".join([b"RIFF", struct.pack("<I", sum(map(len, pieces))), *pieces]),
        orientation=orientation_of(chunks.exif) if chunks.exif is not None and chunks.has(_HAS_EXIF) else 1,
        profile=chunks.profile if chunks.has(_HAS_PROFILE) else None,
        is_cut=chunks.is_cut,
    )


def num_webp_frames(data: Data) -> int:
    """Whole frames of an animation; 1 for a still picture."""
    return max(1, _read(data).num_frames)


def _read(data: Data) -> _Chunks:
    chunks = _Chunks()
    for kind, content, is_whole in _walk(data):
        if kind == _EXTENDED and not chunks.extended:
            chunks.extended = bytes(content)
        elif kind in _IMAGES or kind == _FRAME:
            if (kind == _FRAME) == chunks.has(_HAS_ANIMATION) and not chunks.has_image:
                chunks.kept += _chunk(kind, content)
                chunks.has_image, chunks.is_cut = True, not is_whole
            chunks.num_frames += kind == _FRAME and is_whole
            if not chunks.extended:  # nothing follows the image of a simple file
                break
        elif kind in (b"ALPH", b"ANIM") and not chunks.has_image:
            chunks.kept += _chunk(kind, content)
        elif kind == b"EXIF" and is_whole and chunks.exif is None:
            chunks.exif = content
        elif kind == b"ICCP" and is_whole and len(content) <= MAX_PROFILE_BYTES:
            chunks.profile = bytes(content)
    return chunks


def _walk(data: Data) -> Iterator[tuple[bytes, Data, bool]]:
    """Kind and content of each chunk, and whether the data holds all of it."""
    position, pieces = _HEAD_BYTES, PieceCount(data)
    while position + 8 <= len(data):
        pieces.take()
        kind, length = struct.unpack_from("<4sI", data, position)
        position += 8
        yield kind, data[position : position + length], position + length <= len(data)
        position += length + length % 2


def _chunk(kind: bytes, content: Data) -> list[Data]:
    """The pieces of a chunk."""
    return [kind + struct.pack("<I", len(content)), content, bytes(len(content) % 2)]
