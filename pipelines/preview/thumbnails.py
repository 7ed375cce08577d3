"""Pictures small enough for a page, from encoded pictures or from the patches that the model gets."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from neo_model.config import PATCH_PX
from neo_model.inputs.frame_sampling import spaced_points
from neo_model.inputs.pictures import NUM_CHANNELS, PictureError, open_pixels, patches_on_grid, picture_facts
from pipelines.preview.items import PreviewPicture

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MAX_DECODED_PX: Final = 2**26
"""Largest picture that is decoded for a preview, in pixels."""
THUMBNAIL_PX: Final = 320
"""Longest side of a picture on a page, in pixels."""
AS_GOT_PX: Final = 640
"""Longest side up to which a picture is shown as the model gets it, in pixels; a larger one is shown smaller."""
FRAME_PX: Final = 160
"""Longest side of a frame in a strip on a page, in pixels."""
FRAMES_SHOWN: Final = 12
"""Frames of one strip that are shown, at most: from the first to the last."""
JPEG_QUALITY: Final = 85


def thumbnail(data: bytes | memoryview, longest_px: int = THUMBNAIL_PX) -> PreviewPicture:
    """An encoded picture, upright and made smaller; without a JPEG where it does not decode."""
    from PIL import Image

    try:
        facts = picture_facts(bytes(data))
        pixels = open_pixels(data, max_pixels_px=MAX_DECODED_PX)
    except PictureError as error:
        return PreviewPicture(about=f"does not decode: {error}")
    about = f"{facts.width_px} x {facts.height_px} px, {facts.format}, {len(data):,} bytes"
    return PreviewPicture(about=about, jpeg=_jpeg(Image.fromarray(pixels), longest_px))


def frame_picture(data: bytes | memoryview, about: str) -> PreviewPicture:
    """A frame for a strip; without a JPEG where it does not decode, which is said behind `about`."""
    shown = thumbnail(data, FRAME_PX)
    return PreviewPicture(about=about if shown.jpeg is not None else f"{about} ({shown.about})", jpeg=shown.jpeg)


def shown_frames(num_frames: int) -> list[int]:
    """The frames of a strip that are shown, counted from 0: all, or `FRAMES_SHOWN` from the first to the last."""
    return spaced_points(num_frames, FRAMES_SHOWN, "ends")


def frames_in_words(num_frames: int) -> str:
    """How many frames there are, and how many of them are shown: `4 frames`, or `12 of 128 frames`."""
    if num_frames > FRAMES_SHOWN:
        return f"{FRAMES_SHOWN} of {num_frames} frames"
    return f"{num_frames} frame{'' if num_frames == 1 else 's'}"


def as_the_model_gets_it(
    data: bytes | memoryview, grid: tuple[int, int], longest_px: int = AS_GOT_PX
) -> PreviewPicture:
    """A picture put together again from the patches of its grid (rows, columns), which are what the model gets."""
    grid_h, grid_w = grid
    about = f"{grid_w * PATCH_PX} x {grid_h * PATCH_PX} px, {grid_h // 2} x {grid_w // 2} tokens"
    try:
        pixels = open_pixels(data, max_pixels_px=MAX_DECODED_PX)
    except PictureError as error:
        return PreviewPicture(about=f"{about}; does not decode: {error}")
    resized = f", from {pixels.shape[1]} x {pixels.shape[0]} px"
    return PreviewPicture(about=about + resized, jpeg=_jpeg(_joined(patches_on_grid(pixels, grid), grid), longest_px))


def _joined(patches: NDArray[np.uint8], grid: tuple[int, int]) -> Image:
    """The picture of patches [N, 768], row-major over their grid."""
    import numpy as np
    from PIL import Image

    grid_h, grid_w = grid
    tiles = patches.reshape(grid_h, grid_w, NUM_CHANNELS, PATCH_PX, PATCH_PX)
    # (row, column, channel, y, x) to (row, y, column, x, channel): patches beside each other again.
    pixels = tiles.transpose(0, 3, 1, 4, 2).reshape(grid_h * PATCH_PX, grid_w * PATCH_PX, NUM_CHANNELS)
    return Image.fromarray(np.ascontiguousarray(pixels))


def _jpeg(image: Any, longest_px: int) -> bytes:
    image.thumbnail((longest_px, longest_px))
    written = BytesIO()
    image.save(written, "JPEG", quality=JPEG_QUALITY)
    return written.getvalue()
