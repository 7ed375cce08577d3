"""Which frames of a video are taken: the sampling rules of NEO-ov's evaluation, as pure functions.

Frames are numbered from 0 in the order in which they are shown. Numbers are rounded down, as the released kit does.
Imports neither torch nor numpy.
"""

from __future__ import annotations

from typing import Final, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator

Spacing: TypeAlias = Literal["interior", "ends", "centres"]
"""Where a number of frames lie: at interior points, from the first frame to the last, or in the middle of as many
stretches of equal length."""

_ROUNDING_FRAMES: Final = 1e-9
"""How far a number of frames may fall short of a whole one by rounding."""


class FrameSampling(BaseModel):
    """How many frames of a video are taken, and where they lie."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    num_frames: int | None = Field(default=None, ge=1)
    """Frames at interior points of equal distance; None samples by `frames_per_second`."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Frames for each second of video; None samples by `num_frames`."""
    max_frames: int = Field(default=128, ge=1)
    """Most frames by `frames_per_second`: a longer video has this many, at points of equal distance from its start."""
    spacing: Spacing = "interior"
    """Where `num_frames` frames lie: at interior points, from the first frame to the last (`ends`, as VSI-Bench takes
    them), or in the middle of as many stretches of equal length (`centres`, as MVBench does)."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.num_frames is None) == (self.frames_per_second is None):
            raise ValueError(
                f"num_frames = {self.num_frames} and frames_per_second = {self.frames_per_second}: set one of them"
            )
        return self

    def frame_numbers(self, num_frames: int, native_fps: float) -> list[int]:
        """The frames that are taken of a video of `num_frames` frames at `native_fps` frames a second, rising.

        >>> FrameSampling(num_frames=3).frame_numbers(100, 25.0)
        [25, 50, 75]
        >>> FrameSampling(frames_per_second=1.0, max_frames=8).frame_numbers(100, 25.0)
        [0, 25, 50, 75]
        >>> FrameSampling(frames_per_second=1.0, max_frames=3).frame_numbers(100, 25.0)
        [0, 25, 50]
        """
        if self.num_frames is not None:
            return spaced_points(num_frames, self.num_frames, self.spacing)
        assert self.frames_per_second is not None
        return frames_at_rate(num_frames, native_fps, self.frames_per_second, self.max_frames)


def spaced_points(num_frames: int, num_taken: int, spacing: Spacing) -> list[int]:
    """`num_taken` frames of a video of `num_frames` by one of the spacings; all frames where there are no more.

    `ends`: i times the step (num_frames - 1) / (num_taken - 1) for i = 0, 1, ..., and the last frame; `centres`: half a
    stretch behind the rounded start of stretch i, of num_frames - 1 frames in all, halves rounded to even. Steps are
    floats, as numpy's `linspace` and the released kit have them: one frame in thousands lies before the exact place.

    >>> spaced_points(100, 3, "ends"), spaced_points(100, 4, "centres")
    ([0, 49, 99], [12, 37, 62, 86])
    """
    if num_taken >= num_frames:
        return list(range(num_frames))
    if spacing == "interior":
        return interior_points(num_frames, num_taken)
    last = num_frames - 1
    if spacing == "ends":
        step = last / max(1, num_taken - 1)
        return [*(int(number * step) for number in range(num_taken - 1)), last] if num_taken > 1 else [0]
    stretch = last / num_taken
    return [int(stretch / 2 + round(stretch * number)) for number in range(num_taken)]


def interior_points(num_frames: int, num_taken: int) -> list[int]:
    """`num_taken` frames at i * num_frames / (num_taken + 1) for i = 1, 2, ...; all frames where there are no more.

    >>> interior_points(100, 3)
    [25, 50, 75]
    >>> interior_points(10, 4)
    [2, 4, 6, 8]
    >>> interior_points(3, 4)
    [0, 1, 2]
    """
    if num_taken >= num_frames:
        return list(range(num_frames))
    return [number * num_frames // (num_taken + 1) for number in range(1, num_taken + 1)]


def frames_at_rate(num_frames: int, native_fps: float, frames_per_second: float, max_frames: int) -> list[int]:
    """Frame 0 and every (native_fps / frames_per_second)-th after it; at most `max_frames`.

    Where the video is too long for that, `max_frames` frames at i * num_frames / (max_frames + 1) for i = 0, 1, ...:
    from the start of the video, unlike `interior_points`. A video shorter than one period gives its first frame.

    >>> frames_at_rate(75, 29.97, 1.0, 256)
    [0, 29]
    >>> frames_at_rate(7200, 24.0, 1.0, 256)[:3]
    [0, 28, 56]
    >>> frames_at_rate(10, 24.0, 1.0, 256)
    [0]
    >>> frames_at_rate(29, 29 / 7, 1.0, 256)
    [0, 4, 8, 12, 16, 20, 24]
    """
    # Where `native_fps` is itself a quotient, 29 frames in 7 seconds, the product may fall a hair short of 7.
    num_wanted = int(num_frames / native_fps * frames_per_second + _ROUNDING_FRAMES)
    if num_wanted > max_frames:
        return sorted({number * num_frames // (max_frames + 1) for number in range(max_frames)})
    period = max(1.0, native_fps / frames_per_second)
    num_taken = min(max(1, num_wanted), num_frames)
    numbers = {int(number * period) for number in range(num_taken)}
    return sorted(number for number in numbers if number < num_frames)
