"""What the picture of a pair measures: contrast, entropy and sharpness, from a reduced decode of its JPEG.

A JPEG is decoded to grey at one to seven eighths of its size, the fewest at which both sides have `MIN_SIDE_PX`; that
takes about half of the time of decoding it whole, and a fiftieth of the memory. Sums are of whole numbers, and results
are rounded, so that every machine measures the same. Orientation does not matter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, NamedTuple

from neo_model.inputs.pictures import open_pixels

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MIN_SIDE_PX: Final = 96
"""Shorter side of a picture as it is measured, at least; of a smaller picture, its own."""
MAX_PIXELS_PX: Final = 2**27
"""Largest picture that is decoded where it cannot be reduced, in pixels."""
TAIL: Final = 0.01
"""Share of the brightest and of the darkest pixels that contrast leaves out."""
BAND_PX: Final = 2**20
"""Pixels that are worked on at one time, where numbers wider than a byte are needed."""
DIGITS: Final = 3
"""Decimal places of a measure."""


class PictureMeasures(NamedTuple):
    """What one picture measures. Levels of grey run from 0, black, to 255, white."""

    contrast: int
    """Levels between the darkest and the brightest pixel, without a hundredth of them at each end; 0 for one colour."""
    entropy_bits: float
    """Entropy of the levels of its pixels, 0 for one colour, 8 where all levels are as frequent; photographs have 6 to
    8, drawings and signs 1 to 5."""
    sharpness: float
    """Variance of the Laplacian of neighbouring pixels, in squared levels; below some 20 a photograph is blurred."""


def measure_picture(jpeg: bytes) -> PictureMeasures:
    """Measure an encoded picture. Raises `PictureError` where it does not decode."""
    import numpy as np

    grey = reduced_grey(jpeg)
    counts = np.bincount(grey.ravel(), minlength=256)
    shares = counts[counts > 0] / grey.size
    entropy = float(-(shares * np.log2(shares)).sum()) + 0.0
    below = np.cumsum(counts)
    darkest, brightest = (int(np.searchsorted(below, share * grey.size, "right")) for share in (TAIL, 1 - TAIL))
    return PictureMeasures(min(brightest, 255) - darkest, round(abs(entropy), DIGITS), _sharpness(grey))


def reduced_grey(jpeg: bytes) -> NDArray[np.uint8]:
    """A picture as levels of grey, reduced by the decoder as far as both sides keep `MIN_SIDE_PX`."""
    import simplejpeg

    try:
        height_px, width_px, _, _ = simplejpeg.decode_jpeg_header(jpeg)
        grey: NDArray[np.uint8] = simplejpeg.decode_jpeg(
            jpeg, "GRAY", min_height=min(height_px, MIN_SIDE_PX), min_width=min(width_px, MIN_SIDE_PX)
        )[:, :, 0]
        return grey
    except ValueError:  # what this decoder warns about; the one that training uses says whether it is a picture
        return _grey_of(open_pixels(jpeg, max_pixels_px=MAX_PIXELS_PX))


def _grey_of(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The levels of grey of a picture [height, width, 3]."""
    import numpy as np

    grey = np.empty(pixels.shape[:2], np.uint8)
    for rows in _bands(pixels.shape[0], pixels.shape[1]):
        grey[rows] = (pixels[rows] * np.array([299, 587, 114], np.uint32)).sum(axis=2) // 1000
    return grey


def _bands(height_px: int, width_px: int) -> Iterator[slice]:
    """Rows of a picture, of some `BAND_PX` pixels at a time."""
    num_rows = max(1, BAND_PX // width_px)
    return (slice(top, min(top + num_rows, height_px)) for top in range(0, height_px, num_rows))


def _sharpness(grey: NDArray[np.uint8]) -> float:
    """Variance of 4 x pixel - its four neighbours, over pixels that have four; 0.0 for a picture without any."""
    import numpy as np

    if min(grey.shape) < 3:
        return 0.0
    total = squares = number = 0
    for rows in _bands(grey.shape[0] - 2, grey.shape[1]):
        levels = grey[rows.start : rows.stop + 2].astype(np.int32)
        middle = levels[1:-1, 1:-1]
        edges = 4 * middle - levels[:-2, 1:-1] - levels[2:, 1:-1] - levels[1:-1, :-2] - levels[1:-1, 2:]
        total, squares = total + int(edges.sum(dtype=np.int64)), squares + int((edges.astype(np.int64) ** 2).sum())
        number += edges.size
    return round((squares * number - total * total) / (number * number), DIGITS)
