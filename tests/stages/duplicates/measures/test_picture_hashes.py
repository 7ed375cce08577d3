"""Hashes stay nearly the same under what happens to copies of a picture, and differ between pictures.

ImageHash is the witness: its hash, of the same kind and in floating point, finds the same copies.
"""

import io
import math

import imagehash
import numpy as np
import pytest
from PIL import Image

from stages.duplicates.measures.picture_hashes import (
    NUM_FREQUENCIES,
    SCALE,
    SIDE_PX,
    UnhashedPictureError,
    UnreadablePictureError,
    grey_hash,
    jpeg_grey,
    picture_hash,
    tells_apart,
    upright_grey,
)
from tests.worlds.copied_pairs import WHOLE, picture

CHANGES = ("300 JPEG 90", "300 JPEG 40", "150 JPEG 80", "600 JPEG 95", "300 PNG 1", "300 WEBP 60", "300 JPEG 90 turned")


def distance(one: int, other: int) -> int:
    return (one ^ other).bit_count()


def witness(data: bytes) -> imagehash.ImageHash:
    from PIL import ImageOps

    return imagehash.phash(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("name", WHOLE)
def test_copies_are_near_and_other_pictures_are_far_as_a_witness_says(name: str) -> None:
    original = picture(f"{name} 400 JPEG 90")
    copies = [picture(f"{name} {change}") for change in CHANGES]
    others = [picture(f"{other} 400 JPEG 90") for other in WHOLE if other != name]
    ours = [distance(picture_hash(original), picture_hash(copy)) for copy in copies]
    theirs = [int(witness(original) - witness(copy)) for copy in copies]
    assert max(ours) <= 4 and max(theirs) <= 8
    assert min(distance(picture_hash(original), picture_hash(other)) for other in others) >= 16
    assert min(int(witness(original) - witness(other)) for other in others) >= 16
    assert tells_apart(picture_hash(original))


def test_a_hash_is_known() -> None:
    """A ramp from left to right has only frequencies across: those of the first row of the transform."""
    ramp = np.tile(np.arange(SIDE_PX, dtype=np.uint8) * 8, (SIDE_PX, 1))
    assert grey_hash(np.zeros((SIDE_PX, SIDE_PX), np.uint8)) == 0
    assert grey_hash(ramp[:, ::-1]) >> 56 == 0b01010101
    assert grey_hash(ramp) >> 56 == 0
    assert not any(map(tells_apart, (grey_hash(ramp), grey_hash(ramp[:, ::-1]), grey_hash(ramp.T))))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_put_right(orientation: int) -> None:
    from PIL import ImageOps

    image = Image.open(io.BytesIO(picture("chelsea 320 PNG 1")))
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    image.save(file, "JPEG", quality=95, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)).convert("L").resize((32, 32), Image.Resampling.BOX))
    assert np.abs(upright_grey(file.getvalue()).astype(int) - upright).mean() < 3


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", picture("broken 40 JPEG 1"), picture("coffee 300 PNG 1")[:3000]],
)
def test_what_does_not_decode_is_said_to(data: bytes) -> None:
    with pytest.raises(UnreadablePictureError):
        picture_hash(data)


def test_a_jpeg_as_large_as_none_is_decoded() -> None:
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG")
    data = bytearray(file.getvalue())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = (9_000).to_bytes(2, "big") * 2
    with pytest.raises(UnhashedPictureError, match="9000 x 9000 px is not decoded"):
        jpeg_grey(bytes(data))


def test_no_cosine_lies_where_libraries_could_round_it_differently() -> None:
    for frequency in range(NUM_FREQUENCIES):
        for place in range(SIDE_PX):
            scaled = SCALE * math.cos((2 * place + 1) * frequency * math.pi / (2 * SIDE_PX))
            assert abs(abs(scaled) % 1 - 0.5) > 1e-6
