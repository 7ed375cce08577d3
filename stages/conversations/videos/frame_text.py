"""Writes a video that a record gives as its frames: pictures, each on the line that says when it is shown.

The strings are those of clips (`neo_model/inputs/video_text.py`). The line about the length of the video is written
where the record tells the length; without times of frames there is none to tell, and frames are bare or numbered.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from neo_model.inputs.video_text import VideoStyle, clip_lines
from stages.conversations.image_references import ImageReference, Record
from stages.conversations.turns import PictureHere, Piece, Turn, VideoHere
from stages.conversations.videos.references import FrameList, frame_times_of, time_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def frames_written_out(turn: Turn, style: VideoStyle) -> Turn:
    """The turn with pictures and their lines in place of each video that is given as frames."""
    if not any(isinstance(piece, VideoHere) and isinstance(piece.reference, FrameList) for piece in turn.pieces):
        return turn
    pieces: list[Piece] = []
    after_frames = False
    for piece in turn.pieces:
        if isinstance(piece, VideoHere) and isinstance(piece.reference, FrameList):
            if pieces and not piece.is_tag and not after_frames:
                pieces.append("\n")
            pieces += _pieces_of(piece.reference, style)
            after_frames = True
            continue
        # The last line of the frames ends in a line break: `<video>\nWhy?` needs no second one.
        pieces.append(piece.removeprefix("\n") if isinstance(piece, str) and after_frames else piece)
        after_frames = False
    return replace(turn, pieces=tuple(_joined(pieces)))


def frame_lines(
    times: Sequence[float] | None, num_frames: int, duration_seconds: float | None, style: VideoStyle
) -> str:
    """The text of a video of so many frames, with an `<image>` for each.

    >>> frame_lines((0.0, 0.5), 2, None, "timestamps")
    '[00:00.00]:<image>\\n[00:00.50]:<image>\\n'
    >>> frame_lines(None, 2, None, "spatial")
    'Frame-1: <image>\\nFrame-2: <image>\\n'
    """
    if times is None:
        return clip_lines([0.0] * num_frames, 0.0, "numbered" if style in ("spatial", "numbered") else "bare")
    text = clip_lines(times, duration_seconds or 0.0, style)
    has_prefix = style in ("timestamps", "spatial") and duration_seconds is None
    return text.partition("\n")[2] if has_prefix else text


def pictures_as_frames(
    record: Record, turns: Sequence[Turn], pictures: Sequence[ImageReference]
) -> tuple[list[Turn], FrameList | None]:
    """The turns and the video where all pictures of a record's fields are the frames of one; else the turns as given.

    They are where the record says when each is shown, and their places in the text stand together or there are none;
    and where one `<video>` is the only place in the text (SPAR-7M's videos, as its loader reads them). Where text
    stands between places, pictures stay pictures, because that text already tells what each is.
    """
    if len(pictures) < 2 or any(turn.has_media for turn in turns):
        return list(turns), None
    tags = [_text(turn) for turn in turns if turn.role == "user"]
    times = frame_times_of(record, len(pictures))
    if times is None and not any(VIDEO_PLACEHOLDER in text for text in tags):
        return list(turns), None
    num_images, num_videos = (sum(text.count(one) for text in tags) for one in (IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER))
    duration = time_of(record.get("duration")) if times else None
    video = FrameList(tuple(pictures), times, duration)
    if num_images == 0 and (num_videos == 1 or (times is not None and num_videos == 0)):
        return list(turns), video
    run = re.compile(rf"{IMAGE_PLACEHOLDER}(?:\s*{IMAGE_PLACEHOLDER}){{{len(pictures) - 1}}}")
    if times is None or num_images != len(pictures) or num_videos or not any(map(run.search, tags)):
        return list(turns), None
    return [_with_one_place(turn, run) if turn.role == "user" else turn for turn in turns], video


def _with_one_place(turn: Turn, run: re.Pattern[str]) -> Turn:
    """The turn with `<video>` instead of the places that stand together."""
    pieces = (run.sub(VIDEO_PLACEHOLDER, piece) if isinstance(piece, str) else piece for piece in turn.pieces)
    return replace(turn, pieces=tuple(pieces))


def _text(turn: Turn) -> str:
    return "".join(piece for piece in turn.pieces if isinstance(piece, str))


def _pieces_of(video: FrameList, style: VideoStyle) -> Iterator[Piece]:
    text = frame_lines(video.times, len(video.frames), video.duration_seconds, style)
    before, *after = text.split(IMAGE_PLACEHOLDER)
    yield before
    for frame, behind in zip(video.frames, after, strict=True):
        yield PictureHere(frame, is_tag=True)
        yield behind


def _joined(pieces: Sequence[Piece]) -> Iterator[Piece]:
    """The pieces, texts that follow each other as one, and empty ones left out."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        text = ""
        yield piece
    if text:
        yield text
