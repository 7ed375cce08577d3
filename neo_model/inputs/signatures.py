"""Which format a picture has, by its first bytes alone: never by a name, a header line or a guess.

Owns the list of formats that are decoded, and the signatures of pictures that are known and not decoded.
"""

from __future__ import annotations

import re
from typing import Final

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""The only formats that are decoded. The list is passed to Pillow, which would else run Ghostscript on EPS."""

_NUM_BYTES: Final = 512
"""Bytes from the start in which every signature lies; SVG may have a comment before it."""
_DECODED: Final = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    "BMP": re.compile(rb"BM"),
    "TIFF": re.compile(rb"II[*+]\0|MM\0[*+]|MM\*\0|II\0\*"),
}
_KNOWN: Final = {
    "ISO media (HEIC, AVIF)": re.compile(rb".{4}ftyp", re.DOTALL),
    "SVG": re.compile(
        rb"(\xef\xbb\xbf)?\s*(<\?xml(?!.*<html).*|<!--(?!.*<html).*)?<(svg[\s>]|!DOCTYPE svg)", re.DOTALL
    ),
    "PDF": re.compile(rb"\s*%PDF-"),
    "PostScript": re.compile(rb"\s*%!PS|\xc5\xd0\xd3\xc6"),
    "Photoshop": re.compile(rb"8BPS"),
    "Windows icon or cursor": re.compile(rb"\0\0[\x01\x02]\0"),
    "Windows metafile": re.compile(rb"\xd7\xcd\xc6\x9a|\x01\0\0\0.{36} EMF", re.DOTALL),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XR": re.compile(rb"II\xbc"),
    "Netpbm": re.compile(rb"P[1-7][\s#]"),
    "OpenEXR": re.compile(rb"\x76\x2f\x31\x01"),
    "Radiance": re.compile(rb"#\?(RADIANCE|RGBE)"),
    "DirectDraw": re.compile(rb"DDS "),
    "QOI": re.compile(rb"qoif"),
    "BPG": re.compile(rb"BPG\xfb"),
    "FLIF": re.compile(rb"FLIF"),
    "DjVu": re.compile(rb"AT&TFORM"),
    "GIMP": re.compile(rb"gimp xcf"),
    "macOS icon": re.compile(rb"icns"),
    "MNG or JNG": re.compile(rb"[\x8a\x8b](MNG|JNG)\r\n"),
    "FITS": re.compile(rb"SIMPLE  ="),
    "Sun raster": re.compile(rb"\x59\xa6\x6a\x95"),
    "XPM": re.compile(rb"/\* XPM"),
}


def format_of(data: bytes | memoryview) -> str | None:
    """One of `FORMATS`, or None where the first bytes are of none of them."""
    return _first_match(_DECODED, data)


def known_format(data: bytes | memoryview) -> str | None:
    """The name of a picture format that is known, decoded or not, or None where the data is no picture at all."""
    return format_of(data) or _first_match(_KNOWN, data)


def _first_match(signatures: dict[str, re.Pattern[bytes]], data: bytes | memoryview) -> str | None:
    head = bytes(data[:_NUM_BYTES])
    return next((name for name, signature in signatures.items() if signature.match(head)), None)
