"""How a clip, or several images, are written as text around `<image>` placeholders: the strings of NEO-ov.

A frame is an image whose place is named by text. The strings are those of the authors' evaluation kit, character for
character, as the released weights are asked with them:

    timestamps  The time range of this video is [00:00-00:08], and the following is a series of 2 frames sampled at 0.2 FPS.
                [00:02.67]:<image>
                [00:05.33]:<image>
    bare        <image>                              (MVBench: frames without times)
    spatial     the prefix of `timestamps`, then     Frame1 is at [00:02.67]:<image>
    numbered    Frame-1: <image>                     (spatial evaluation, which gives no times)

Each line ends in a line break, the last as well. Times are cut or rounded as the kit's formats do it: the end of the
range is cut to whole seconds, a frame's time is rounded to hundredths, without carrying: 59.999 seconds are `00:60.00`.
Minutes may exceed 59; there are no hours. The rate is the number of frames over the length, to one decimal.
Imports neither torch nor numpy.
"""  # noqa: E501 - the prefix is one line

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER, ConversationError, picture_tags

VideoStyle: TypeAlias = Literal["timestamps", "bare", "spatial", "numbered"]
"""How the frames of a clip are announced."""
ImagesFirst: TypeAlias = Literal["muirbench", "spatial"]
"""How images are listed where all of them come before the text."""
_PLACEHOLDER: Final = re.compile(f"{IMAGE_PLACEHOLDER}|{VIDEO_PLACEHOLDER}")


@dataclass(frozen=True, slots=True)
class ClipText:
    """What the text of a clip of n frames tells."""

    frame_times: Sequence[float]
    """[n] when each frame is shown, in seconds after the clip's start."""
    duration_seconds: float
    """Length of the clip, in seconds."""


def clip_lines(frame_times: Sequence[float], duration_seconds: float, style: VideoStyle = "timestamps") -> str:
    """The text of a clip, with an `<image>` for each frame; `frame_times` are in seconds after the clip's start.

    Raises `ValueError` for no frame, a negative time or a negative length.

    >>> clip_lines([0.0, 61.5], 3725.9)
    'The time range of this video is [00:00-62:05], and the following is a series of 2 frames sampled at 0.0 FPS.\\n\
[00:00.00]:<image>\\n[01:01.50]:<image>\\n'
    >>> clip_lines([0.0, 1.0], 2.0, "bare")
    '<image>\\n<image>\\n'
    """
    if not frame_times or min(frame_times) < 0 or duration_seconds < 0:
        raise ValueError(f"frames at {list(frame_times)} of {duration_seconds} s: at least one, none negative")
    if style == "bare":
        return f"{IMAGE_PLACEHOLDER}\n" * len(frame_times)
    if style == "numbered":
        return _numbered(len(frame_times), "Frame")
    prefix = clip_prefix(len(frame_times), duration_seconds)
    names = (f"Frame{number} is at " if style == "spatial" else "" for number in range(1, len(frame_times) + 1))
    lines = (f"{name}[{frame_time(time)}]:{IMAGE_PLACEHOLDER}\n" for name, time in zip(names, frame_times, strict=True))
    return prefix + "".join(lines)


def clip_prefix(num_frames: int, duration_seconds: float) -> str:
    """The line that tells length, number of frames and rate; without the rate where the length is 0.

    >>> clip_prefix(8, 16.0)
    'The time range of this video is [00:00-00:16], and the following is a series of 8 frames sampled at 0.5 FPS.\\n'
    """
    minutes, seconds = divmod(int(duration_seconds), 60)
    rate = f" sampled at {round(num_frames / duration_seconds, 1)} FPS" if duration_seconds > 0 else ""
    told = f"The time range of this video is [00:00-{minutes:02d}:{seconds:02d}], and the following is a series of "
    return f"{told}{num_frames} frames{rate}.\n"


def frame_time(seconds: float) -> str:
    """A time as minutes and seconds to hundredths.

    >>> frame_time(3671.25), frame_time(59.994), frame_time(59.999)
    ('61:11.25', '00:59.99', '00:60.00')
    """
    return f"{int(seconds // 60):02d}:{seconds % 60:05.2f}"


