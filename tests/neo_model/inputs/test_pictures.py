"""Bytes to RGB to patches: sizes, colours, refusals, and the layout that the released model expects."""

from __future__ import annotations

import pickle
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from neo_model.inputs.pictures import (
    PictureError,
    PictureTrouble,
    _plain_jpeg,
    fit_size,
    normalise,
    num_image_tokens,
    open_picture,
    open_pixels,
    patches_on_grid,
    picture_facts,
    to_patches,
    to_uint8_patches,
)

LIMIT = 10_000_000


def encoded(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, format_, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def corners() -> Image.Image:
    """64 x 32: red, green over blue, white, in quarters."""
    pixels = np.zeros((32, 64, 3), np.uint8)
    pixels[:16, :32], pixels[:16, 32:], pixels[16:, :32], pixels[16:, 32:] = (
        (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255),
    )  # fmt: skip
    return Image.fromarray(pixels)


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_and_known_beforehand(format_: str, orientation: int) -> None:
    """Turned as a viewer would: each stored picture is made so that it shows the same corners."""
    turns = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = corners().transpose(turns[orientation]) if orientation > 1 else corners()
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"JPEG": {"quality": 100, "subsampling": 0}, "WEBP": {"lossless": True}}.get(format_, {})
    data = encoded(stored, format_, exif=exif, **options)
    facts = picture_facts(data)
    assert (facts.width_px, facts.height_px, facts.format) == (64, 32, format_)
    shown = open_pixels(data, max_pixels_px=LIMIT).astype(int)
    assert np.abs(shown - np.asarray(corners())).max() <= 2


