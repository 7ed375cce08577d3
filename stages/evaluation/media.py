"""Reads the images and the clips of questions as patches, each at its own size, and thins clips that are too long.

Frames have a pixel range of their own, and a clip of more than `max_frames` shows that many, at interior points: frame
i * n / (max_frames + 1) of its n frames for i = 1, 2, ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, TypeAlias

from neo_model.inputs.frame_sampling import interior_points
from neo_model.inputs.video_text import ClipText
from stages.benchmarks.benchmark import PixelRange
from stages.evaluation.questions import QuestionTrouble
from stages.formats.clip_reader import ClipReader, UndecodableClipError
from stages.formats.clips import Clip
from stages.formats.pairs import PairReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    ImagePatches: TypeAlias = tuple[NDArray[np.uint8], tuple[int, int]]
    """Patches [n, 768] of one image and their grid (grid_h, grid_w), n = grid_h x grid_w."""

MAX_DECODED_PX = 100_000_000
"""Largest image that is decoded, in pixels."""
NUM_IMAGES_KEPT = 64
"""Images whose patches are cached: consecutive questions are often about the same image."""
NUM_CLIPS_KEPT = 2
"""Clips whose frames are cached: 256 frames of 220 tokens are 170 MB."""


class UnusableMediumError(ValueError):
    """An image or clip that no question can be asked about, for the reason `trouble`."""

    def __init__(self, trouble: QuestionTrouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


@dataclass(frozen=True)
class ShownClip:
    """A clip and which of its frames are shown."""

    clip: Clip
    numbers: tuple[int, ...]
    """Frames that are shown, counted from 0, in order."""

    @property
    def text(self) -> ClipText:
        """What its text tells."""
        return ClipText([self.clip.frame_times[number] for number in self.numbers], self.clip.duration_seconds)


@dataclass(frozen=True, kw_only=True)
class MediaReader:
    """Reads what questions are asked with.

    Damage in the store raises `StoreError`, which stops the part, because failures are committed for good while the
    store can be repaired; whatever else is wrong raises `UnusableMediumError`.
    """

    pictures: PairReader
    """Reads images by their ids."""
    clips: ClipReader | None
    """Reads clips by their ids; None where the questions have none."""
    image_pixels: PixelRange
    """Pixels of an image after resizing."""
    frame_pixels: PixelRange
    """Pixels of a frame after resizing."""
    max_frames: int
    """Most frames of a clip that are shown."""

    def image(self, image_id: bytes) -> ImagePatches:
        """The patches of an image, cached."""
        return self._image_of(image_id)

    def clip(self, clip_id: bytes) -> Clip:
        """The clip of an id, without its frames."""
        try:
            if self.clips is None:
                raise KeyError(clip_id)
            clip = self.clips.clip(clip_id)
        except KeyError as error:
            raise UnusableMediumError(QuestionTrouble.CLIP_NOT_KEPT) from error
        if not clip.frames:
            raise UnusableMediumError(QuestionTrouble.CLIP_UNUSABLE)
        return clip

    def shown(self, clip: Clip, max_frames: int) -> ShownClip:
        """The clip with at most so many of its frames."""
        return ShownClip(clip, tuple(interior_points(len(clip.frames), max_frames)))

    def num_frame_tokens(self, clip: Clip) -> int:
        """Visual tokens of one frame of a clip, by the size of its frames."""
        from neo_model.inputs.pictures import PictureError, num_image_tokens

        try:
            return num_image_tokens(clip.width_px, clip.height_px, *self.frame_pixels)
        except PictureError as error:
            raise UnusableMediumError(QuestionTrouble.CLIP_UNUSABLE) from error

    def frames(self, shown: ShownClip) -> tuple[ImagePatches, ...]:
        """The patches of the frames that are shown, cached."""
        return self._frames_of(shown.clip.sample_id, shown.numbers)

    @cached_property
    def _image_of(self) -> Callable[[bytes], ImagePatches]:
        return lru_cache(maxsize=NUM_IMAGES_KEPT)(self._read_image)

    @cached_property
    def _frames_of(self) -> Callable[[bytes, tuple[int, ...]], tuple[ImagePatches, ...]]:
        return lru_cache(maxsize=NUM_CLIPS_KEPT)(self._read_frames)

    def _read_image(self, image_id: bytes) -> ImagePatches:
        try:
            data = self.pictures.image(image_id)
        except KeyError as error:
            raise UnusableMediumError(QuestionTrouble.IMAGE_NOT_KEPT) from error
        return _patches(data, self.image_pixels, QuestionTrouble.IMAGE_UNUSABLE)

    def _read_frames(self, clip_id: bytes, numbers: Sequence[int]) -> tuple[ImagePatches, ...]:
        assert self.clips is not None
        clip = self.clip(clip_id)
        try:
            jpegs = self.clips.frames.images_of([clip.frames[number] for number in numbers])
        except UndecodableClipError as error:
            raise UnusableMediumError(QuestionTrouble.CLIP_UNUSABLE) from error
        return tuple(_patches(data, self.frame_pixels, QuestionTrouble.CLIP_UNUSABLE) for data in jpegs)


def _patches(data: bytes, pixels: PixelRange, trouble: QuestionTrouble) -> ImagePatches:
    from neo_model.inputs.pictures import PictureError, open_pixels, to_uint8_patches

    try:
        return to_uint8_patches(open_pixels(data, max_pixels_px=MAX_DECODED_PX), *pixels)
    except PictureError as error:
        raise UnusableMediumError(trouble) from error
