"""What the sample table says of a picture is what training decodes: one function owns size and orientation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from neo_model.inputs.pictures import open_pixels, picture_facts
from stages.download.judge_picture import PictureJudge, PictureRule
from tests.neo_model.inputs.containers.files import (
    chunk,
    encoded,
    exif,
    exif_segment,
    extended_webp,
    international_text,
    photo,
    profile_segments,
    segment,
    tiff,
    with_chunks,
    with_segments,
    xmp,
    xmp_segment,
)

PHOTO = photo()
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BROKEN = [exif(6)[:12], exif(6)[:30], b"", b"II*\0", exif(9), exif(6, kind=4), b"\xff" * 40]
TURNS = {
    1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip

orientations = st.integers(1, 8)
blocks = st.tuples(st.sampled_from(["exif"]), orientations) | st.tuples(st.just("broken"), st.sampled_from(BROKEN))


@st.composite
def jpegs(draw: st.DrawFn) -> tuple[bytes, int]:
    """A JPEG with metadata in any order, and the orientation of its first EXIF segment."""
    image = PHOTO.convert(draw(st.sampled_from(["RGB", "L", "CMYK"])))
    jpeg = encoded(image, "JPEG", quality=95, subsampling=0, progressive=draw(st.booleans()))
    segments, orientation = [], None
    for kind in draw(st.lists(st.sampled_from(["exif", "broken", "xmp", "mpf", "icc", "comment", "app1"]), max_size=4)):
        if kind == "exif":
            found = draw(orientations)
            segments.append(exif_segment(exif(found, sign=draw(st.sampled_from("<>")))))
            orientation = orientation or found
        elif kind == "broken":
            segments.append(exif_segment(draw(st.sampled_from(BROKEN))))
            orientation = orientation or 1
        elif kind == "xmp":
            segments.append(xmp_segment(draw(orientations)))
        else:
            content = {"mpf": (0xE2, b"MPF\0" + exif(6)), "comment": (0xFE, b"\xff\xda"), "app1": (0xE1, b"?")}
            segments.append(profile_segments(SRGB) if kind == "icc" else segment(*content[kind]))
    return with_segments(jpeg, *segments), orientation or 1


@st.composite
def others(draw: st.DrawFn) -> tuple[bytes, int]:
    """A PNG, WebP or TIFF with EXIF, whole or broken or missing, and XMP; and its orientation."""
    orientation, elsewhere = draw(orientations), draw(orientations)
    broken = draw(st.sampled_from([None, None, *BROKEN]))
    block = exif(orientation) if broken is None else broken
    found = orientation if broken is None else 1
    match draw(st.sampled_from(["PNG", "WEBP", "TIFF"])):
        case "PNG":
            text = international_text(b"XML:com.adobe.xmp", xmp(elsewhere))
            return with_chunks(encoded(PHOTO, "PNG"), text, chunk(b"eXIf", block)), found
        case "WEBP":
            return extended_webp(PHOTO, 0x0C, (b"EXIF", block), (b"XMP ", xmp(elsewhere))), found
        case _:
            note = xmp(elsewhere)
            plain = tiff(PHOTO, (274, 3, 1, bytes([orientation, 0, 0, 0])))
            place = len(plain) + 12
            entry = (700, 1, len(note), place.to_bytes(4, "little"))
            return tiff(PHOTO, (274, 3, 1, bytes([orientation, 0, 0, 0])), entry, behind=note), orientation


@settings(max_examples=150, deadline=None)
@given(
    sent=jpegs() | others(),
    colour=st.sampled_from(["srgb", "as_is"]),
    resize=st.sampled_from(["no", "keep_ratio_largest"]),
)
def test_the_table_says_what_training_decodes(sent: tuple[bytes, int], colour: str, resize: str) -> None:
    data, orientation = sent
    rule = PictureRule(
        max_pixels_px=10_000, animated="drop", resize_mode=resize, resize_px=30, jpeg_quality=95, colour=colour
    )
    held = PictureJudge(rule)(data)
    decoded = open_pixels(held.data, max_pixels_px=10_000)
    assert (held.height_px, held.width_px, 3) == decoded.shape
    facts = picture_facts(data)
    upright = open_pixels(data, max_pixels_px=10_000)
    assert (facts.height_px, facts.width_px, 3) == upright.shape
    if resize == "no":
        stored = open_pixels(encoded(PHOTO, "PNG"), max_pixels_px=10_000)
        turn = TURNS[orientation]
        expected = Image.fromarray(stored) if turn is None else Image.fromarray(stored).transpose(turn)
        is_grey = np.ptp(upright.astype(int), axis=2).max() == 0
        expected = expected.convert("L").convert("RGB") if is_grey else expected
        assert decoded.shape == np.asarray(expected).shape
        assert np.abs(decoded.astype(int) - np.asarray(expected)).mean() < 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_in_xmp_turns_nothing(orientation: int) -> None:
    """Browsers show such pictures as they are stored; Pillow would turn them."""
    held = PictureJudge(
        PictureRule(max_pixels_px=10_000, animated="drop", resize_mode="no", resize_px=9, jpeg_quality=95)
    )(with_segments(encoded(PHOTO, "JPEG"), xmp_segment(orientation)))
    assert (held.width_px, held.height_px) == PHOTO.size
