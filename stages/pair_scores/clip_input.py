"""How CLIP sees a picture: its shorter side resized, the middle cut out, the colours normalised.

Owns the reading of `preprocessor_config.json`, in the form of any release of transformers. Pixels are [height, width,
channel], and what the network takes is [channel, height, width].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from stages.contract import StageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD: Final = (0.26862954, 0.26130258, 0.27577711)
THIN_ASPECT: Final = 16
"""Aspect beyond which only what is seen is resized: the rest of a thin picture would be thousands of times as long."""
_BICUBIC: Final = 3


@dataclass(frozen=True)
class ClipInput:
    """Sizes and colours that a CLIP takes."""

    side_px: int
    """Shorter side after resizing, in pixels."""
    crop_px: tuple[int, int]
    """Height and width of the middle that is seen, in pixels."""
    mean: tuple[float, ...] = CLIP_MEAN
    """Mean of each channel, from 0 to 1."""
    std: tuple[float, ...] = CLIP_STD
    """Standard deviation of each channel."""

    @classmethod
    def of(cls, settings: Mapping[str, Any], image_size: int) -> Self:
        """What `preprocessor_config.json` says; `image_size` of the model where it says nothing.

        Raises `StageError` for what is not done here.
        """
        if settings.get("resample", _BICUBIC) != _BICUBIC:
            raise StageError(
                f"preprocessor_config.json asks for resample {settings['resample']}; CLIP takes 3, bicubic"
            )
        size, crop = settings.get("size", image_size), settings.get("crop_size", image_size)
        side = size.get("shortest_edge") if isinstance(size, Mapping) else size
        crop_px = (crop["height"], crop["width"]) if isinstance(crop, Mapping) else (crop, crop)
        if not isinstance(side, int) or side < max(crop_px):
            raise StageError(f"preprocessor_config.json asks for size {size} and crop_size {crop}; CLIP resizes the "
                             "shorter side, and cuts out the middle")  # fmt: skip
        mean, std = settings.get("image_mean", CLIP_MEAN), settings.get("image_std", CLIP_STD)
        return cls(side, crop_px, tuple(mean), tuple(std))

    def prepare(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Pixels [h, w, 3] as the network takes them: [3, crop height, crop width].

        In memory are some bytes for each pixel of the picture and of `THIN_ASPECT` squares of `side_px`.
        """
        import numpy as np

        height, width = pixels.shape[:2]
        scaled = (self.side_px, int(self.side_px * width / height))
        if width < height:
            scaled = (int(self.side_px * height / width), self.side_px)
        is_thin = max(height, width) > THIN_ASPECT * min(height, width)
        middle = (_middle_resized if is_thin else _resized_middle)(pixels, scaled, self.crop_px)
        normal = (middle.astype(np.float32) / 255 - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)


def _resized_middle(pixels: NDArray[np.uint8], scaled: tuple[int, int], crop: tuple[int, int]) -> NDArray[np.uint8]:
    """The middle of the resized picture, bit by bit as transformers makes it."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(pixels).resize((scaled[1], scaled[0]), Image.Resampling.BICUBIC)
    top, left = ((whole - part) // 2 for whole, part in zip(scaled, crop, strict=True))
    return np.asarray(image)[top : top + crop[0], left : left + crop[1]]


def _middle_resized(pixels: NDArray[np.uint8], scaled: tuple[int, int], crop: tuple[int, int]) -> NDArray[np.uint8]:
    """The same, made of no more than what is seen: nothing beside it is resized.

    Equal but for rounding, and for edges of black on white: which side Pillow resizes first follows from the sizes.
    """
    import numpy as np
    from PIL import Image

    starts = [(whole - part) // 2 for whole, part in zip(scaled, crop, strict=True)]
    scales = [side / whole for side, whole in zip(pixels.shape, scaled, strict=False)]
    top, left = (start * scale for start, scale in zip(starts, scales, strict=True))
    ends = zip(starts, crop, scales, pixels.shape, strict=False)
    bottom, right = (min((start + part) * scale, side) for start, part, scale, side in ends)
    box = (left, top, right, bottom)
    return np.asarray(Image.fromarray(pixels).resize((crop[1], crop[0]), Image.Resampling.BICUBIC, box=box))
