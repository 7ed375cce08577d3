"""Encoded pictures to patches: one conversion to RGB, one resizing rule, one patch layout.

Owns the rules that data stages and model share: which bytes are a picture, its size after EXIF orientation, its
colours, its number of visual tokens, and its patches. The token count follows from the oriented size alone, so
planning a packing decodes nothing. Reads neither files nor the network.

Deviations from the released code, which converts with a bare `convert("RGB")`:
- EXIF orientation is applied (the released code ignores it);
- transparency is laid over black or white, whichever is further from the visible pixels, in training as in
  evaluation (released: evaluation only, and only where some pixel is wholly transparent);
- 16-bit grey is scaled to 8 bits (released: clipped, which turns most of it white);
- a resized picture never leaves the range of pixels where rounding to multiples of 32 allows it (`fit_size`).

A decoded picture is an array [height, width, 3] of uint8, upright. N patches of 768 = 3 x 16 x 16 values (channel,
row, column), row-major over a grid of (grid_h, grid_w) patches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from neo_model.config import PATCH_PX, PATCH_VALUES, TOKEN_PX

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""The only formats that are decoded. The list is passed to Pillow, which would else run Ghostscript on EPS."""
NUM_CHANNELS: Final = 3
MAX_ASPECT: Final = 200.0
"""Longest side over shortest beyond which a picture is refused, as in the released code."""
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)


class PictureTrouble(StrEnum):
    """Reasons why bytes are no usable picture, for verdict tables. The values are stored."""

    NOT_IMAGE = "not_image"
    """The first bytes are of no known format."""
    TRUNCATED = "truncated"
    """The data ends before the picture does."""
    UNDECODABLE = "undecodable"
    """The format is known and its content is broken."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header states more pixels than allowed; nothing was decoded."""
    TOO_ELONGATED = "too_elongated"
    """One side is more than 200 times the other."""


class PictureError(ValueError):
    """Bytes that are no usable picture; `reason` says why in one word, the message in a sentence."""

    def __init__(self, reason: PictureTrouble, detail: str) -> None:
        super().__init__(f"{reason.value}: {detail}")
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.reason, str(self).partition(": ")[2])


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """Size, format and colours of a picture, from its header."""

    width_px: int
    """Width after EXIF orientation."""
    height_px: int
    """Height after EXIF orientation."""
    format: str
    """One of `FORMATS`."""
    mode: str
    """Pillow's name of the stored colour mode, such as RGB, CMYK, P or I;16."""
    num_frames: int
    """Frames of an animation or pages of a TIFF; 1 for a still picture."""


def picture_facts(data: bytes) -> PictureFacts:
    """Size, format and colours of an encoded picture, from its header: no pixel is decoded.

    Raises PictureError (not_image, undecodable, truncated, too_many_pixels beyond Pillow's own limit).
    """
    with _opened(data) as image:
        width_px, height_px = _oriented_size(image)
        return PictureFacts(
            width_px=width_px,
            height_px=height_px,
            format="JPEG" if image.format == "MPO" else str(image.format),
            mode=image.mode,
            num_frames=1 if image.format == "MPO" else int(getattr(image, "n_frames", 1)),
        )


def open_pixels(data: bytes | memoryview, *, max_pixels_px: int) -> NDArray[np.uint8]:
    """Decode the first frame to 8-bit RGB [height, width, 3], upright, transparency over a contrasting background.

    `max_pixels_px` bounds width x height as announced by the header, before anything is decoded.
    Raises PictureError; never runs a decoder outside `FORMATS`, never pads truncated data.
    """
    import numpy as np

    with _opened(data) as image:
        width_px, height_px = image.size
        if width_px * height_px > max_pixels_px:
            detail = f"{width_px} x {height_px} px, at most {max_pixels_px} px are decoded"
            raise PictureError(PictureTrouble.TOO_MANY_PIXELS, detail)
        orientation = _orientation(image)
        pixels = _plain_jpeg(data, image)
        if pixels is None:
            with _decoding():
                image.load()
                pixels = np.asarray(_to_rgb(image))
        return _upright(pixels, orientation)


def open_picture(data: bytes | memoryview, *, max_pixels_px: int) -> Image:
    """Decode as `open_pixels` does, to a Pillow image for drawing and saving."""
    from PIL import Image

    return Image.fromarray(open_pixels(data, max_pixels_px=max_pixels_px))