def write_out_clips(
    messages: Sequence[Mapping[str, Any]], clips: Sequence[ClipText], style: VideoStyle = "timestamps"
) -> list[dict[str, Any]]:
    """The messages with the text of a clip in place of each `<video>`, in order.

    A message may list which `<video>` of its content are clips (`video_tags`, counted from 0), as `image_tags` lists
    which `<image>` are pictures; the others are text, and all are meant where there is no list. `image_tags` is
    computed again, because the frames of a clip are pictures. A line break that follows `<video>` directly is the one
    that ends the last frame's line: `<video>\\nWhy?` and `<video>Why?` are the same text.
    Raises ConversationError where placeholders and clips differ in number.
    """
    num_placeholders = sum(found == VIDEO_PLACEHOLDER for found in media_of(messages))
    if num_placeholders != len(clips):
        raise ConversationError(f"{num_placeholders} {VIDEO_PLACEHOLDER} placeholders for {len(clips)} clips")
    texts = (clip_lines(clip.frame_times, clip.duration_seconds, style) for clip in clips)
    return [_written_out(message, texts) for message in messages]


def media_of(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """The placeholders of all pictures and clips, in the order in which they stand: `<image>` or `<video>` each."""
    for message in messages:
        yield from (piece for piece, is_medium in _pieces(message) if is_medium)


def images_first(message: Mapping[str, Any], form: ImagesFirst) -> dict[str, Any]:
    """A message of n pictures with all of them before its text, which names them where they stood.

    `muirbench`: lines `<Image-1>: <image>`, and `<Image-1>` in the text. `spatial`: lines `Image-1: <image>`, and
    `<Image-1>` in the text, except where all pictures stand together: there the text names none. A single picture of
    form `spatial` is `<image>` and a line break before the text.
    """
    lead, text, number = "", "", 0
    for piece, is_medium in _pieces(message):
        if is_medium and piece == VIDEO_PLACEHOLDER:
            raise ConversationError(f"{VIDEO_PLACEHOLDER} in a message whose images come first: write it out before")
        if is_medium:
            number += 1
            text += f"<Image-{number}>"
        else:
            text += piece
    if form == "muirbench":
        lead = "".join(f"<Image-{one}>: {IMAGE_PLACEHOLDER}\n" for one in range(1, number + 1))
    else:
        lead = f"{IMAGE_PLACEHOLDER}\n" if number == 1 else _numbered(number, "Image")
        text = text.replace("".join(f"<Image-{one}>" for one in range(1, number + 1)), "") if number else text
    return {**message, "content": lead + text, "image_tags": list(range(number))}


def _numbered(num_images: int, noun: str) -> str:
    return "".join(f"{noun}-{number}: {IMAGE_PLACEHOLDER}\n" for number in range(1, num_images + 1))


def _written_out(message: Mapping[str, Any], texts: Iterator[str]) -> dict[str, Any]:
    """One message with the next texts in place of its clips; unchanged, but for `video_tags`, where it has none."""
    rest = {key: value for key, value in message.items() if key != "video_tags"}
    pieces = list(_pieces(message))
    if (VIDEO_PLACEHOLDER, True) not in pieces:
        return rest
    content, num_tags, after_clip = "", 0, False
    tags: list[int] = []
    for piece, is_medium in pieces:
        is_clip = is_medium and piece == VIDEO_PLACEHOLDER
        text = next(texts) if is_clip else piece.removeprefix("\n") if after_clip and not is_medium else piece
        until = num_tags + text.count(IMAGE_PLACEHOLDER)
        tags += range(num_tags, until) if is_medium else ()
        content, num_tags = content + text, until
        after_clip = is_clip
    return {**rest, "content": content, "image_tags": tags}


def _pieces(message: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The content in pieces: text, False; or a placeholder, True. Text that spells a placeholder is text.

    `a<image>b<video>` with `video_tags` [] is ("a", False), ("<image>", True), ("b<video>", False).
    """
    tags = {IMAGE_PLACEHOLDER: picture_tags(message), VIDEO_PLACEHOLDER: _clip_tags(message)}
    seen = dict.fromkeys(tags, 0)
    content, start = message["content"], 0
    for match in _PLACEHOLDER.finditer(content):
        found = match[0]
        if seen[found] in tags[found]:
            if match.start() > start:
                yield content[start : match.start()], False
            yield found, True
            start = match.end()
        seen[found] += 1
    if start < len(content):
        yield content[start:], False


def _clip_tags(message: Mapping[str, Any]) -> set[int]:
    """Which `<video>` of a message's content are clips, counted from 0: all, unless the message lists them."""
    tags = message.get("video_tags")
    return set(range(message["content"].count(VIDEO_PLACEHOLDER)) if tags is None else tags)
