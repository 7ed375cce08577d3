"""PNG taken apart: chunks up to the end of the image data (PNG, third edition).

Text, times, gamma and all chunks that are unknown are left out of what is decoded, and so are ancillary chunks with a
wrong checksum, everything behind the image data, and the later frames of an animation (APNG).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from neo_model.inputs.containers.container import MAX_PROFILE_BYTES, Container, Data, PieceCount
from neo_model.inputs.containers.exif import orientation_of

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES: Final = 8
_CHECKSUM_BYTES: Final = 4
_COLOUR_TABLE: Final = 3
_TRANSPARENCY_BYTES: Final = {0: (2,), 2: (6,), _COLOUR_TABLE: range(1, 257)}
"""Sizes of the transparency of each colour type: one grey, one colour, an alpha for each entry of a colour table."""


@dataclass
class _Chunks:
    """The chunks up to the end of the image data."""

    critical: list[Data] = field(default_factory=list)
    """Header and palette as they are, checksums included: the decoder judges them."""
    transparency: bytes | None = None
    exif: bytes | None = None
    profile: bytes | None = None
    image: list[Data] = field(default_factory=list)
    """Contents of the image data."""
    num_frames: int = 0
    """Frames that the animation announces; 0 for a still picture."""
    is_image_a_frame: bool = False
    """Whether the image data is the animation's first frame."""
    is_cut: bool = False


def read_png(data: Data) -> Container:
    """Take a PNG apart."""
    chunks = _read(data)
    if not chunks.image:
        return Container(format="PNG", pixels=data, is_cut=chunks.is_cut)
    pieces = [SIGNATURE, *chunks.critical]
    if chunks.transparency is not None:
        pieces += _chunk(b"tRNS", [chunks.transparency])
    return Container(
        format="PNG",
        pixels=b"".join([*pieces, *_chunk(b"IDAT", chunks.image), *_chunk(b"IEND", [])]),
        orientation=1 if chunks.exif is None else orientation_of(chunks.exif),
        profile=None if chunks.profile is None else _unpacked_profile(chunks.profile),
        is_cut=chunks.is_cut,
    )


def num_png_frames(data: Data) -> int:
    """Frames that an animation announces, with the picture that is shown in its place; 1 for a still picture."""
    chunks = _read(data)
    return chunks.num_frames + (not chunks.is_image_a_frame) if chunks.num_frames else 1


def _read(data: Data) -> _Chunks:
    chunks, colour_type = _Chunks(), -1
    if len(data) >= len(SIGNATURE) and bytes(data[: len(SIGNATURE)]) != SIGNATURE:
        return chunks
    for kind, content, whole in _walk(data):
        match kind:
            case b"IDAT":
                chunks.image.append(content)
                chunks.is_cut = whole is None
            case _ if chunks.image or kind == b"IEND" or not kind.isalpha():
                return chunks
            case _ if whole is None:
                chunks.is_cut = True
            case b"IHDR":
                chunks.critical.append(whole)
                colour_type = content[9] if len(content) > 9 else -1
            case b"PLTE" if colour_type == _COLOUR_TABLE:
                chunks.critical.append(whole)
            case b"tRNS" if len(content) in _TRANSPARENCY_BYTES.get(colour_type, ()) and _is_sound(whole):
                chunks.transparency = bytes(content)
            case b"eXIf" if _is_sound(whole):
                chunks.exif = bytes(content)
            case b"iCCP" if _is_sound(whole):
                chunks.profile = bytes(content)
            case b"acTL" if _is_sound(whole) and len(content) >= 8:
                chunks.num_frames = int.from_bytes(content[:4])
            case b"fcTL":
                chunks.is_image_a_frame = True
    chunks.is_cut = chunks.is_cut or not chunks.image
    return chunks


def _is_sound(chunk: Data) -> bool:
    """Whether the checksum of a whole chunk is right."""
    return zlib.crc32(chunk[4:-_CHECKSUM_BYTES]) == int.from_bytes(chunk[-_CHECKSUM_BYTES:])


def _walk(data: Data) -> Iterator[tuple[bytes, Data, Data | None]]:
    """Kind and content of each chunk, and the chunk with its checksum; None in its place where the data ends within."""
    position, pieces = len(SIGNATURE), PieceCount(data)
    while position + _HEAD_BYTES <= len(data):
        pieces.take()
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + _HEAD_BYTES + length
        content = data[position + _HEAD_BYTES : end]
        whole = data[position : end + _CHECKSUM_BYTES] if end + _CHECKSUM_BYTES <= len(data) else None
        yield kind, content, whole
        position = end + _CHECKSUM_BYTES


def _chunk(kind: bytes, contents: Sequence[Data]) -> list[Data]:
    """The pieces of a chunk with these contents end to end."""
    checksum = zlib.crc32(kind)
    for content in contents:
        checksum = zlib.crc32(content, checksum)
    return [struct.pack(">I4s", sum(map(len, contents)), kind), *contents, struct.pack(">I", checksum)]


def _unpacked_profile(content: bytes) -> bytes | None:
    """The profile of an iCCP chunk: a name, a zero, a zero for deflate, the deflated bytes."""
    _, _, packed = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MAX_PROFILE_BYTES + 1)
    except zlib.error:
        return None
    return profile if len(profile) <= MAX_PROFILE_BYTES else None
