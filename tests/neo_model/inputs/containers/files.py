"""Pieces of picture files, to lay metadata of any kind around the same pixels."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image


def photo(width_px: int = 37, height_px: int = 23) -> Image.Image:
    """No two corners alike, and no side like another."""
    down, across = np.mgrid[0:height_px, 0:width_px]
    pixels = np.stack([across * 255 // width_px, down * 255 // height_px, (across + down) % 7 * 9], -1)
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image: Image.Image, encoding: str, **options: object) -> bytes:
    written = BytesIO()
    image.copy().save(written, encoding, **options)  # type: ignore[arg-type]
    return written.getvalue()


def exif(orientation: int, *, sign: str = "<", kind: int = 3, count: int = 1, num_entries: int = 2) -> bytes:
    """An EXIF block with a make and an orientation."""
    order = b"II*\0" if sign == "<" else b"MM\0*"
    make = struct.pack(f"{sign}HHI4s", 0x010F, 2, 4, b"neo\0")
    value = struct.pack(f"{sign}HHIHH", 0x0112, kind, count, orientation, 0)
    return order + struct.pack(f"{sign}IH", 8, num_entries) + make + value + bytes(4)


def xmp(orientation: int) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" '
        f'tiff:Orientation="{orientation}"/></x:xmpmeta>'
    ).encode()


def segment(marker: int, content: bytes) -> bytes:
    """A marker segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def exif_segment(block: bytes) -> bytes:
    return segment(0xE1, b"Exif\0\0" + block)


def xmp_segment(orientation: int) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(orientation))


def profile_segments(profile: bytes, piece_bytes: int = 60_000) -> bytes:
    pieces = [profile[start : start + piece_bytes] for start in range(0, len(profile), piece_bytes)]
    heads = (b"ICC_PROFILE\0" + bytes([number + 1, len(pieces)]) for number in range(len(pieces)))
    return b"".join(segment(0xE2, head + piece) for head, piece in zip(heads, pieces, strict=True))


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def chunk(kind: bytes, content: bytes, *, is_sound: bool = True) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(kind + content) ^ (not is_sound)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def with_chunks(png: bytes, *chunks: bytes, behind: bytes = b"") -> bytes:
    """Chunks behind the header, and `behind` the image data."""
    return png[:33] + b"".join(chunks) + png[33:-12] + behind + png[-12:]


def international_text(keyword: bytes, text: bytes) -> bytes:
    return chunk(b"iTXt", keyword + b"\0\0\0\0\0" + text)


def riff(*chunks: tuple[bytes, bytes], size_bytes: int | None = None) -> bytes:
    """A WebP of chunks; `size_bytes` lies about its size."""
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2) for kind, data in chunks
    )
    return b"RIFF" + struct.pack("<I", len(body) if size_bytes is None else size_bytes) + body


def webp_chunks(webp: bytes) -> list[tuple[bytes, bytes]]:
    chunks, position = [], 12
    while position < len(webp):
        kind, length = struct.unpack_from("<4sI", webp, position)
        chunks.append((kind, webp[position + 8 : position + 8 + length]))
        position += 8 + length + length % 2
    return chunks


def extended_webp(image: Image.Image, flags: int, *further: tuple[bytes, bytes], **lies: int) -> bytes:
    """A lossless WebP with metadata behind its pixels."""
    (pixels,) = webp_chunks(encoded(image, "WEBP", lossless=True))
    sides = struct.pack("<I", image.width - 1)[:3] + struct.pack("<I", image.height - 1)[:3]
    return riff((b"VP8X", bytes([flags, 0, 0, 0]) + sides), pixels, *further, **lies)


def tiff(image: Image.Image, *further: tuple[int, int, int, bytes], next_page: int = 0, behind: bytes = b"") -> bytes:
    """An uncompressed grey TIFF; `further` entries are tag, kind, count and four bytes of value."""
    pixels = np.asarray(image.convert("L")).tobytes()
    numbers = {256: image.width, 257: image.height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: image.height}
    entries = [(tag, 4, 1, struct.pack("<I", value)) for tag, value in (numbers | {279: len(pixels)}).items()]
    entries = sorted([*entries, *further])
    directory = b"".join(struct.pack("<HHI4s", *entry) for entry in entries)
    start = 8 + len(pixels)
    head = b"II*\0" + struct.pack("<I", start)
    return head + pixels + struct.pack("<H", len(entries)) + directory + struct.pack("<I", next_page) + behind
