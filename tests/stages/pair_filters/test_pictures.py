"""Pictures are measured from a reduced decode: one colour, drawings, blurred and sharp photographs are told apart."""

import io
from pathlib import Path

import pytest
import skimage
from PIL import Image, ImageFilter

from neo_model.inputs.pictures import PictureError
from stages.pair_filters.pictures import MIN_SIDE_PX, measure_picture, reduced_grey

PHOTO = Image.open(Path(skimage.__file__).parent / "data/rocket.jpg").convert("RGB")


def jpeg(image: Image.Image, **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, "JPEG", **options)
    return written.getvalue()


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (10, 20, 200)])
@pytest.mark.parametrize("size", [(1, 1), (2, 500), (640, 480)])
def test_one_colour_measures_nothing(colour: tuple[int, int, int], size: tuple[int, int]) -> None:
    assert measure_picture(jpeg(Image.new("RGB", size, colour))) == (0, 0.0, 0.0)


def test_a_photograph_has_contrast_entropy_and_sharpness_which_blurring_takes() -> None:
    own, blurred = measure_picture(jpeg(PHOTO)), measure_picture(jpeg(PHOTO.filter(ImageFilter.GaussianBlur(12))))
    assert own.contrast > 100 and 6 < own.entropy_bits < 8 and own.sharpness > 200
    assert blurred.sharpness < 10 < own.sharpness / 10


def test_half_black_and_half_white_is_one_bit() -> None:
    image = Image.new("L", (256, 256), 0)
    image.paste(255, (128, 0, 256, 256))
    measured = measure_picture(jpeg(image, quality=100))
    assert (measured.contrast, measured.entropy_bits) == (255, 1.0)


@pytest.mark.parametrize(
    ("size", "reduced"), [((6400, 4270), (800, 534)), ((400, 300), (150, 113)), ((90, 50), (90, 50))]
)
def test_a_picture_is_reduced_as_far_as_its_sides_stay_long_enough(
    size: tuple[int, int], reduced: tuple[int, int]
) -> None:
    grey = reduced_grey(jpeg(PHOTO.resize(size)))
    assert (grey.shape[1], grey.shape[0]) == reduced and min(grey.shape) >= min(MIN_SIDE_PX, *size)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_colours_of_jpeg_are_measured(mode: str) -> None:
    assert measure_picture(jpeg(PHOTO.convert(mode))).entropy_bits > 5


def test_bytes_that_do_not_decode_are_told() -> None:
    whole = jpeg(PHOTO)
    for data in (whole[: len(whole) // 2], whole[:100], b"", b"no picture"):
        with pytest.raises(PictureError):
            measure_picture(data)
