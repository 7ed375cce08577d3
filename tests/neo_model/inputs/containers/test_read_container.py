"""Only what the pixels need may cost a picture: the same pixels come out, whatever is broken beside them."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from neo_model.inputs.containers.jpeg import num_scans
from neo_model.inputs.containers.read_container import num_frames, read_container
from neo_model.inputs.pictures import PictureError, PictureTrouble, open_pixels, picture_facts
from tests.neo_model.inputs.containers.files import (
    chunk,
    encoded,
    exif,
    exif_segment,
    extended_webp,
    international_text,
    photo,
    profile_segments,
    riff,
    segment,
    tiff,
    webp_chunks,
    with_chunks,
    with_segments,
    xmp,
    xmp_segment,
)

LIMIT = 1_000_000
PHOTO = photo()
FRAMES = [Image.new("RGB", PHOTO.size, colour) for colour in ("red", "blue")]
JPEG, PNG, WEBP, GIF = (encoded(PHOTO, name) for name in ("JPEG", "PNG", "WEBP", "GIF"))
APNG, ANIMATED_WEBP, ANIMATED_GIF, PAGES, MPO = (
    encoded(PHOTO, name, save_all=True, append_images=[frame.copy() for frame in FRAMES])
    for name in ("PNG", "WEBP", "GIF", "TIFF", "MPO")
)
FIRST = 13 + (3 << (GIF[10] & 7) + 1)
"""Position of the first image in the GIF, behind its colour table."""
EXTENDED = extended_webp(PHOTO, 0x08, (b"EXIF", exif(1)))
BOMB = b"bomb\0\0" + zlib.compress(bytes(50_000_000), 9)
MULTIPLE = b"MPF\0II*\0" + struct.pack("<I", 8) + b"\xff" * 30
BEYOND = struct.pack("<I", 0x7FFFFFFF)

SIDE_BY_SIDE: dict[str, tuple[bytes, bytes]] = {
    "PNG: compressed text of 2 MB": (PNG, with_chunks(PNG, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2_000_000))))),
    "PNG: text of another compression": (PNG, with_chunks(PNG, chunk(b"zTXt", b"a\0\7" + bytes(9)))),
    "PNG: international text of 2 MB": (PNG, with_chunks(PNG, international_text(b"a", b"y" * 2_000_000))),
    "PNG: text with a wrong checksum": (PNG, with_chunks(PNG, chunk(b"tEXt", b"a\0b", is_sound=False))),
    "PNG: a profile that is none": (PNG, with_chunks(PNG, chunk(b"iCCP", b"a\0\0" + b"?" * 99))),
    "PNG: a profile that unpacks to 50 MB": (PNG, with_chunks(PNG, chunk(b"iCCP", BOMB))),
    "PNG: a profile with a wrong checksum": (PNG, with_chunks(PNG, chunk(b"iCCP", b"a", is_sound=False))),
    "PNG: an empty gamma": (PNG, with_chunks(PNG, chunk(b"gAMA", b""), chunk(b"cHRM", b"\0"), chunk(b"pHYs", b""))),
    "PNG: an empty sRGB": (PNG, with_chunks(PNG, chunk(b"sRGB", b""), chunk(b"bKGD", b""), chunk(b"tIME", b""))),
    "PNG: transparency that does not fit": (PNG, with_chunks(PNG, chunk(b"tRNS", b"\0"))),
    "PNG: transparency with a wrong checksum": (PNG, with_chunks(PNG, chunk(b"tRNS", bytes(6), is_sound=False))),
    "PNG: broken EXIF": (PNG, with_chunks(PNG, chunk(b"eXIf", exif(6)[:15]))),
    "PNG: EXIF with a wrong checksum": (PNG, with_chunks(PNG, chunk(b"eXIf", exif(6), is_sound=False))),
    "PNG: an unknown critical chunk": (PNG, with_chunks(PNG, chunk(b"NEOX", b"a"))),
    "PNG: a broken animation": (PNG, with_chunks(PNG, chunk(b"acTL", b"\0"), chunk(b"fcTL", b"\0"))),
    "PNG: text behind the pixels, broken": (PNG, with_chunks(PNG, behind=b"\0\0\xff\xfftEXtab")),
    "PNG: cut behind the pixels": (PNG, PNG[:-13]),
    "APNG: cut in its second frame": (PNG, APNG[: APNG.index(b"fdAT") + 9]),
    "JPEG: broken EXIF": (JPEG, with_segments(JPEG, exif_segment(exif(6)[:12]))),
    "JPEG: a broken list of pictures": (JPEG, with_segments(JPEG, segment(0xE2, MULTIPLE))),
    "JPEG: an empty list of pictures": (JPEG, with_segments(JPEG, segment(0xE2, b"MPF\0"))),
    "JPEG: broken Photoshop data": (JPEG, with_segments(JPEG, segment(0xED, b"Photoshop 3.0\x008BIM\xff\xff\xff"))),
    "JPEG: a piece of a profile": (JPEG, with_segments(JPEG, profile_segments(bytes(200_000))[:60_018])),
    "JPEG: metadata that looks like scans": (JPEG, with_segments(JPEG, *[segment(0xE4, b"\xff\xda" * 30_000)] * 3)),
    "JPEG: bytes between segments": (
        JPEG,
        with_segments(JPEG, segment(0xFE, b"a"), b"\0\0ab\xff\xff", segment(0xFE, b"a")),
    ),
    "MPO: a second picture that is cut": (encoded(PHOTO, "JPEG"), MPO[: MPO.rindex(b"\xff\xd8") + 40]),
    "WebP: metadata that is cut": (EXTENDED, EXTENDED[:-9]),
    "WebP: a size beyond its end": (EXTENDED, extended_webp(PHOTO, 0x08, (b"EXIF", exif(1)), size_bytes=2**31)),
    "WebP: a size before its end": (EXTENDED, extended_webp(PHOTO, 0x08, (b"EXIF", exif(1)), size_bytes=30)),
    "WebP: flags without their chunks": (EXTENDED, extended_webp(PHOTO, 0x2C)),
    "WebP: a second frame that is cut": (ANIMATED_WEBP, ANIMATED_WEBP[: ANIMATED_WEBP.rindex(b"ANMF") + 30]),
    "WebP: a second frame that is broken": (
        ANIMATED_WEBP,
        riff(*webp_chunks(ANIMATED_WEBP)[:3], (b"ANMF", b"\xff" * 40)),
    ),
    "GIF: a second frame that is cut": (GIF, ANIMATED_GIF[: ANIMATED_GIF.rindex(b",") + 12]),
    "GIF: a second frame outside the screen": (
        GIF,
        ANIMATED_GIF[: ANIMATED_GIF.rindex(b",")] + b",\xff\xff\xff\xff\xff\xff\xff\xff\0",
    ),
    "GIF: no end": (GIF, GIF[:-1]),
    "GIF: an empty graphic control": (GIF, GIF[:FIRST] + b"!\xf9\0" + GIF[FIRST:]),
    "GIF: a loop of no length": (GIF, GIF[:FIRST] + b"!\xff\x0bNETSCAPE2.0\1\1\0" + GIF[FIRST:]),
    "GIF: bytes between blocks": (GIF, GIF[:FIRST] + b"\0\0" + GIF[FIRST:]),
    "TIFF: a second page without a size": (
        tiff(PHOTO),
        tiff(PHOTO, next_page=980, behind=bytes(2) + struct.pack("<HHHIII", 1, 254, 4, 1, 2, 0)),
    ),
    "TIFF: a second page beyond the end": (tiff(PHOTO), tiff(PHOTO, next_page=2**31)),
    "TIFF: pages in a circle": (tiff(PHOTO), tiff(PHOTO, next_page=8 + 37 * 23)),
    "TIFF: EXIF beyond the end": (tiff(PHOTO), tiff(PHOTO, (34665, 4, 1, BEYOND))),
    "TIFF: a profile beyond the end": (tiff(PHOTO), tiff(PHOTO, (34675, 7, 9999, BEYOND))),
    "TIFF: text beyond the end": (tiff(PHOTO), tiff(PHOTO, (270, 2, 9999, BEYOND), (33432, 2, 2**30, BEYOND))),
    "TIFF: an orientation of no number": (tiff(PHOTO), tiff(PHOTO, (274, 2, 4, b"six\0"))),
    "TIFF: XMP": (tiff(PHOTO), tiff(PHOTO, (700, 1, 4, b"<x:>"))),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SIDE_BY_SIDE)
def test_what_stands_beside_the_pixels_costs_nothing(name: str) -> None:
    plain, with_metadata = SIDE_BY_SIDE[name]
    assert np.array_equal(open_pixels(with_metadata, max_pixels_px=LIMIT), open_pixels(plain, max_pixels_px=LIMIT))
    before, after = picture_facts(plain), picture_facts(memoryview(with_metadata))
    assert (before.width_px, before.height_px, before.mode) == (after.width_px, after.height_px, after.mode)


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (JPEG, 1), (MPO, 1), (PNG, 1), (APNG, 3), (WEBP, 1), (ANIMATED_WEBP, 3), (GIF, 1), (ANIMATED_GIF, 3),
        (PAGES, 3),
        (encoded(PHOTO, "BMP"), 1), (ANIMATED_GIF[:-30], 2), (ANIMATED_WEBP[:-30], 2), (b"no picture", 1),
        (encoded(PHOTO, "PNG", save_all=True, append_images=[FRAMES[0].copy()], default_image=True), 2),
        (tiff(PHOTO, next_page=8 + 37 * 23), 1), (tiff(PHOTO, next_page=2**31), 1),
        (encoded(PHOTO, "TIFF", big_tiff=True), 1),
    ],
)  # fmt: skip
def test_whole_frames_are_counted(data: bytes, count: int) -> None:
    assert num_frames(data) == num_frames(memoryview(data)) == count


def test_scans_are_those_of_the_picture() -> None:
    progressive = encoded(PHOTO, "JPEG", progressive=True)
    assert num_scans(JPEG) == 1
    assert num_scans(with_segments(JPEG, segment(0xE4, b"\xff\xda" * 999)) + JPEG) == 1
    assert num_scans(progressive) == progressive.count(b"\xff\xda") > 5
    assert num_scans(b"\xff\xd8\xff") == 0


def test_what_is_no_picture_is_not_taken_apart() -> None:
    assert read_container(b"<html>") is None
    assert read_container(b"") is None


WHOLE = {
    "JPEG": with_segments(JPEG, exif_segment(exif(6)), xmp_segment(8)),
    "progressive JPEG": encoded(PHOTO, "JPEG", progressive=True),
    "CMYK": encoded(PHOTO.convert("CMYK"), "JPEG"),
    "MPO": MPO,
    "PNG": with_chunks(PNG, chunk(b"eXIf", exif(6)), international_text(b"XML:com.adobe.xmp", xmp(3))),
    "PNG of a colour table": encoded(PHOTO.quantize(9), "PNG"),
    "APNG": APNG,
    "WebP": extended_webp(PHOTO, 0x0C, (b"EXIF", exif(8)), (b"XMP ", xmp(3))),
    "lossy WebP": WEBP,
    "animated WebP": ANIMATED_WEBP,
    "GIF": ANIMATED_GIF,
    "BMP": encoded(PHOTO, "BMP"),
    "TIFF": tiff(PHOTO, (274, 3, 1, b"\6\0\0\0")),
    "TIFF with LZW": encoded(PHOTO, "TIFF", compression="tiff_lzw"),
    "TIFF with JPEG": encoded(PHOTO, "TIFF", compression="jpeg"),
    "BigTIFF": encoded(PHOTO, "TIFF", big_tiff=True),
}


def reason_of(data: bytes) -> PictureTrouble | None:
    try:
        open_pixels(data, max_pixels_px=LIMIT)
    except PictureError as error:
        return error.reason
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WHOLE)
def test_a_cut_file_is_truncated_unless_its_pixels_are_there(name: str) -> None:
    whole = WHOLE[name]
    lengths = range(12, len(whole), max(1, len(whole) // 120))
    reasons = {length: reason_of(whole[:length]) for length in lengths}
    assert set(reasons.values()) <= {PictureTrouble.TRUNCATED, None}
    kept = [length for length, reason in reasons.items() if reason is None]
    assert kept == [length for length in lengths if kept and length >= kept[0]], "once whole, always whole"
    assert not kept or kept[0] > len(whole) // 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", WHOLE)
def test_a_known_signature_is_a_picture_however_broken(name: str) -> None:
    chance, whole = random.Random(name), WHOLE[name]
    for _ in range(60):
        broken = bytearray(whole)
        for _ in range(chance.choice((1, 2, 9))):
            broken[chance.randrange(16, min(len(broken), chance.choice((200, 20_000))))] = chance.randrange(256)
        reason = reason_of(bytes(broken))
        assert reason is not PictureTrouble.NOT_IMAGE
        if reason is None:
            facts, shape = picture_facts(bytes(broken)), open_pixels(bytes(broken), max_pixels_px=LIMIT).shape
            assert (facts.height_px, facts.width_px, 3) == shape


def test_memory_that_a_header_asks_for_in_vain_is_a_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", ask)
    assert reason_of(PNG) is PictureTrouble.UNDECODABLE
