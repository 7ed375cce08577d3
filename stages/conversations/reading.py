"""Reads one record of a conversation into the form that is stored, or the reason why it cannot be used.

Two steps, so that the pictures and clips of many records are looked up at once: `parse_record` needs the record alone
and names its pictures and videos, `finish` needs what was found of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from neo_model.inputs.video_text import VideoStyle
from stages.conversations.box_text import recorded_sizes, spell_in_turns
from stages.conversations.dialects import Dialect
from stages.conversations.image_references import ImageReference, ImageReferenceError, Record, field_references
from stages.conversations.names.clip_names import FoundClip
from stages.conversations.names.picture_names import FoundImage
from stages.conversations.placeholders import PLAIN_RULE, PlacingRule, StoredMessage, message_of, place_media
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.spatial.cameras import CameraField, with_cameras
from stages.conversations.spatial.marks import marked
from stages.conversations.turns import PictureHere, Turn, VideoHere, learned_turns, read_turns
from stages.conversations.videos.frame_text import pictures_as_frames
from stages.conversations.videos.references import FrameList, VideoReference, VideoReferenceError, field_videos
from stages.origins.clean_text import TextEncodingError, clean_text


@dataclass(frozen=True, kw_only=True)
class ReadingLimits:
    """How large a conversation may be."""

    max_chars: int
    """Longest conversation, in characters of all messages."""
    max_images: int
    """Most pictures in one conversation, without the frames of videos."""
    max_videos: int = 16
    """Most videos in one conversation."""
    max_frames: int = 256
    """Most frames of a video that is given as its frames."""


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A record that was read, whose pictures are not looked up yet."""

    record: Record
    """The record itself."""
    turns: tuple[Turn, ...]
    """Its turns, pictures and videos in place."""
    image_names: tuple[str, ...]
    """Names of its pictures, in order."""
    options: tuple[str, ...] | None = None
    """Texts of the options of a multiple-choice question, else None."""
    videos: tuple[VideoReference, ...] = ()
    """Its videos, in order, without those that are given as frames: these are pictures."""
    video_style: VideoStyle | None = None
    """How its videos are written out; None where it has none."""
    cameras: tuple[CameraField, ...] = ()
    """What of its cameras is written before its first question."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """The result of reading one row."""

    reason: ConversationReason | None
    """Why the conversation is not kept; None where it is."""
    messages: tuple[StoredMessage, ...] = ()
    """Its messages; empty where they could not be read."""
    image_ids: tuple[bytes, ...] = ()
    """Sample ids of the pictures, in order; empty where the conversation is not kept."""
    clip_ids: tuple[bytes, ...] = ()
    """Sample ids of the clips, in order of their `<video>`; empty where the conversation is not kept."""
    video_style: str | None = None
    """How its clips are written out; None where it has none."""
    kind: str | None = None
    """Kind of a question, else None."""
    answer: str | None = None
    """Right answer of a question, else None: the last turn of the assistant is."""
    options: tuple[str, ...] | None = None
    """Texts of the options A, B, ... of a multiple-choice question, else None."""
    record_id: str | None = None
    """What the record itself calls itself; None where it has no id."""
    missing_images: tuple[str, ...] | None = None
    """Names of its pictures that were not found, where that is why it is not kept."""
    missing_clips: tuple[str, ...] | None = None
    """Names of its videos of which no clip was found, where that is why it is not kept."""


def parse_record(
    record: Record, dialect: Dialect, limits: ReadingLimits, rule: PlacingRule = PLAIN_RULE
) -> ParsedRecord:
    """Read the turns of a record and name its pictures and videos. Raises `UnreadableRecordError`."""
    turns = read_turns(record, dialect, max_chars=limits.max_chars)
    return parsed(record, learned_turns(with_media(record, turns, limits, rule)), limits, rule=rule)


def with_media(record: Record, turns: Sequence[Turn], limits: ReadingLimits, rule: PlacingRule) -> list[Turn]:
    """The turns with the pictures and videos of the record in place. Raises `UnreadableRecordError`."""
    try:
        pictures, videos = field_references(record), field_videos(record)
        if not videos:
            turns, frames = pictures_as_frames(record, turns, pictures)
            pictures, videos = (pictures, []) if frames is None else ([], [frames])
    except ImageReferenceError as error:
        raise UnreadableRecordError(ConversationReason.IMAGE_REFERENCE) from error
    except VideoReferenceError as error:
        raise UnreadableRecordError(ConversationReason.VIDEO_REFERENCE) from error
    placed = [piece.reference for turn in turns for piece in turn.pieces if isinstance(piece, VideoHere)]
    lists = [video for video in (*videos, *placed) if isinstance(video, FrameList)]
    if any(len(video.frames) > limits.max_frames for video in lists):
        raise UnreadableRecordError(ConversationReason.TOO_MANY_FRAMES)
    num_pictures = len(pictures) + sum(isinstance(piece, PictureHere) for turn in turns for piece in turn.pieces)
    if num_pictures > limits.max_images:
        raise UnreadableRecordError(ConversationReason.TOO_MANY_IMAGES)
    if max(len(videos), len(placed)) > limits.max_videos:
        raise UnreadableRecordError(ConversationReason.TOO_MANY_VIDEOS)
    return place_media(turns, pictures, videos, rule)


def parsed(
    record: Record,
    turns: Sequence[Turn],
    limits: ReadingLimits,
    options: tuple[str, ...] | None = None,
    rule: PlacingRule = PLAIN_RULE,
) -> ParsedRecord:
    """A record with these turns, all pictures and videos in place.

    Raises `UnreadableRecordError` where a turn says nothing, or there are more pictures than even frames may be.
    """
    if any(turn.is_empty for turn in turns):
        raise UnreadableRecordError(ConversationReason.MESSAGE_EMPTY)
    references = [piece.reference for turn in turns for piece in turn.pieces if not isinstance(piece, str)]
    names = tuple(reference.name for reference in references if isinstance(reference, ImageReference))
    videos = tuple(reference for reference in references if isinstance(reference, VideoReference))
    if len(names) > limits.max_images + limits.max_videos * limits.max_frames:
        raise UnreadableRecordError(ConversationReason.TOO_MANY_IMAGES)
    style = rule.video_style if videos else None
    return ParsedRecord(record, tuple(turns), names, options, videos, style, rule.cameras)


def finish(
    read: ParsedRecord,
    found: Sequence[FoundImage | None],
    clips: Sequence[FoundClip | None] = (),
    *,
    is_trained_on: bool = True,
) -> Conversation:
    """The conversation of a record whose pictures were looked up: `found` are they, in order, None where one is not.

    `clips` are the clips of its videos, or why there are none; None for each where no clips were given to look among.
    `is_trained_on` asks for a turn that is learned from.
    """
    images = [image for image in found if image is not None]
    missing = tuple(name for name, image in zip(read.image_names, found, strict=True) if image is None)
    looked_up = list(zip(read.videos, clips or [None] * len(read.videos), strict=True))
    clip_ids = tuple(clip for _, clip in looked_up if isinstance(clip, bytes))
    without = tuple(video.name for video, clip in looked_up if not isinstance(clip, bytes))
    record_id = None if read.record.get("id") is None else str(read.record["id"])
    try:
        for _, clip in looked_up:
            if not isinstance(clip, bytes):
                raise UnreadableRecordError(clip or ConversationReason.VIDEO)
        if missing:
            raise UnreadableRecordError(ConversationReason.IMAGE_MISSING)
        given = recorded_sizes(read.record, len(images))
        sizes = [size or (image.width_px, image.height_px) for size, image in zip(given, images, strict=True)]
        turns = marked(spell_in_turns(read.turns, read.record, sizes), read.record, len(images))
        turns = with_cameras(turns, read.record, len(images), read.cameras)
        messages = tuple(map(message_of, turns))
        kind, answer = (_text(read.record.get(name)) for name in ("kind", "answer"))
        if is_trained_on and not any(turn.role == "assistant" and turn.supervised is not False for turn in messages):
            raise UnreadableRecordError(ConversationReason.NOTHING_SUPERVISED)
    except UnreadableRecordError as error:
        known = tuple(map(message_of, read.turns))
        return Conversation(
            error.reason,
            known,
            record_id=record_id,
            missing_images=missing or None,
            missing_clips=without or None,
        )
    return Conversation(
        None,
        messages,
        tuple(image.sample_id for image in images),
        clip_ids,
        read.video_style,
        kind=kind,
        answer=answer,
        options=read.options,
        record_id=record_id,
    )


def _text(value: Any) -> str | None:
    try:
        return None if value is None else clean_text(str(value))
    except TextEncodingError as error:
        raise UnreadableRecordError(ConversationReason.ENCODING) from error
