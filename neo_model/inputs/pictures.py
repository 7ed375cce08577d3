"""Encoded pictures to patches: one conversion to RGB, one resizing rule, one patch layout.

Owns the rules that data stages and model share: which bytes are a picture, its size after EXIF orientation, its number
of visual tokens, and its patches. `containers/` takes the file apart and `colours.py` makes RGB of it; both readers of
a size, the one that decodes and the one that does not, have it from there. The token count follows from the oriented
size alone, so planning a packing decodes nothing. Reads neither files nor the network.

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
from neo_model.inputs.colours import Colour, changes_colours, to_rgb
from neo_model.inputs.containers.container import Container
from neo_model.inputs.containers.jpeg import lacks_end
from neo_model.inputs.containers.read_container import num_frames, read_container
from neo_model.inputs.signatures import FORMATS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

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
    """The header states more pixels than allowed, of the picture or of a tile in it; nothing was decoded."""
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
    profile: bytes | None
    """Embedded ICC profile as it is, broken or not."""


def picture_facts(data: bytes | memoryview) -> PictureFacts:
    """Size, format and colours of an encoded picture, from its header: no pixel is decoded.

    Raises PictureError (not_image, undecodable, truncated, too_many_pixels beyond Pillow's own limit).
    """
    container = _taken_apart(data)
    with _decoding(container), _opened(container) as image:
        width_px, height_px = oriented(image.size, container.orientation)
        return PictureFacts(
            width_px=width_px,
            height_px=height_px,
            format=container.format,
            mode=image.mode,
            num_frames=num_frames(data),
            profile=container.profile,
        )


def open_pixels(
    data: bytes | memoryview,
    *,
    max_pixels_px: int,
    colour: Colour = "as_is",
    at_least: tuple[int, int] | None = None,
) -> NDArray[np.uint8]:
    """Decode the first frame to 8-bit RGB [height, width, 3], upright, transparency over a contrasting background.

    `max_pixels_px` bounds width x height as announced by the header, before anything is decoded. `colour` says whether
    an embedded profile is honoured: pictures in artifacts are settled, and need it no more. Where a picture is made
    smaller anyway, `at_least` is the width and height that are needed: a JPEG may come out at one to four eighths of
    its sides then, never smaller than that, at about half of the cost.
    Raises PictureError; never runs a decoder outside `FORMATS`, never pads truncated data. Takes at most some 20 bytes
    a pixel beside the data, and time in proportion to pixels.
    """
    import numpy as np

    container = _taken_apart(data)
    with _decoding(container), _opened(container) as image:
        width_px, height_px = image.size
        if max(width_px * height_px, container.block_px) > max_pixels_px:
            block = f" in blocks of {container.block_px} px" if container.block_px else ""
            detail = f"{width_px} x {height_px} px{block}, at most {max_pixels_px} px are decoded"
            raise PictureError(PictureTrouble.TOO_MANY_PIXELS, detail)
        profile = container.profile if colour == "srgb" else None
        needed = None if at_least is None else oriented(at_least, container.orientation)
        pixels = None if changes_colours(profile, image.mode) else _plain_jpeg(data, image, needed)
        if pixels is None:
            image.load()
            pixels = np.asarray(to_rgb(image, profile))
        least_w, least_h = needed or image.size
        if not (least_h <= pixels.shape[0] <= height_px and least_w <= pixels.shape[1] <= width_px):
            detail = f"{pixels.shape} decoded where the header has {width_px} x {height_px} px"
            raise PictureError(PictureTrouble.UNDECODABLE, detail)
        return _upright(pixels, container.orientation)


def open_picture(data: bytes | memoryview, *, max_pixels_px: int, colour: Colour = "as_is") -> Image:
    """Decode as `open_pixels` does, to a Pillow image for drawing and saving."""
    from PIL import Image

    return Image.fromarray(open_pixels(data, max_pixels_px=max_pixels_px, colour=colour))


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
def _decoding(container: Container) -> Iterator[None]:
    """Raise a PictureError for whatever Pillow raises: bytes with the signature of a picture are cut or broken."""
    from PIL import Image

    try:
        yield
    except PictureError:
        raise
    except Image.DecompressionBombError as error:
        raise PictureError(PictureTrouble.TOO_MANY_PIXELS, str(error)) from error
    except Exception as error:
        says_truncated = isinstance(error, EOFError) or "truncated" in str(error).lower()
        ends_early = container.is_cut or says_truncated or (container.format == "JPEG" and lacks_end(container.pixels))
        reason = PictureTrouble.TRUNCATED if ends_early else PictureTrouble.UNDECODABLE
        raise PictureError(reason, f"{container.format}: {type(error).__name__}: {error}") from error


def _taken_apart(data: bytes | memoryview) -> Container:
    container = read_container(data)
    if container is None:
        detail = "the first bytes belong to none of " + ", ".join(FORMATS)
        raise PictureError(PictureTrouble.NOT_IMAGE, detail)
    return container


def _opened(container: Container) -> Image:
    """Parse the header of what the pixels need."""
    from PIL import Image

    return Image.open(BytesIO(container.pixels), formats=[container.format])


def oriented(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Width and height after EXIF orientation: 5 to 8 exchange them."""
    return (size[1], size[0]) if orientation >= 5 else size


def _plain_jpeg(
    data: bytes | memoryview, image: Image, needed: tuple[int, int] | None = None
) -> NDArray[np.uint8] | None:
    """The pixels of a JPEG in colour or grey, decoded in one go; None where Pillow is to decode, or to say why not.

    The same decoder with the same settings, so the same pixels, without copies into Pillow's layout and out of it.
    Where only a smaller width and height are `needed`, as they are stored, the decoder may leave out detail.
    Data that it warns about (an early end, broken codes) is left to Pillow, and so is a header that the two read
    differently. Beside exported weights simplejpeg may be missing.
    """
    try:
        import simplejpeg
    except ImportError:
        return None

    if image.format != "JPEG" or image.mode not in ("RGB", "L"):
        return None
    try:
        height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(data)
        if (width_px, height_px) != image.size:
            return None
        needed_w, needed_h = needed or image.size
        # Scales above a half take longer than decoding in full.
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            data, "RGB", min_width=needed_w, min_height=needed_h, min_factor=2
        )
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