@given(
    width_px=st.integers(1, 6000), height_px=st.integers(1, 6000),
    low=st.integers(1024, 300_000), room=st.floats(1.6, 50),
)  # fmt: skip
@example(width_px=720, height_px=960, low=691_200, room=1.0)
def test_sizes_keep_multiples_range_and_aspect(width_px: int, height_px: int, low: int, room: float) -> None:
    high = int(low * room)
    if max(width_px, height_px) > 200 * min(width_px, height_px):
        with pytest.raises(PictureError, match="too_elongated"):
            fit_size(width_px, height_px, low, high)
        return
    fitted_w, fitted_h = fit_size(width_px, height_px, low, high)
    assert fitted_w % 32 == 0
    assert fitted_h % 32 == 0
    cells_fit = -(-low // 1024) <= high // 1024
    assert not cells_fit or low <= fitted_w * fitted_h <= high
    assert num_image_tokens(width_px, height_px, low, high) == fitted_w * fitted_h // 1024
    if min(fitted_w, fitted_h) >= 256 and room >= 1.6:
        assert 0.75 < (fitted_w / fitted_h) / (width_px / height_px) < 1.34


@pytest.mark.parametrize(
    ("size", "limits", "fitted"),
    [
        ((512, 512), (65_536, 4_194_304), (512, 512)),
        ((800, 600), (65_536, 4_194_304), (800, 608)),
        ((100, 50), (65_536, 4_194_304), (384, 192)),
        ((4000, 3000), (65_536, 4_194_304), (2336, 1760)),
        ((1, 1), (65_536, 4_194_304), (256, 256)),
        ((640, 360), (4 * 1024, 230_400), (640, 352)),
    ],
)
def test_the_released_rule_where_it_stays_in_range(
    size: tuple[int, int], limits: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert fit_size(*size, *limits) == fitted


def test_the_released_rule_is_corrected_where_it_does_not() -> None:
    """Released: 736 x 960, above the maximum."""
    fitted = fit_size(720, 960, 691_200, 691_200)
    assert fitted[0] * fitted[1] == 691_200


@pytest.mark.parametrize(("side", "tokens"), [(256, 64), (512, 256), (1024, 1024), (2048, 4096)])
def test_tokens_of_square_pictures(side: int, tokens: int) -> None:
    assert num_image_tokens(side, side, 65_536, 16_777_216) == tokens


def test_patches_are_row_major_and_channels_first() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    patches, grid = to_uint8_patches(pixels, 1024, LIMIT)
    assert grid == (4, 6)
    for number, patch in enumerate(patches):
        top, left = 16 * (number // 6), 16 * (number % 6)
        assert np.array_equal(patch.reshape(3, 16, 16), pixels[top : top + 16, left : left + 16].transpose(2, 0, 1))


def test_resizing_is_bicubic() -> None:
    """A cubic kernel overshoots on both sides of an edge; nearest, box and linear ones do not."""
    pixels = np.full((32, 32, 3), 64, np.uint8)
    pixels[:, 16:] = 192
    patches, grid = to_uint8_patches(pixels, 4096, LIMIT)
    assert grid == (4, 4)
    line = patches.reshape(4, 4, 3, 16, 16)[0, :, 0, 0].ravel()
    assert (line.min(), line.max()) == (55, 201)
    assert line[:16].tolist() == [64] * 16


@pytest.mark.parametrize("size", [(96, 64), (70, 41), (500, 333)])
def test_patches_are_cut_from_what_pillow_resizes(size: tuple[int, int]) -> None:
    width_px, height_px = size
    pixels = np.random.default_rng(0).integers(0, 256, (height_px, width_px, 3)).astype(np.uint8)
    resized = np.asarray(Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC))
    expected = resized.reshape(4, 16, 6, 16, 3).transpose(0, 2, 4, 1, 3).reshape(24, 768)
    assert np.array_equal(patches_on_grid(pixels, (4, 6)), expected)


def test_normalisation_is_imagenets() -> None:
    pixels = np.full((32, 32, 3), (255, 0, 128), np.uint8)
    patches, _ = to_patches(pixels, 1024, LIMIT)
    expected = [(1 - 0.485) / 0.229, -0.456 / 0.224, (128 / 255 - 0.406) / 0.225]
    assert np.allclose(patches.reshape(4, 3, 256).mean(axis=(0, 2)), expected, atol=1e-6)
    assert patches.dtype == np.float32
    assert np.array_equal(normalise(to_uint8_patches(pixels, 1024, LIMIT)[0]), patches)


def rgb_of(data: bytes) -> tuple[int, ...]:
    pixels = open_pixels(data, max_pixels_px=LIMIT)
    image = open_picture(data, max_pixels_px=LIMIT)
    assert image.mode == "RGB" and np.array_equal(np.asarray(image), pixels)
    return tuple(pixels[0, 0].tolist())


def test_transparency_lies_over_the_contrasting_colour() -> None:
    dark, light = Image.new("RGBA", (4, 4), (0, 0, 0, 0)), Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    dark.putpixel((2, 2), (10, 20, 30, 255))
    light.putpixel((2, 2), (240, 250, 230, 255))
    assert rgb_of(encoded(dark)) == (255, 255, 255)
    assert rgb_of(encoded(light)) == (0, 0, 0)
    assert rgb_of(encoded(light.convert("LA"))) == (0, 0, 0)
    assert rgb_of(encoded(Image.new("RGBA", (4, 4), (0, 0, 0, 0)))) == (255, 255, 255)
    assert rgb_of(encoded(Image.new("RGBA", (4, 4), (200, 200, 200, 128)))) == (100, 100, 100)


def test_palette_transparency_counts() -> None:
    image = Image.new("P", (4, 4), 0)
    image.putpalette([0, 0, 0, 250, 250, 250])
    image.putpixel((2, 2), 1)
    assert rgb_of(encoded(image, transparency=0)) == (0, 0, 0)
    image.putpixel((2, 2), 0)
    assert rgb_of(encoded(image)) == (0, 0, 0)


@pytest.mark.parametrize(("value", "expected"), [(0, 0), (65_535, 255), (32_768, 128), (257, 1)])
def test_sixteen_bits_are_scaled(value: int, expected: int) -> None:
    data = encoded(Image.fromarray(np.full((4, 4), value, np.uint16)))
    assert picture_facts(data).mode.startswith("I")
    assert rgb_of(data) == (expected,) * 3


def test_floats_in_tiff() -> None:
    assert rgb_of(encoded(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF")) == (128,) * 3
    assert rgb_of(encoded(Image.fromarray(np.full((4, 4), 200, np.float32)), "TIFF")) == (200,) * 3
    assert rgb_of(encoded(Image.fromarray(np.full((4, 4), np.nan, np.float32)), "TIFF")) == (0,) * 3


def test_cmyk_and_grey() -> None:
    data = encoded(Image.new("CMYK", (8, 8), (0, 0, 0, 255)), "JPEG")
    assert picture_facts(data).mode == "CMYK"
    assert max(rgb_of(data)) < 8
    assert rgb_of(encoded(Image.new("L", (8, 8), 77))) == (77,) * 3
    assert rgb_of(encoded(Image.new("1", (8, 8), 1))) == (255,) * 3


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(64, 48), (97, 61), (16, 16), (7, 1), (1, 9)])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_the_quick_way_with_jpegs_gives_the_pixels_of_pillow(
    mode: str, size: tuple[int, int], subsampling: str, progressive: bool
) -> None:
    width_px, height_px = size
    noise = np.random.default_rng(0).integers(0, 256, (height_px // 3 + 1, width_px // 3 + 1, 3)).astype(np.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC).convert(mode)
    data = encoded(image, "JPEG", quality=90, subsampling=subsampling, progressive=progressive)
    with Image.open(BytesIO(data)) as opened:
        quick, expected = _plain_jpeg(data, opened), np.asarray(opened.convert("RGB"))
    assert quick is not None
    assert np.array_equal(quick, expected)
    assert np.array_equal(open_pixels(memoryview(data), max_pixels_px=LIMIT), expected)


def test_a_jpeg_that_warns_is_left_to_pillow() -> None:
    """Broken codes in the middle: libjpeg warns and goes on, as it does in browsers and in the released code."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    data = bytearray(encoded(noise, "JPEG"))
    data[len(data) // 2 : len(data) // 2 + 4] = b"\xff\xd9\xff\xd9"
    with Image.open(BytesIO(data)) as opened:
        assert _plain_jpeg(bytes(data), opened) is None


def test_frames_are_counted_and_the_first_is_shown() -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    for format_ in ("GIF", "WEBP", "PNG", "TIFF"):
        data = encoded(frames[0], format_, save_all=True, append_images=frames[1:])
        assert picture_facts(data).num_frames == 3, format_
        assert rgb_of(data)[0] > 200, format_
    assert picture_facts(encoded(frames[0], "JPEG")).num_frames == 1


def reason_of(data: bytes, max_pixels_px: int = LIMIT) -> PictureTrouble:
    with pytest.raises(PictureError) as caught:
        open_pixels(data, max_pixels_px=max_pixels_px)
    return caught.value.reason


def png_bomb(width: int, height: int) -> bytes:
    """A PNG whose header announces a huge picture."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def test_every_trouble_has_its_reason() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8))
    jpeg, png = encoded(noise, "JPEG"), encoded(noise)
    assert reason_of(b"") is PictureTrouble.NOT_IMAGE
    assert reason_of(b"<html>404</html>") is PictureTrouble.NOT_IMAGE
    assert reason_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n") is PictureTrouble.NOT_IMAGE
    assert reason_of(jpeg[: len(jpeg) // 2]) is PictureTrouble.TRUNCATED
    assert reason_of(png[: len(png) // 2]) is PictureTrouble.TRUNCATED
    assert reason_of(png[:60] + bytes(40) + png[100:]) is PictureTrouble.UNDECODABLE
    assert reason_of(png, max_pixels_px=64 * 64 - 1) is PictureTrouble.TOO_MANY_PIXELS
    assert reason_of(png_bomb(30_000, 30_000)) is PictureTrouble.TOO_MANY_PIXELS
    with pytest.raises(PictureError) as caught:
        fit_size(6001, 20, 1024, LIMIT)
    assert caught.value.reason is PictureTrouble.TOO_ELONGATED
    assert "6001 x 20 px" in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).reason is PictureTrouble.TOO_ELONGATED  # noqa: S301


MAGICS = [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF", b"II*\x00", b"BM"]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@given(data=st.binary(max_size=200), magic=st.sampled_from(MAGICS))
def test_nothing_but_a_picture_error_comes_out(data: bytes, magic: bytes) -> None:
    for use in (picture_facts, lambda found: open_pixels(found, max_pixels_px=4096)):
        try:
            use(magic + data)
        except PictureError as error:
            assert error.reason in PictureTrouble
