"""Shows pictures and films to a chat: which frames, how large, and the text around them.

A whole film is written as in training: its line of length, number of frames and rate, then a line for each frame. A
film as a stream is not known to its end: there is no such line, and frames are those seen at 0, 1, 2, ... times the
period.

Frames are as large as in training, between 4 x 32 x 32 and 360 x 640 pixels. A picture has the checkpoint's own range;
of n pictures each has at most max(2 * max / n, min), as the released kit trains.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from neo_model.inputs.frame_sampling import FrameSampling
from neo_model.inputs.video_text import clip_lines, frame_time
from pipelines.asking.media import MAX_DECODED_PX, FilmFile, Medium, PictureFile, opened_film, reading_film
from pipelines.exits import BadCommandError, RefusedError
from stages.formats.fit_sample import MAX_FRAME_PIXELS_PX, MIN_FRAME_PIXELS_PX, Limits
from stages.video.facts import TIME_TOLERANCE_SECONDS
from stages.video.reader import VideoReader

if TYPE_CHECKING:
    from neo_model.live_chat import LiveChat, PatchedImage

JPEG_QUALITY: Final = 90
"""Quality of the JPEG files in which the decoder hands over frames: that of stored clips."""
FRAMES_AT_ONCE: Final = 32
"""Frames that are decoded together: as many are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What was shown of one file."""

    file: str
    kind: str
    """`picture` or `film`."""
    num_tokens: int
    """Tokens of the conversation that it takes, with the text around it."""
    duration_seconds: float | None = None
    """Length of a film."""
    frame_times: tuple[float, ...] = ()
    """When each frame that was shown is seen in the film, in seconds."""
    num_frames_wanted: int | None = None
    """Frames at the rate that was asked for, where they are more than may be shown."""

    def sentence(self) -> str:
        """For a person."""
        if self.duration_seconds is None:
            return f"{self.file}: {self.num_tokens:,} tokens"
        cut = f" of {self.num_frames_wanted:,} at that rate, spread evenly" if self.num_frames_wanted else ""
        frames = f"{len(self.frame_times):,} frames{cut}"
        return f"{self.file}: {self.duration_seconds:.1f} s, {frames}, {self.num_tokens:,} tokens"


class Viewer:
    """Shows files to one chat."""

    def __init__(self, chat: LiveChat, reader: VideoReader, sampling: FrameSampling) -> None:
        self._chat = chat
        self._reader = reader
        self._sampling = sampling
        self._num_tokens = 0
        self.watched: Shown | None = None
        """What was shown of a film that ran to its end."""

    def show(self, medium: Medium, num_pictures: int) -> Shown:
        """Show a picture, one of so many, or a whole film. Raises `RefusedError` where it cannot be read or shown."""
        return self._show_film(medium) if isinstance(medium, FilmFile) else self._show_picture(medium, num_pictures)

    def watch(self, film: FilmFile, every_seconds: float) -> Iterator[float]:
        """Show a film as a stream; yields each moment at which a question is due, once all until then was shown.

        The moments are multiples of `every_seconds`, and the end. Raises `BadCommandError` if the rate takes more
        frames than may be shown, `RefusedError` where the film cannot be read on.
        """
        rate, most = self._sampling.frames_per_second, self._sampling.max_frames
        assert rate is not None, "a stream is read at a rate"
        duration = opened_film(film.path, self._reader).duration_seconds
        with reading_film(film.path):
            taken = seen_at_rate(self._reader.frame_times(), duration, rate)
        if len(taken) > most:
            fits = math.floor(100 * most / duration) / 100
            raise BadCommandError(
                f"{film.path} has {len(taken):,} frames at {rate:g} a second, at most {most:,} are shown: "
                f"--fps {fits:g} shows it to its end, or --max-frames {len(taken)}",
                then="neo ask --help",
            )
        num_shown, before = 0, self._num_tokens
        for moment in moments(duration, every_seconds):
            due = [time for time in taken[num_shown:] if time <= moment]
            self._show_frames(film, due, [f"[{frame_time(time)}]:{IMAGE_PLACEHOLDER}\n" for time in due])
            num_shown += len(due)
            yield moment
        self.watched = Shown(
            file=str(film.path),
            kind="film",
            num_tokens=self._num_tokens - before,
            duration_seconds=duration,
            frame_times=tuple(taken),
        )

    def _show_picture(self, picture: PictureFile, num_pictures: int) -> Shown:
        from neo_model.inputs.pictures import PictureError, to_uint8_patches

        before, config = self._num_tokens, self._chat.config
        limits = Limits(
            max_tokens=self._chat.conversation.max_tokens,
            min_pixels_px=config.min_pixels_px,
            max_pixels_px=config.max_pixels_px,
            pictures_share_pixels=True,
        )
        try:
            image = to_uint8_patches(picture.pixels, *limits.of_pictures(num_pictures))
        except PictureError as error:
            raise RefusedError(f"{picture.path} cannot be shown: {error}", then="neo ask --help") from error
        self._add(picture.path, f"{IMAGE_PLACEHOLDER}\n", [image])
        return Shown(file=str(picture.path), kind="picture", num_tokens=self._num_tokens - before)

    def _show_film(self, film: FilmFile) -> Shown:
        before = self._num_tokens
        facts = opened_film(film.path, self._reader)
        with reading_film(film.path):
            times = self._reader.frame_times()
        taken = [times[number] for number in self._sampling.frame_numbers(len(times), facts.native_fps)]
        *lines, end = clip_lines(taken, facts.duration_seconds).split(IMAGE_PLACEHOLDER)
        self._show_frames(film, taken, [f"{line}{IMAGE_PLACEHOLDER}" for line in lines])
        self._add(film.path, end, [])
        rate = self._sampling.frames_per_second
        wanted = int(facts.duration_seconds * rate) if rate else 0
        return Shown(
            file=str(film.path),
            kind="film",
            num_tokens=self._num_tokens - before,
            duration_seconds=facts.duration_seconds,
            frame_times=tuple(taken),
            num_frames_wanted=wanted if wanted > len(taken) else None,
        )

    def _show_frames(self, film: FilmFile, times: Sequence[float], lines: Sequence[str]) -> None:
        """Show the frames that are seen at these times, each where its line has its `<image>`."""
        from neo_model.inputs.pictures import PictureError, open_pixels, to_uint8_patches

        for start in range(0, len(times), FRAMES_AT_ONCE):
            stop = start + FRAMES_AT_ONCE
            with reading_film(film.path):
                frames = self._reader.frames(times[start:stop], MAX_FRAME_PIXELS_PX, JPEG_QUALITY)
            pixels = [open_pixels(frame.jpeg, max_pixels_px=MAX_DECODED_PX) for frame in frames]
            try:
                images = [to_uint8_patches(one, MIN_FRAME_PIXELS_PX, MAX_FRAME_PIXELS_PX) for one in pixels]
            except PictureError as error:
                raise RefusedError(f"{film.path} cannot be shown: {error}", then="neo ask --help") from error
            self._add(film.path, "".join(lines[start:stop]), images)

    def _add(self, path: Path, content: str, images: Sequence[PatchedImage]) -> None:
        from neo_model.cached_conversation import CacheFullError

        before = self._chat.conversation.num_tokens
        try:
            self._chat.show(content, images)
        except CacheFullError as error:
            raise RefusedError(
                f"{path} does not fit: {error}; show fewer frames (--fps, --max-frames) or files", then="neo ask --help"
            ) from error
        self._num_tokens += self._chat.conversation.num_tokens - before


def moments(duration_seconds: float, every_seconds: float) -> list[float]:
    """When a question is due: at each multiple of `every_seconds` within the film, and at its end.

    >>> moments(10.5, 4.0)
    [4.0, 8.0, 10.5]
    """
    number = max(0, math.ceil(duration_seconds / every_seconds) - 1)
    return [*(every_seconds * count for count in range(1, number + 1)), duration_seconds]


def seen_at_rate(frame_times: Sequence[float], duration_seconds: float, frames_per_second: float) -> list[float]:
    """The times of the frames that are seen at 0, 1, 2, ... times the period, each frame once.

    A film with a frame every 0.4 seconds, looked at twice a second: at 0.0, 0.5 (the frame of 0.4), 1.0 (of 0.8), ...

    >>> seen_at_rate([0.0, 0.4, 0.8, 1.2], 1.6, 2.0)
    [0.0, 0.4, 0.8, 1.2]
    >>> seen_at_rate([0.0, 3.0], 4.0, 1.0)
    [0.0, 3.0]
    """
    looks = (count / frames_per_second for count in range(max(1, math.ceil(duration_seconds * frames_per_second))))
    numbers = (max(0, bisect_right(frame_times, look + TIME_TOLERANCE_SECONDS) - 1) for look in looks)
    return [frame_times[number] for number in dict.fromkeys(numbers)]
