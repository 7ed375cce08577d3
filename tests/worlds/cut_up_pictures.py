"""Small pictures in files that are cut up into as many pieces as fit: each is sound, and nearly all are empty."""

import io
import struct
import zlib
from collections.abc import Callable, Mapping

from PIL import Image


def _small(encoding: str, mode: str = "RGB", **options: object) -> bytes:
    written = io.BytesIO()
    Image.linear_gradient("L").resize((64, 64)).convert(mode).save(written, encoding, **options)
    return written.getvalue()


def _filled(before: bytes, piece: bytes, after: bytes, num_bytes: int) -> bytes:
    return before + piece * ((num_bytes - len(before) - len(after)) // len(piece)) + after


def _chunk(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(kind: bytes, num_bytes: int) -> bytes:
    whole = _small("PNG")
    place = whole.index(b"IDAT") - 4
    return _filled(whole[:place], _chunk(kind), whole[place:], num_bytes)


def _jpeg(piece: bytes, num_bytes: int) -> bytes:
    whole = _small("JPEG")
    return _filled(whole[:2], piece, whole[2:], num_bytes)


def _gif(piece: bytes, num_bytes: int, *, within: bool = False) -> bytes:
    whole = _small("GIF", "P")
    place = 13 + (3 << (whole[10] & 7) + 1)
    before, after = (b"\x21\xfe", b"\0") if within else (b"", b"")
    return _filled(whole[:place] + before, piece, after + whole[place:], num_bytes)


def _webp(kind: bytes, num_bytes: int) -> bytes:
    whole = _small("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0")
    return _filled(whole[:30], kind + bytes(4), whole[30:], num_bytes)


def _tiff(num_bytes: int) -> bytes:
    """Directories of 65,535 tags that lie over one another, each of which names the next."""
    size = 65_535 * 12
    data = bytearray(b"II*\0" + struct.pack("<I", 8)) + bytes(num_bytes - 8)
    for place in range(8, min(num_bytes - size - 16, 8 + 8 * 10_000), 8):
        struct.pack_into("<H", data, place, 65_535)
        struct.pack_into("<I", data, place + 2 + size, place + 8)
    return bytes(data)


CUT_UP: Mapping[str, Callable[[int], bytes]] = {
    "png texts": lambda num_bytes: _png(b"tEXt", num_bytes),
    "png image data": lambda num_bytes: _png(b"IDAT", num_bytes),
    "png exif": lambda num_bytes: _png(b"eXIf", num_bytes),
    "jpeg comments": lambda num_bytes: _jpeg(b"\xff\xfe\0\x02", num_bytes),
    "jpeg bare markers": lambda num_bytes: _jpeg(b"\xff\x01", num_bytes),
    "jpeg profiles": lambda num_bytes: _jpeg(b"\xff\xe2\0\x10ICC_PROFILE\0\1\1", num_bytes),
    "gif comment": lambda num_bytes: _gif(b"\x01a", num_bytes, within=True),
    "gif comments": lambda num_bytes: _gif(b"\x21\xfe\0", num_bytes),
    "gif controls": lambda num_bytes: _gif(b"\x21\xf9\x04\0\0\0\0\0", num_bytes),
    "webp unknown": lambda num_bytes: _webp(b"JUNK", num_bytes),
    "webp alpha": lambda num_bytes: _webp(b"ALPH", num_bytes),
    "tiff directories": _tiff,
}
"""Name to the picture in a file of about so many bytes."""