def fit_size(width_px: int, height_px: int, min_pixels_px: int, max_pixels_px: int) -> tuple[int, int]:
    """The size a picture is resized to: multiples of 32, aspect kept as well as that allows.

    The result of the released rule (nearest multiples; scaled down or up if they leave the range) is taken if it
    lies in the range, else the size in the range with the nearest aspect. A narrow range therefore distorts: leave a
    tenth between its ends. If no size lies in the range, the released result is returned, outside it.
    Raises PictureError (too_elongated).

    >>> fit_size(800, 600, 65_536, 4_194_304)
    (800, 608)
    """
    short_px, long_px = sorted((width_px, height_px))
    if short_px < 1 or long_px > short_px * MAX_ASPECT:
        detail = f"{width_px} x {height_px} px, at most {MAX_ASPECT:g} to 1"
        raise PictureError(PictureTrouble.TOO_ELONGATED, detail)
    fitted = _released_size(width_px, height_px, min_pixels_px, max_pixels_px)
    if min_pixels_px <= fitted[0] * fitted[1] <= max_pixels_px:
        return fitted
    return _nearest_aspect(width_px / height_px, min_pixels_px, max_pixels_px) or fitted


def num_image_tokens(width_px: int, height_px: int, min_pixels_px: int, max_pixels_px: int) -> int:
    """Visual tokens of a picture of this oriented size: one for each 32 x 32 px after resizing."""
    fitted_w, fitted_h = fit_size(width_px, height_px, min_pixels_px, max_pixels_px)
    return (fitted_w // TOKEN_PX) * (fitted_h // TOKEN_PX)


def to_uint8_patches(
    pixels: NDArray[np.uint8], min_pixels_px: int, max_pixels_px: int
) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Resize (bicubic) and cut: patches [N, 768] uint8 and their grid (grid_h, grid_w).

    Four times smaller than floats; the model normalises them on its device.
    """
    height_px, width_px, _ = pixels.shape
    fitted_w, fitted_h = fit_size(width_px, height_px, min_pixels_px, max_pixels_px)
    grid = fitted_h // PATCH_PX, fitted_w // PATCH_PX
    return patches_on_grid(pixels, grid), grid


def patches_on_grid(pixels: NDArray[np.uint8], grid: tuple[int, int]) -> NDArray[np.uint8]:
    """Patches [grid_h * grid_w, 768] uint8 of a picture resized (bicubic) to a grid that was chosen before.

    Moved by lines of a patch, 16 bytes at a time, which halves the time of moving single bytes.
    """
    import numpy as np

    grid_h, grid_w = grid
    line = np.dtype((np.void, PATCH_PX))
    patches = np.empty((grid_h, grid_w, NUM_CHANNELS, PATCH_PX), line)
    for channel, plane in enumerate(_planes(pixels, grid_w * PATCH_PX, grid_h * PATCH_PX)):
        patches[:, :, channel] = plane.view(line).reshape(grid_h, PATCH_PX, grid_w).transpose(0, 2, 1)
    return patches.view(np.uint8).reshape(-1, PATCH_VALUES)


def _planes(pixels: NDArray[np.uint8], width_px: int, height_px: int) -> Iterator[NDArray[np.uint8]]:
    """The channels of a picture, [height, width] each, resized where it has another size."""
    import numpy as np
    from PIL import Image

    if pixels.shape[:2] == (height_px, width_px):
        return (np.ascontiguousarray(pixels[:, :, channel]) for channel in range(NUM_CHANNELS))
    resized = Image.fromarray(pixels).resize((width_px, height_px), Image.Resampling.BICUBIC)
    return (np.asarray(channel) for channel in resized.split())


def to_patches(
    pixels: NDArray[np.uint8], min_pixels_px: int, max_pixels_px: int
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """As `to_uint8_patches`, normalised by the ImageNet statistics: patches [N, 768] float32."""
    patches, grid = to_uint8_patches(pixels, min_pixels_px, max_pixels_px)
    return normalise(patches), grid


def normalise(patches: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(value / 255 - mean) / std of the channel: [N, 768] uint8 to float32."""
    import numpy as np

    mean, std = (np.repeat(np.array(row, np.float32), PATCH_PX**2) for row in (IMAGENET_MEAN, IMAGENET_STD))
    values: NDArray[np.float32] = (patches.astype(np.float32) / np.float32(255) - mean) / std
    return values


@contextmanager
def _decoding() -> Iterator[None]:
    """Raise a PictureError for each exception of Pillow on broken data."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (PictureError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        detail = "the first bytes belong to none of " + ", ".join(FORMATS)
        raise PictureError(PictureTrouble.NOT_IMAGE, detail) from error
    except Image.DecompressionBombError as error:
        raise PictureError(PictureTrouble.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        ends_early = isinstance(error, EOFError) or "truncated" in str(error).lower()
        reason = PictureTrouble.TRUNCATED if ends_early else PictureTrouble.UNDECODABLE
        raise PictureError(reason, f"{type(error).__name__}: {error}") from error


def _opened(data: bytes | memoryview) -> Image:
    """Parse the header."""
    from PIL import Image

    with _decoding():
        return Image.open(BytesIO(data), formats=FORMATS)


def _orientation(image: Image) -> int:
    """EXIF orientation 1..8 still to be applied, read before the pixels are.

    Pillow turns TIFFs itself, and would decode a PNG to look for EXIF after the pixels: that one is not honoured.
    """
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        orientation = image.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF is common on the web, and no reason to lose the picture
        return 1
    return orientation if orientation in range(1, 9) else 1


def _oriented_size(image: Image) -> tuple[int, int]:
    width_px, height_px = image.size
    return (height_px, width_px) if _orientation(image) >= 5 else (width_px, height_px)


def _plain_jpeg(data: bytes | memoryview, image: Image) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG in colour or grey, decoded in one go; None where Pillow is to decode, or to say why not.

    The same decoder with the same settings, so the same pixels, without copies into Pillow's layout and out of it.
    Data that it warns about (an early end, broken codes) is left to Pillow, and so is a header that the two read
    differently.
    """
    import simplejpeg

    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    try:
        height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(data)
        if (width_px, height_px) != image.size:
            return None
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(data, "RGB")
    except ValueError:
        return None
    return pixels


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turned and mirrored as EXIF says: 5 to 8 exchange rows and columns, the others mirror one of them or both."""
    import numpy as np

    if orientation == 1:
        return pixels
    down, across = (-1 if orientation in mirrored else 1 for mirrored in ((3, 4, 6, 7), (2, 3, 7, 8)))
    mirrored = pixels[::down, ::across]
    return np.ascontiguousarray(mirrored.transpose(1, 0, 2) if orientation >= 5 else mirrored)


def _to_rgb(image: Image) -> Image:
    """8-bit RGB from any mode that Pillow decodes."""
    if image.mode.startswith(("I", "F")):
        image = _to_grey(image)
    if image.has_transparency_data:
        return _over_contrast(image.convert("RGBA"))
    return image.convert("RGB")


def _to_grey(image: Image) -> Image:
    """16-bit, 32-bit or float grey to 8 bits: 0..65535 is scaled, floats are taken as 0..1 where none exceeds 1."""
    import numpy as np
    from PIL import Image as Pillow

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), nan=0.0, posinf=65_535.0, neginf=0.0)
    largest = 65_535.0 if image.mode != "F" else 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
    return Pillow.fromarray(np.clip(np.rint(values * (255.0 / largest)), 0, 255).astype(np.uint8))


def _over_contrast(image: Image) -> Image:
    """Lay an RGBA picture over black if its visible pixels are light on average, else over white."""
    import numpy as np
    from PIL import Image as Pillow

    values = np.asarray(image)
    visible = values[values[..., 3] > 0][:, :3]
    light = visible.size > 0 and float(visible.mean()) > 127.5
    background = Pillow.new("RGB", image.size, (0, 0, 0) if light else (255, 255, 255))
    background.paste(image, mask=image.getchannel("A"))
    return background


def _released_size(width_px: int, height_px: int, min_pixels_px: int, max_pixels_px: int) -> tuple[int, int]:
    """The released rule: nearest multiples of 32, or the whole picture scaled into the range, floor or ceiling."""
    fitted_w, fitted_h = (max(TOKEN_PX, round(side / TOKEN_PX) * TOKEN_PX) for side in (width_px, height_px))
    if fitted_w * fitted_h > max_pixels_px:
        shrink = math.sqrt(width_px * height_px / max_pixels_px)
        fitted_w, fitted_h = (
            max(TOKEN_PX, math.floor(side / shrink / TOKEN_PX) * TOKEN_PX) for side in (width_px, height_px)
        )
    elif fitted_w * fitted_h < min_pixels_px:
        grow = math.sqrt(min_pixels_px / (width_px * height_px))
        fitted_w, fitted_h = (math.ceil(side * grow / TOKEN_PX) * TOKEN_PX for side in (width_px, height_px))
    return fitted_w, fitted_h


def _nearest_aspect(aspect: float, min_pixels_px: int, max_pixels_px: int) -> tuple[int, int] | None:
    """The size in the range, in multiples of 32, with width / height nearest to `aspect`; None if there is none."""
    min_cells, max_cells = math.ceil(min_pixels_px / TOKEN_PX**2), max_pixels_px // TOKEN_PX**2
    sizes = []
    for rows in range(1, max_cells + 1):
        fewest, most = math.ceil(min_cells / rows), max_cells // rows
        if fewest <= most:
            nearest = (
                min(max(columns, fewest), most) for columns in (math.floor(rows * aspect), math.ceil(rows * aspect))
            )
            sizes += [(columns, rows) for columns in nearest]
    if not sizes:
        return None
    columns, rows = min(sizes, key=lambda size: (abs(math.log(size[0] / size[1] / aspect)), -size[0] * size[1]))
    return columns * TOKEN_PX, rows * TOKEN_PX
