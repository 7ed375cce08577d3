"""Profiles lead to sRGB or are ignored; transparency, grey and inks become RGB by stated rules."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from neo_model.inputs.colours import changes_colours, to_rgb
from neo_model.inputs.pictures import open_pixels, picture_facts
from tests.neo_model.inputs.containers.files import encoded, profile_segments, with_segments

LIMIT = 1_000_000
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
DISPLAY_P3 = {
    b"rXYZ": (0.51512, 0.24120, -0.00105),
    b"gXYZ": (0.29198, 0.69225, 0.04189),
    b"bXYZ": (0.15710, 0.06657, 0.78407),
}


def p3() -> bytes:
    """Display P3: sRGB with other primaries, as cameras of phones embed it."""
    profile = bytearray(SRGB)
    for number in range(struct.unpack(">I", SRGB[128:132])[0]):
        tag, offset, _ = struct.unpack(">4sII", SRGB[132 + 12 * number : 144 + 12 * number])
        if tag in DISPLAY_P3:
            profile[offset + 8 : offset + 20] = struct.pack(">3i", *(round(x * 65_536) for x in DISPLAY_P3[tag]))
    return bytes(profile)


def profile_of(space: bytes, kind: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """An ICC profile of version 2."""
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63_190, 65_536, 54_061)
    tags = {b"wtpt": white, **tags}
    start, directory, body = 132 + 12 * len(tags), b"", b""
    for tag, content in tags.items():
        directory += struct.pack(">4sII", tag, start + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(">I4sI4s4s4s12s4s", start + len(body), b"", 0x02400000, kind, space, connection, b"", b"acsp")
    head = head.ljust(68, b"\0") + struct.pack(">3i", 63_190, 65_536, 54_061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + directory + body


def grey_profile(gamma: float) -> bytes:
    return profile_of(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256))})


def ink_profile() -> bytes:
    """Inks of which only black is seen: a table of 2 x 2 x 2 x 2 nodes in Lab."""
    nodes = bytes(value for node in range(16) for value in (0 if node & 1 else 255, 128, 128))
    ramp = bytes(range(256))
    unit = struct.pack(">9i", 65_536, 0, 0, 0, 65_536, 0, 0, 0, 65_536)
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + unit + ramp * 4 + nodes + ramp * 3
    return profile_of(b"CMYK", b"prtr", b"Lab ", {b"A2B0": table})


def shown(image: Image.Image, encoding: str = "PNG", colour: Any = "srgb", **options: Any) -> list[int]:
    """The pixel in the middle of a picture as it is decoded."""
    pixels = open_pixels(encoded(image, encoding, **options), max_pixels_px=LIMIT, colour=colour)
    return pixels[pixels.shape[0] // 2, pixels.shape[1] // 2].tolist()


def is_near(found: list[int], wanted: tuple[int, int, int], tolerance: int = 4) -> bool:
    return all(abs(one - other) <= tolerance for one, other in zip(found, wanted, strict=True))


GREEN, GREEN_IN_SRGB = (117, 251, 76), (3, 255, 0)
FIELD = Image.new("RGB", (32, 32), GREEN)


@pytest.mark.parametrize(
    ("encoding", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}), ("JPEG", {"quality": 100, "subsampling": 0})],
)
def test_a_profile_leads_to_srgb_where_that_is_asked_for(encoding: str, options: dict[str, Any]) -> None:
    assert is_near(shown(FIELD, encoding, icc_profile=p3(), **options), GREEN_IN_SRGB, 8)
    assert is_near(shown(FIELD, encoding, "as_is", icc_profile=p3(), **options), GREEN)
    assert is_near(shown(FIELD, encoding, **options), GREEN)


@pytest.mark.parametrize("encoding", ["PNG", "JPEG", "TIFF"])
def test_pictures_in_srgb_keep_their_numbers_to_the_bit(encoding: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8))
    data = encoded(noise, encoding, icc_profile=SRGB)
    converted, plain = (open_pixels(data, max_pixels_px=LIMIT, colour=one) for one in ("srgb", "as_is"))
    assert picture_facts(data).profile == SRGB
    assert np.array_equal(converted, plain)


def test_a_profile_in_pieces_is_put_together() -> None:
    jpeg = encoded(FIELD, "JPEG", quality=100, subsampling=0)
    data = with_segments(jpeg, profile_segments(p3(), piece_bytes=100))
    assert is_near(open_pixels(data, max_pixels_px=LIMIT, colour="srgb")[9, 9].tolist(), GREEN_IN_SRGB, 8)


@pytest.mark.parametrize(
    "profile",
    [b"", b"garbage" * 99, p3()[:200], SRGB[:132], bytes(len(SRGB)), grey_profile(1.0), ink_profile(), p3()[:-400]],
)
def test_a_profile_that_is_broken_or_for_other_colours_is_none(profile: bytes) -> None:
    assert not changes_colours(profile, "RGB")
    assert shown(FIELD, icc_profile=profile) == list(GREEN)


def test_grey_has_grey_profiles() -> None:
    grey = Image.new("L", (8, 8), 128)
    assert is_near(shown(grey, icc_profile=grey_profile(1.0)), (188, 188, 188))
    assert shown(grey, icc_profile=p3()) == [128, 128, 128]
    assert is_near(shown(grey.convert("LA"), icc_profile=grey_profile(1.0)), (188, 188, 188))
    sixteen_bits = Image.fromarray(np.full((8, 8), 32_896, np.uint16))
    assert is_near(shown(sixteen_bits, icc_profile=grey_profile(1.0)), (188, 188, 188))
    assert not changes_colours(grey_profile(2.2), "RGB")
    assert changes_colours(grey_profile(2.2), "L"), "sRGB is no power of 2.2 in the shadows"


def test_inks_have_profiles_of_inks() -> None:
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    options = {"quality": 100, "subsampling": 0}
    assert is_near(shown(cyan, "JPEG", icc_profile=ink_profile(), **options), (255, 255, 255), 8)
    assert is_near(shown(cyan, "JPEG", "as_is", icc_profile=ink_profile(), **options), (0, 255, 255), 8)
    assert is_near(shown(cyan, "JPEG", icc_profile=p3(), **options), (0, 255, 255), 8)
    assert is_near(shown(Image.new("CMYK", (16, 16), (0, 0, 0, 255)), "TIFF", icc_profile=ink_profile()), (0, 0, 0), 8)


def test_a_profile_is_for_the_colours_before_transparency() -> None:
    half = Image.new("RGBA", (8, 8), (*GREEN, 128))
    assert is_near(shown(half, icc_profile=p3()), (129, 255, 127)), "dark on average, so it lies over white"
    table = FIELD.quantize(2)
    assert is_near(shown(table, icc_profile=p3()), GREEN_IN_SRGB, 8)
    clear = Image.new("P", (8, 8), 0)
    clear.putpalette([*GREEN, 10, 10, 10])
    clear.putpixel((0, 0), 1)
    assert shown(clear, icc_profile=p3(), transparency=0) == [255, 255, 255], "dark pixels are seen on white"


def test_lab_becomes_rgb() -> None:
    lab = ImageCms.profileToProfile(
        Image.new("RGB", (8, 8), (200, 30, 60)), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"),
        outputMode="LAB",
    )  # fmt: skip
    assert is_near(shown(lab, "TIFF"), (200, 30, 60), 6)


def test_colours_of_sixteen_bits_keep_their_high_byte() -> None:
    import zlib

    line = b"\0" + struct.pack(">3H", 0x80FF, 0x1234, 0xFFFF) * 4
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(line * 4)), (b"IEND", b"")]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )
    assert open_pixels(png, max_pixels_px=LIMIT)[1, 1].tolist() == [0x80, 0x12, 0xFF]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
@pytest.mark.parametrize("profile", [None, p3(), grey_profile(1.0), b"none"])
def test_every_mode_becomes_rgb(mode: str, profile: bytes | None) -> None:
    image = Image.new("L", (5, 4), 1).convert(mode) if mode != "I;16" else Image.new("I;16", (5, 4), 999)
    assert (to_rgb(image, profile).mode, to_rgb(image, profile).size) == ("RGB", (5, 4))


def test_profiles_are_read_from_pillows_own_files() -> None:
    data = encoded(FIELD, "JPEG", icc_profile=p3())
    with Image.open(BytesIO(data)) as opened:
        assert opened.info["icc_profile"] == picture_facts(data).profile == p3()
