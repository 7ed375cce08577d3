"""The first bytes say what a picture is, whatever its name or content type says."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from neo_model.inputs.signatures import FORMATS, format_of, known_format


@pytest.mark.parametrize("name", FORMATS)
def test_what_pillow_writes_has_the_signature_of_its_format(name: str) -> None:
    written = BytesIO()
    Image.new("RGB", (8, 8)).save(written, name)
    data = written.getvalue()
    assert format_of(data) == format_of(memoryview(data)) == known_format(data[:12]) == name


@pytest.mark.parametrize("start", [b"II+\0\x08\0", b"MM\0+\0\x08", b"MM\0*", b"GIF87a", b"\x89PNG\n"])
def test_other_spellings_of_a_format_that_is_decoded(start: bytes) -> None:
    assert format_of(start) in FORMATS


@pytest.mark.parametrize(
    "start",
    [
        b"\0\0\0\x18ftypheic",
        b"\0\0\0\x1cftypavif",
        b"<svg xmlns=''>",
        b"<?xml version='1.0'?>\n<svg ",
        b"<!-- a --><svg>",
        b"\xef\xbb\xbf<?xml?><svg>",
        b"<!DOCTYPE svg PUBLIC",
        b"%PDF-1.7",
        b"%!PS-Adobe",
        b"\xc5\xd0\xd3\xc6",
        b"8BPS\0\1",
        b"\0\0\1\0\1\0",
        b"\0\0\2\0\1\0",
        b"\xd7\xcd\xc6\x9a",
        b"\1\0\0\0" + bytes(36) + b" EMF",
        b"\xff\x0a\0",
        b"\0\0\0\x0cJXL \r\n",
        b"\0\0\0\x0cjP  \r\n",
        b"\xff\x4f\xff\x51",
        b"II\xbc\1",
        b"P6\n8 8\n255\n",
        b"P5 8 8",
        b"DDS |",
        b"\x76\x2f\x31\x01",
        b"#?RADIANCE\n",
        b"qoif\0",
        b"BPG\xfb",
        b"FLIF4",
        b"AT&TFORM",
        b"gimp xcf v",
        b"icns\0",
        b"\x8aMNG\r\n",
        b"SIMPLE  =   T",
        b"\x59\xa6\x6a\x95",
        b"/* XPM */",
    ],
)
def test_a_picture_that_is_not_decoded_is_known_all_the_same(start: bytes) -> None:
    assert format_of(start) is None
    assert known_format(start) is not None


@pytest.mark.parametrize(
    "start", [b"", b"\0", b"<!doctype html><p>", b"{}", b"RIFF\0\0\0\0AVI ", b"\x1f\x8b\x08", b"PK\3\4", b"Not Found"]
)
def test_what_is_no_picture_is_unknown(start: bytes) -> None:
    assert known_format(start) is None


def test_a_web_page_that_shows_a_drawing_is_no_drawing() -> None:
    assert known_format(b"<!DOCTYPE html><html><body><svg width=1>") is None
