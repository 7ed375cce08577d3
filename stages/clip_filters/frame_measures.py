"""What the frames of a clip measure: brightness, range of grey, motion, and hashes by which copies are found.

A frame is looked at as a picture of 32 x 32 levels of grey, decoded at an eighth of its size where it is large enough.
All sums are of whole numbers, so that every machine measures the same.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.duplicates.measures.picture_hashes import UnreadablePictureError, grey_hash, jpeg_grey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HASHED_AT: Final = (0.25, 0.5, 0.75)
"""Where in a clip the frames stand that are hashed, as shares of its length."""


class FrameError(ValueError):
    """A frame that is no JPEG file, or does not decode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameMeasures:
    """What the frames of one clip measure. Levels of grey run from 0, black, to 255, white."""

    luma: float
    """Mean level of all frames."""
    brightest: int
    """Highest level of a cell in any frame."""
    contrast: int
    """Largest difference between two cells of one frame, in levels."""
    motion: float | None
    """Mean difference of a cell between frames that are a second apart, in levels; of a shorter clip, between its first
    and its last frame; None for a clip of one frame. It does not depend on how many frames were taken."""
    flicker: float | None
    """Mean difference of a cell between one frame that was taken and the next, in levels; None for one frame."""
    hashes: tuple[int, int, int]
    """Hashes of the frames that stand next to `HASHED_AT`, 64 bits each."""


def small_grey(jpeg: bytes) -> NDArray[np.uint8]:
    """A JPEG file as levels of grey [32, 32], each the mean of a cell of it. Raises `FrameError`."""
    try:
        return jpeg_grey(jpeg)
    except UnreadablePictureError as error:
        raise FrameError(str(error)) from error


def measure_frames(
    frames: Sequence[NDArray[np.uint8]], times: Sequence[float], duration_seconds: float
) -> FrameMeasures:
    """Measure n frames [32, 32], n at least 1, which are shown at `times` [n] of a clip of this length."""
    import numpy as np

    grey = np.stack(frames).astype(np.int64)
    flat = grey.reshape(len(frames), -1)
    hashed = [grey_hash(frames[nearest(times, share * duration_seconds)]) for share in HASHED_AT]
    return FrameMeasures(
        luma=int(grey.sum()) / grey.size,
        brightest=int(grey.max()),
        contrast=int((flat.max(axis=1) - flat.min(axis=1)).max()),
        motion=_mean_difference(grey, second_apart(times)),
        flicker=_mean_difference(grey, [(number, number + 1) for number in range(len(frames) - 1)]),
        hashes=(hashed[0], hashed[1], hashed[2]),
    )


def second_apart(times: Sequence[float]) -> list[tuple[int, int]]:
    """Each frame with the first that is shown a second after it or later; of a shorter clip, the first with the last.

    >>> second_apart([0.0, 0.4, 0.8, 1.2, 1.6])
    [(0, 3), (1, 4)]
    >>> second_apart([0.0, 0.2]), second_apart([0.0])
    ([(0, 1)], [])
    """
    later = [(first, bisect_left(times, time + 1.0)) for first, time in enumerate(times)]
    pairs = [(first, second) for first, second in later if second < len(times)]
    return pairs or [(0, len(times) - 1)][: len(times) - 1]


def _mean_difference(grey: NDArray[np.int64], pairs: Sequence[tuple[int, int]]) -> float | None:
    """The mean difference of a cell between the two frames of each pair; None without pairs."""
    import numpy as np

    if not pairs:
        return None
    first, second = zip(*pairs, strict=True)
    differences = np.abs(grey[list(first)] - grey[list(second)])
    return float(int(differences.sum()) / differences.size)


def nearest(times: Sequence[float], wanted: float) -> int:
    """The number of the time that is nearest to `wanted`, of two the earlier: of 1.0 and 2.0 to 1.5, 0."""
    return min(range(len(times)), key=lambda number: (abs(times[number] - wanted), number))
