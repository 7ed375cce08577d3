"""Ordinary JPEGs keep their bytes; whatever else becomes one JPEG, upright and in RGB."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from neo_model.inputs.pictures import open_pixels
from stages.download.judge_picture import PictureJudge, PictureRule
from stages.download.reasons import Reason, RowError
from tests.neo_model.inputs.test_colours import SRGB, grey_profile, p3


def rule(**changes: Any) -> PictureRule:
    defaults = {
        "max_pixels_px": 1_000_000,
        "animated": "first_frame",
        "resize_mode": "no",
        "resize_px": 64,
        "jpeg_quality": 95,
    }
    return PictureRule(**{**defaults, **changes})


def drawn(width_px: int = 120, height_px: int = 80, mode: str = "RGB") -> Image.Image:
    """White, with a red square in the upper left corner."""
    image = Image.new("RGB", (width_px, height_px), "white")
    ImageDraw.Draw(image).rectangle((0, 0, 30, 30), fill=(200, 20, 20))
    return image.convert(mode)


def shown(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    assert image.format == "JPEG"
    return image.convert("RGB")


def is_red(image: Image.Image, x: int, y: int) -> bool:
    red, green, blue = image.getpixel((x, y))
    return red > 150 and green < 80 and blue < 80


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_an_ordinary_jpeg_keeps_its_bytes(picture: Any, mode: str, options: dict[str, Any]) -> None:
    data = picture(drawn(mode=mode), **options)
    held = PictureJudge(rule())(data)
    assert (held.data, held.width_px, held.height_px, held.sent_as) == (data, 120, 80, f"JPEG {mode}")


def test_a_jpeg_on_its_side_keeps_its_bytes_and_has_the_size_of_the_upright_picture(picture: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = picture(drawn(), exif=exif)
    held = PictureJudge(rule())(data)
    assert (held.data, held.width_px, held.height_px) == (data, 80, 120)


@pytest.mark.parametrize(
    ("encoding", "mode", "sent_as"),
    [
        ("JPEG", "CMYK", "JPEG CMYK"),
        ("PNG", "RGB", "PNG RGB"),
        ("PNG", "P", "PNG P"),
        ("WEBP", "RGB", "WEBP RGB"),
        ("GIF", "P", "GIF P"),
        ("BMP", "RGB", "BMP RGB"),
        ("TIFF", "RGB", "TIFF RGB"),
    ],
)
def test_everything_else_is_written_anew(picture: Any, encoding: str, mode: str, sent_as: str) -> None:
    held = PictureJudge(rule())(picture(drawn(mode=mode), encoding))
    image = shown(held.data)
    assert image.size == (held.width_px, held.height_px) == (120, 80)
    assert held.sent_as == sent_as
    assert is_red(image, 10, 10) and not is_red(image, 100, 70)


def test_a_transparent_ground_is_laid_over_a_contrasting_one(picture: Any) -> None:
    image = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 30, 30), fill=(250, 250, 250, 255))
    held = PictureJudge(rule())(picture(image, "PNG"))
    assert max(shown(held.data).getpixel((60, 60))) < 20


def test_an_animation_is_its_first_frame_or_dropped(picture: Any) -> None:
    data = picture(drawn(), "GIF", save_all=True, append_images=[Image.new("RGB", (120, 80), "blue")])
    assert is_red(shown(PictureJudge(rule())(data).data), 10, 10)
    with pytest.raises(RowError) as caught:
        PictureJudge(rule(animated="drop"))(data)
    assert caught.value.reason is Reason.ANIMATED


def test_the_same_picture_is_written_with_the_same_bytes(picture: Any) -> None:
    data = picture(drawn(), "PNG")
    assert PictureJudge(rule())(data) == PictureJudge(rule())(data)
    assert PictureJudge(rule())(data) != PictureJudge(rule(jpeg_quality=50))(data)


@pytest.mark.parametrize(
    ("mode", "size"),
    [("keep_ratio", (96, 64)), ("keep_ratio_largest", (64, 43)), ("center_crop", (64, 64)), ("border", (64, 64))],
)
def test_larger_pictures_are_resized_upright(picture: Any, mode: Any, size: tuple[int, int]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    on_its_side = picture(drawn().transpose(Image.Transpose.ROTATE_90), exif=exif)
    judge = PictureJudge(rule(resize_mode=mode))
    for data in (picture(drawn()), on_its_side, picture(drawn(mode="CMYK"))):
        held = judge(data)
        image = shown(held.data)
        assert image.size == (held.width_px, held.height_px) == size
        if mode != "center_crop":
            top = (size[1] - 43) // 2 if mode == "border" else 0
            assert is_red(image, 5, top + 5) and not is_red(image, size[0] - 5, size[1] - 5)


def test_a_jpeg_that_is_decoded_smaller_has_the_same_size_and_hardly_other_pixels(picture: Any) -> None:
    smooth = np.asarray(Image.effect_noise((40, 30), 40).resize((1000, 750), Image.Resampling.BICUBIC).convert("RGB"))
    exif = Image.Exif()
    exif[0x0112] = 6
    for options in ({}, {"exif": exif}):
        data = picture(Image.fromarray(smooth), quality=90, **options)
        exact, reduced = (
            PictureJudge(rule(resize_mode="keep_ratio", resize_px=200, decode=decode))(data)
            for decode in ("exact", "reduced")
        )
        assert (exact.width_px, exact.height_px) == (reduced.width_px, reduced.height_px)
        assert exact.data != reduced.data
        differences = np.asarray(shown(exact.data)).astype(int) - np.asarray(shown(reduced.data))
        assert 10 * np.log10(255**2 / (differences**2).mean()) > 37  # dB


def test_a_jpeg_that_would_not_come_out_at_half_its_size_is_decoded_in_full(picture: Any) -> None:
    data = picture(Image.effect_noise((120, 90), 60).convert("RGB"))
    exact, reduced = (
        PictureJudge(rule(resize_mode="keep_ratio_largest", resize_px=61, decode=decode))(data)
        for decode in ("exact", "reduced")
    )
    assert exact == reduced


def test_smaller_pictures_stay_as_they_are(picture: Any) -> None:
    data = picture(drawn(60, 40))
    assert PictureJudge(rule(resize_mode="border"))(data).data == data


def test_resizing_changes_colours_no_more_than_jpeg_does(picture: Any) -> None:
    held = PictureJudge(rule(resize_mode="keep_ratio"))(picture(Image.new("RGB", (200, 200), (30, 120, 220)), "PNG"))
    assert np.abs(np.asarray(shown(held.data)).mean(axis=(0, 1)) - (30, 120, 220)).max() < 3


def test_a_progressive_bomb_is_refused_before_it_is_decoded(picture: Any) -> None:
    data = picture(drawn(), progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(RowError) as caught:
        PictureJudge(rule())(data[:-2] + last_scan * 1000 + data[-2:])
    assert caught.value.reason is Reason.UNDECODABLE


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_profile_of_other_colours_costs_a_jpeg_its_bytes_unless_colours_stay_as_they_are(
    picture: Any, mode: str
) -> None:
    profile = p3() if mode == "RGB" else grey_profile(1.0)
    image = Image.new("RGB", (64, 64), (117, 251, 76)).convert(mode)
    data = picture(image, quality=95, icc_profile=profile)
    held = PictureJudge(rule())(data)
    assert (held.width_px, held.height_px, held.sent_as) == (64, 64, f"JPEG {mode}")
    assert "icc_profile" not in Image.open(io.BytesIO(held.data)).info
    expected = (3, 255, 0) if mode == "RGB" else (229, 229, 229)
    decoded = open_pixels(held.data, max_pixels_px=10_000)
    assert np.abs(decoded[9, 9].astype(int) - expected).max() < 8
    assert PictureJudge(rule(colour="as_is"))(data).data == data


def test_a_profile_of_srgb_or_a_broken_one_costs_nothing(picture: Any) -> None:
    for profile in (SRGB, b"broken", p3()[:200]):
        data = picture(drawn(), icc_profile=profile)
        assert PictureJudge(rule())(data).data == data


def test_pictures_that_are_known_and_not_decoded_are_told_from_what_is_no_picture() -> None:
    for data, reason in [
        (b"\0\0\1\0\1\0", Reason.UNSUPPORTED_FORMAT),
        (b"P6 8 8 255\n", Reason.UNSUPPORTED_FORMAT),
        (b"\x89PNG\r\n\x1a\n", Reason.TRUNCATED),
        (b"\xff\xd8\xff\xe0", Reason.TRUNCATED),
        (b"BM", Reason.TRUNCATED),
        (b"\x89PNG\n\x1a\n" + bytes(99), Reason.UNDECODABLE),
        (b"Not Found", Reason.NOT_IMAGE),
    ]:
        with pytest.raises(RowError) as caught:
            PictureJudge(rule())(data)
        assert caught.value.reason is reason, data
