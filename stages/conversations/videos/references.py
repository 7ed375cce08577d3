"""Finds the videos that a record of a conversation refers to, and which stretch of each it means.

Owns where the videos of a record stand and what each is called: clips are looked up by these names. Reads no file.

A video stands in a field of the record or in a part of a message (`{"type": "video_url", "video_url": {"url": ...}}`).
It is given as a path, as a URL, as an object with either, or as its frames: a list of pictures. The forms, and where
each is known from:

    LLaVA-Video-178K    video: "a/b.mp4"; `<image>` in the text stands for the video   (the set's own files)
    VSI-590K            video or image, the same                                       (kits that read the set)
    LLaMA-Factory       videos: ["a.mp4"] or [["1.jpg", "2.jpg"]]; `<video>`           (its documentation)
    Qwen                parts {"type": "video", "video": PATH or [FRAME, ...], "fps": RATE OF THE FRAMES}
    VideoChat2-IT       video, with start and end in seconds in some of its files      (its loader)

Times of a stretch are numbers of seconds or clock times. They are the fields `start` and `end` of the object that names
the video, else of the record; of a record with several videos they are lists, or belong to all.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias
from urllib.parse import unquote

from stages.conversations.image_references import (
    MESSAGE_FIELDS,
    ImageReference,
    Record,
    listed,
    literal_list,
    parts_of,
    references_of,
    value_references,
)
from stages.conversations.videos.clock_times import seconds_of

VIDEO_FIELDS: Final = ("videos", "video", "video_path", "video_paths", "video_url", "video_urls")
"""Fields of a record that hold its videos; the first that holds any counts."""
START_FIELDS: Final = ("start", "start_seconds", "start_time", "video_start")
"""Fields that say where a stretch begins."""
END_FIELDS: Final = ("end", "end_seconds", "end_time", "video_end")
"""Fields that say where it ends."""
RATE_FIELDS: Final = ("sample_fps", "fps")
"""Fields beside a list of frames that give their rate, in frames in a second."""
TIMES_FIELDS: Final = ("frame_times", "timestamps", "frame_timestamps", "timestamp", "timestamp_decimal")
"""Fields that may list when each picture of a record is shown, in seconds.

