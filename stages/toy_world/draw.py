"""Draws scenes with Pillow and encodes them in the formats of the web. Equal scenes give equal bytes."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from stages.toy_world.scene import Scene, ShapeBox

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Canvas
    from PIL.ImageFont import FreeTypeFont

RGB = tuple[int, int, int]

COLOUR_RGB: dict[str, RGB] = {
    "red": (215, 25, 25),
    "green": (25, 165, 45),
    "blue": (30, 60, 225),
    "yellow": (240, 215, 20),
    "black": (20, 20, 20),
}
TYPE_RGB: RGB = (70, 50, 80)
GROUND_RANGE = 80
"""Difference of a channel of a lit background between one side of the picture and the other."""
TYPE_PX = 46
TYPE_STROKE_PX = 1
"""Pixels added to each side of a stroke, which makes the type bold."""
ORIENTATION_TAG = 0x0112


def picture(scene: Scene) -> Image.Image:
    """The scene as an RGB image of its size."""
    image = Image.new("RGB", (scene.width_px, scene.height_px), scene.tint)
    _draw_on(ImageDraw.Draw(image), scene)
    return image


def jpeg(scene: Scene) -> bytes:
    """The scene as an ordinary JPEG."""
    return _encoded(picture(scene), "JPEG", quality=scene.quality)


def cmyk_jpeg(scene: Scene) -> bytes:
    """The scene as a CMYK JPEG, as used for print."""
    return _encoded(picture(scene).convert("CMYK"), "JPEG", quality=scene.quality)


def turned_jpeg(scene: Scene) -> bytes:
    """The scene stored rotated by 90 degrees, with the EXIF orientation that sets it upright."""
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = 6
    return _encoded(picture(scene).transpose(Image.Transpose.ROTATE_90), "JPEG", quality=scene.quality, exif=exif)


def alpha_png(scene: Scene) -> bytes:
    """The scene as a PNG on a transparent background."""
    image = Image.new("RGBA", (scene.width_px, scene.height_px), (0, 0, 0, 0))
    _draw_on(ImageDraw.Draw(image), scene)
    return _encoded(image, "PNG")


def animated_gif(scene: Scene) -> bytes:
    """The scene and its mirror image, alternating."""
    image = picture(scene)
    mirrored = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return _encoded(image, "GIF", save_all=True, append_images=[mirrored], duration=500, loop=0)


def blank_jpeg(width_px: int, height_px: int) -> bytes:
    """A white JPEG of any size, for tracking pixels and slivers."""
    return _encoded(Image.new("RGB", (width_px, height_px), "white"), "JPEG")


def bomb_png(width_px: int, height_px: int) -> bytes:
    """A decompression bomb: a few kilobytes that decode to a huge picture."""
    return _encoded(Image.new("1", (width_px, height_px)), "PNG")


def lit_ground(width_px: int, height_px: int, tint: RGB) -> Image.Image:
    """A background that is warm on the left and cool on the right, light at the top and green at the bottom.

    What a visual token shows of it tells where the token lies: a small model learns places in a fifth of the steps.
    """
    across = Image.linear_gradient("L").rotate(90).resize((width_px, height_px))
    down = Image.linear_gradient("L").resize((width_px, height_px))
    red, green, blue = tint
    fall, rise = across.point(_falling(red)), across.point(_falling(blue)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Image.merge("RGB", (fall, down.point(_falling(green)), rise))


def shape_drawn(image: Image.Image, shape: str, colour: str, shade: int, box: ShapeBox) -> None:
    """Draw one shape into an image; `shade` is added to each channel of its colour."""
    _draw_shape(ImageDraw.Draw(image), shape, box, _shaded(COLOUR_RGB[colour], shade))


def _falling(top: int) -> list[int]:
    """For each value of a gradient from 0 to 255, a channel that falls from `top` by `GROUND_RANGE`."""
    return [top - share * GROUND_RANGE // 255 for share in range(256)]


def _encoded(image: Image.Image, encoding: str, **options: object) -> bytes:
    body = io.BytesIO()
    image.save(body, encoding, **options)
    return body.getvalue()


def _draw_on(canvas: Canvas, scene: Scene) -> None:
    fill = _shaded(COLOUR_RGB[scene.colour], scene.shade)
    for box in scene.shape_boxes:
        _draw_shape(canvas, scene.shape, box, fill)
    canvas.text(
        scene.word_centre,
        scene.word,
        font=_font(),
        fill=_shaded(TYPE_RGB, scene.shade),
        anchor="mm",
        stroke_width=TYPE_STROKE_PX,
    )


def _draw_shape(canvas: Canvas, shape: str, box: ShapeBox, fill: RGB) -> None:
    left, top, right, bottom = box
    third = (right - left) // 3
    match shape:
        case "circle":
            canvas.ellipse(box, fill=fill)
        case "square":
            canvas.rectangle(box, fill=fill)
        case "triangle":
            canvas.polygon([((left + right) / 2, top), (right, bottom), (left, bottom)], fill=fill)
        case "cross":
            canvas.rectangle((left + third, top, right - third, bottom), fill=fill)
            canvas.rectangle((left, top + third, right, bottom - third), fill=fill)
        case "ring":
            canvas.ellipse(box, outline=fill, width=max(4, third // 2))
        case _:
            raise ValueError(f"no way to draw the shape {shape!r}; teach draw.py how")


def _shaded(colour: RGB, shade: int) -> RGB:
    red, green, blue = (min(255, max(0, channel + shade)) for channel in colour)
    return red, green, blue


@lru_cache(maxsize=1)
def _font() -> FreeTypeFont:
    """The typeface that Pillow contains."""
    font = ImageFont.load_default(TYPE_PX)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the wheel from PyPI (pip install pillow)")
    return font
