"""The perceptual hash of a picture: 64 bits that stay nearly the same when it is encoded again or made smaller.

The rule, of which every step is in whole numbers, so that machines do not differ in a bit now and then:

1. The picture becomes 32 x 32 levels of grey, each the mean of its cell: a JPEG is decoded at an eighth of its size or
   more, as long as 64 px remain on each side; any other format at full size. Decoder and resizer are Pillow's, whose
   version manifests record. EXIF orientation is applied.
2. The 8 x 8 lowest frequencies of its cosine transform, of which the first is the mean level.
3. A bit for each: whether it is above the one in the middle of the other 63 ("pHash"). The first bit is 0.

A picture of one colour, or one that changes in one direction alone, has few bits set: very different pictures of that
kind have one hash, so that they are not compared by it (`MIN_BITS`).
"""

from __future__ import annotations

import io
import math
from functools import cache
from typing import TYPE_CHECKING, Final

from neo_model.inputs.containers.read_container import read_container
from neo_model.inputs.pictures import PictureError, PictureTrouble, open_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

SIDE_PX: Final = 32
"""Side of a picture as it is hashed."""
NUM_FREQUENCIES: Final = 8
"""Frequencies in each direction; 8 x 8 of them make 64 bits."""
SCALE: Final = 4096
"""Cosines are rounded to multiples of one 4096th."""
MAX_DECODED_PX: Final = 2**26
"""Largest picture that is decoded, in pixels."""
MIN_BITS: Final = 16
"""Bits that are set in the hash of a picture that can be told by it; with 63 frequencies that differ, 31 are."""
_TRANSPOSED: Final = {5, 6, 7, 8}
"""EXIF orientations that exchange width and height."""


class UnreadablePictureError(ValueError):
    """A picture that does not decode; the message says why."""


class UnhashedPictureError(UnreadablePictureError):
    """A picture that is too large to be decoded for its hash alone."""


def picture_hash(data: bytes) -> int:
    """The hash of an encoded picture, below 2**64. Raises `UnhashedPictureError`, `UnreadablePictureError`."""
    return grey_hash(upright_grey(data))


def tells_apart(value: int) -> bool:
    """Whether a hash has enough in it to tell a picture from others.

    >>> tells_apart(0), tells_apart(0b01010101 << 56), tells_apart(0xF0F0F0F0F0F0F0F0)
    (False, False, True)
    """
    return value.bit_count() >= MIN_BITS


def upright_grey(data: bytes) -> NDArray[np.uint8]:
    """An encoded picture as levels of grey [32, 32], upright. Raises `UnreadablePictureError`."""
    import numpy as np

    container = read_container(data)
    if container is None:
        raise UnreadablePictureError("the data is of no format that is decoded")
    if container.format == "JPEG":
        return _turned(jpeg_grey(data), container.orientation)
    try:
        pixels = open_pixels(data, max_pixels_px=MAX_DECODED_PX)
    except PictureError as error:
        is_large = error.reason is PictureTrouble.TOO_MANY_PIXELS
        raise (UnhashedPictureError if is_large else UnreadablePictureError)(str(error)) from error
    from PIL import Image

    return np.asarray(_reduced(Image.fromarray(pixels)))


def jpeg_grey(jpeg: bytes) -> NDArray[np.uint8]:
    """A JPEG file as levels of grey [32, 32], as it is stored. Raises `UnreadablePictureError`."""
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            if image.width * image.height > MAX_DECODED_PX:
                raise UnhashedPictureError(f"a picture of {image.width} x {image.height} px is not decoded")
            image.draft("L", (2 * SIDE_PX, 2 * SIDE_PX))
            return np.asarray(_reduced(image))
    except Image.DecompressionBombError as error:
        raise UnhashedPictureError(str(error)) from error
    except UnreadablePictureError:
        raise
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError) as error:
        raise UnreadablePictureError(str(error)) from error


def _reduced(image: Image) -> Image:
    from PIL import Image as Pillow

    return image.convert("L").resize((SIDE_PX, SIDE_PX), Pillow.Resampling.BOX)


def _turned(grey: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Levels of grey after EXIF orientation 1 to 8."""
    if orientation in _TRANSPOSED:
        grey = grey.T
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    return grey[::-1] if orientation in (3, 4, 7, 8) else grey


def grey_hash(grey: NDArray[np.uint8]) -> int:
    """The hash of a picture of n x n levels of grey, as a number below 2**64.

    The first bit, of the mean level, is 0: a picture made brighter keeps its hash.
    """
    import numpy as np

    cosines = _cosines(len(grey))
    frequencies = (cosines @ grey.astype(np.int64) @ cosines.T).ravel()
    above = frequencies > _middle(frequencies[1:])
    above[0] = False
    return int.from_bytes(np.packbits(above).tobytes(), "big")


def _middle(values: NDArray[np.int64]) -> int:
    """The value in the middle of an odd number of them."""
    import numpy as np

    middle = len(values) // 2
    return int(np.partition(values, middle)[middle])


@cache
def _cosines(side_px: int) -> NDArray[np.int64]:
    """The first rows [8, side] of the cosine transform, in whole numbers."""
    import numpy as np

    # Each is further from the middle between two whole numbers than libraries differ in a cosine.
    rows = [
        [round(SCALE * math.cos((2 * place + 1) * frequency * math.pi / (2 * side_px))) for place in range(side_px)]
        for frequency in range(NUM_FREQUENCIES)
    ]
    return np.array(rows, np.int64)