LLaVA-OneVision-2's `timestamp_decimal` is the number of decimals of its times, 1 or 2, whose times lie in arrays beside
the table, and says nothing here; where a table has a list of times under that name, it is taken (inferred)."""
_PART_FIELDS: Final = ("video", "video_url", "url", "path", "video_path", "file", "bytes")
_NOTHING: Final = ("", "[]", "{}", "null", "None", "nan")
_PICTURE: Final = re.compile(r"\.(?:jpe?g|png|webp|bmp|avif|tiff?)(?:[?#].*)?$", re.IGNORECASE)


class VideoReferenceError(ValueError):
    """A value that stands where a video should and refers to none; the message gives the value."""


class VideoReference(NamedTuple):
    """One video that a record refers to, or a stretch of it."""

    name: str
    """A URL or a path as the record spells it, or `sha256:` and 64 hex digits of a video that the record holds."""
    start_seconds: float | None = None
    """Where the stretch begins, in seconds; None for the beginning of the video."""
    end_seconds: float | None = None
    """Where it ends; None for the end of the video."""


class FrameList(NamedTuple):
    """A video of n frames that the record gives as pictures."""

    frames: tuple[ImageReference, ...]
    """[n] the pictures, in order."""
    times: tuple[float, ...] | None = None
    """[n] when each is shown, in seconds; None where the record does not say."""
    duration_seconds: float | None = None
    """Length of the video; None where the record does not say."""


Video: TypeAlias = VideoReference | FrameList
"""A video of a record."""


def field_videos(record: Record) -> list[Video]:
    """The videos in the fields of a record, in order. Raises `VideoReferenceError`, and `ImageReferenceError` for
    frames."""
    for field in VIDEO_FIELDS:
        if field in record:
            videos = list(value_videos(record[field], record))
            if videos:
                return with_times(videos, record)
    return []


def pictures_of(record: Record) -> list[ImageReference]:
    """All pictures of a record: those that it refers to as such, then the frames of its videos.

    Raises `ImageReferenceError`. Values that are no video are passed over.
    """
    pictures = references_of(record)
    messages = (message for field in MESSAGE_FIELDS for message in listed(record.get(field)))
    finders = [partial(field_videos, record), *(partial(_of_part, part) for one in messages for part in parts_of(one))]
    for find in finders:
        try:
            pictures += [frame for video in find() if isinstance(video, FrameList) for frame in video.frames]
        except VideoReferenceError:
            continue
    return pictures


def spelled_video(video: Video) -> dict[str, Any]:
    """A video as plain values that `value_videos` reads again: pictures and videos that a record holds as names."""
    held: dict[str, Any]
    if isinstance(video, VideoReference):
        held = {"path": video.name, "start": video.start_seconds, "end": video.end_seconds}
    else:
        names = [frame.name for frame in video.frames]
        held = {"frames": names, "frame_times": video.times, "duration": video.duration_seconds}
    return {name: value for name, value in held.items() if value is not None}


def part_video(part: Record) -> Video | None:
    """The video of one part of a message; None where the part is something else, or says only that one stands here.

    Raises `VideoReferenceError` where it is a video part whose value is no video.
    """
    kind = part.get("type") or next((name for name in ("video", "video_url") if part.get(name) is not None), None)
    if kind not in ("video", "video_url", "input_video"):
        return None
    videos = next((found for name in _PART_FIELDS if (found := list(value_videos(part.get(name), part)))), [])
    if len(videos) > 1:
        raise VideoReferenceError(f"a part of a message with {len(videos)} videos: one each is expected")
    return with_times(videos, part)[0] if videos else None


def value_videos(value: Any, owner: Record) -> Iterator[Video]:
    """The videos that one value refers to: none for null and empty text, several for a list.

    `owner` is the record or part that has the value; it may give the rate of frames. Raises `VideoReferenceError`.
    """
    if isinstance(value, str):
        value = value.strip()
        parsed = literal_list(value) if value.startswith("[") else None
        value = None if value in _NOTHING else value if parsed is None else parsed
    if value is None or (isinstance(value, str | bytes | list | tuple | Mapping) and not value):
        return
    if isinstance(value, bytes):
        yield VideoReference(f"sha256:{hashlib.sha256(value).hexdigest()}")
    elif isinstance(value, str):
        yield VideoReference(_named(value))
    elif isinstance(value, list | tuple):
        if all(_is_picture(one) for one in value):
            yield frame_list(value, owner)
        else:
            for one in value:
                yield from value_videos(one, owner)
    elif isinstance(value, Mapping):
        yield from _mapping_videos(value, owner)
    else:
        raise VideoReferenceError(f"{value!r} is no video: expected a URL, a path or a list of frames")


def frame_list(values: Sequence[Any], owner: Record) -> FrameList:
    """Pictures as the frames of a video, with times where the owner gives them or their rate."""
    frames = tuple(reference for value in values for reference in value_references(value))
    times = frame_times_of(owner, len(frames))
    rate = next((seconds for name in RATE_FIELDS if (seconds := _number(owner.get(name))) is not None), None)
    duration = _number(owner.get("duration"))
    if times is None and rate:
        # Frames at 2 in a second are shown at 0, 0.5, 1 ..., and the last lasts as long as the others.
        times = tuple(number / rate for number in range(len(frames)))
        duration = len(frames) / rate if duration is None else duration
    return FrameList(frames, times, duration)


def frame_times_of(record: Record, num_images: int) -> tuple[float, ...] | None:
    """When each of so many pictures is shown: a list of as many times that never fall; None where there is none."""
    for field in TIMES_FIELDS:
        value = record.get(field)
        value = literal_list(value) if isinstance(value, str) else value
        if isinstance(value, list | tuple) and len(value) == num_images > 0:
            times = [_number(one) for one in value]
            known = [time for time in times if time is not None]
            if len(known) == num_images and known == sorted(known):
                return tuple(known)
    return None


def with_times(videos: Sequence[Video], owner: Record) -> list[Video]:
    """The videos with the stretch that their record or part gives, where they have none of their own."""
    starts, ends = (_times(owner, fields, len(videos)) for fields in (START_FIELDS, END_FIELDS))
    return [
        VideoReference(video.name, *checked(start, end))
        if isinstance(video, VideoReference) and video.start_seconds is None and video.end_seconds is None
        else video
        for video, start, end in zip(videos, starts, ends, strict=True)
    ]


def checked(start_seconds: float | None, end_seconds: float | None) -> tuple[float | None, float | None]:
    """A stretch whose end lies behind its start. Raises `VideoReferenceError`."""
    if end_seconds is not None and end_seconds <= (start_seconds or 0.0):
        raise VideoReferenceError(f"a stretch from {start_seconds} to {end_seconds} s: the end must lie behind")
    return start_seconds, end_seconds


def time_of(value: Any) -> float | None:
    """A time in seconds: a number, or text like `12.5`, `01:30` and `1:00:00,250`; None for null and blank text.

    Raises `VideoReferenceError` where it is no time of a video.

    >>> [time_of(value) for value in (3, "12.5", "01:30", "1:00:00,250", " ", None)]
    [3.0, 12.5, 90.0, 3600.25, None, None]
    """
    if value is None:
        return None
    if isinstance(value, str):
        with suppress(ValueError):
            return seconds_of(value)
    elif (found := _number(value)) is not None:
        return found
    raise VideoReferenceError(f"{value!r} is no time in a video: expected seconds or a clock time")


def _of_part(part: Record) -> list[Video]:
    video = part_video(part)
    return [] if video is None else [video]


def _times(owner: Record, fields: Sequence[str], num_videos: int) -> list[float | None]:
    value = next((owner[name] for name in fields if owner.get(name) is not None), None)
    values = literal_list(value.strip()) if isinstance(value, str) and value.strip().startswith("[") else value
    if not isinstance(values, list | tuple):
        return [time_of(value)] * num_videos
    if len(values) != num_videos:
        raise VideoReferenceError(f"{len(values)} times for {num_videos} videos")
    return [time_of(one) for one in values]


def _mapping_videos(value: Mapping[str, Any], owner: Record) -> Iterator[Video]:
    if value.get("frames"):
        yield frame_list(_listed(value["frames"]), {**owner, **value})
        return
    for field in ("bytes", "url", "path", "video", "video_path", "video_url", "file"):
        found = list(value_videos(value.get(field), {**owner, **value}))
        if found:
            yield from with_times(found, value)
            return
    if any(held is not None for held in value.values()):
        raise VideoReferenceError(f"a video with the fields {', '.join(map(str, value))}: expected path, url or frames")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _is_picture(value: Any) -> bool:
    return isinstance(value, str) and _PICTURE.search(value.strip()) is not None


def _named(text: str) -> str:
    return next(value_references(text)).name if text[:5].lower() == "data:" else plain_name(text)


def plain_name(text: str) -> str:
    """A path or URL without what does not tell files apart: `file://` and `./`."""
    if text[:7].lower() == "file://":
        text = unquote(text[7:].removeprefix("localhost"))
    return text.removeprefix("./") or text


def _number(value: Any) -> float | None:
    """A number that is neither negative nor infinite; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) and number >= 0 else None
