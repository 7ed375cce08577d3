"""Makes pictures smaller by the rule of img2dataset, byte for byte, as cheaply as its decoder and encoder allow.

Owns the four modes, the size that each gives, and the bytes of the result: averaged over areas, encoded as JPEG by
OpenCV. img2dataset's `Resizer` is the witness in tests. It is not called: with a file and objects around each picture
it takes as long again, and meanwhile it closes stdout and stderr for all threads of the process.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, cast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ResizeMode: TypeAlias = Literal["no", "keep_ratio", "keep_ratio_largest", "center_crop", "border"]
"""The resize modes of img2dataset: by the shortest side, by the longest, cut to a square, padded to a square."""
WHITE: Final = (255, 255, 255)
"""What `border` pads with."""


@dataclass(frozen=True, kw_only=True)
class Resizing:
    """How pictures are made smaller."""

    mode: ResizeMode
    resize_px: int
    """Longest or shortest side of the result, in pixels, depending on the mode."""
    jpeg_quality: int

    def scaled_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height that a picture is scaled to, before it is cut or padded; never larger than it is.

        Halves are rounded to even numbers, as img2dataset does.

        >>> Resizing(mode="keep_ratio_largest", resize_px=64, jpeg_quality=95).scaled_size((200, 131))
        (64, 42)
        >>> Resizing(mode="keep_ratio", resize_px=64, jpeg_quality=95).scaled_size((200, 131))
        (98, 64)
        """
        decisive_px = min(size) if self.mode in ("keep_ratio", "center_crop") else max(size)
        if self.mode == "no" or decisive_px <= self.resize_px:
            return size
        scale = self.resize_px / decisive_px
        width_px, height_px = (max(1, round(side * scale)) for side in size)
        return width_px, height_px

    def to_jpeg(self, pixels: NDArray[np.uint8], size: tuple[int, int]) -> tuple[bytes, int, int]:
        """A picture of this width and height made smaller, as JPEG; with the width and height that it has then.

        `pixels` [height, width, 3] in RGB are all of it, or were made smaller by its decoder, but not too small.
        """
        import cv2

        cv2.setNumThreads(1)  # what runs side by side are parts
        scaled = self.scaled_size(size)
        if pixels.shape[1::-1] != scaled:
            pixels = cast("NDArray[np.uint8]", cv2.resize(pixels, scaled, interpolation=cv2.INTER_AREA))
        if self.mode == "center_crop" and scaled != size:
            left, top = ((side - self.resize_px) // 2 for side in scaled)
            pixels = pixels[top : top + self.resize_px, left : left + self.resize_px]
        elif self.mode == "border" and scaled != size:
            pixels = self._padded(pixels)
        blue_first = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)  # as OpenCV's encoder takes them
        encoded = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])[1]
        return encoded.tobytes(), blue_first.shape[1], blue_first.shape[0]

    def _padded(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Laid in the middle of a white square."""
        import cv2

        height_px, width_px, _ = pixels.shape
        missing_down, missing_across = self.resize_px - height_px, self.resize_px - width_px
        top, left = missing_down // 2, missing_across // 2
        sides = (top, missing_down - top, left, missing_across - left)
        return cast("NDArray[np.uint8]", cv2.copyMakeBorder(pixels, *sides, cv2.BORDER_CONSTANT, value=WHITE))
