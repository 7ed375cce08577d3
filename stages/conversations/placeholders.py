"""Decides which `<image>` and `<video>` in the text of a conversation are pictures and videos, and writes its messages.

Owns the rule that text which spells a placeholder where there is no picture stays text. A stored message says which of
the placeholders in its content are pictures or clips where not all of them are. Three spellings of places are known:

    <image>, <video>   one for each picture or video, in order, mixed as the record pleases
    <image> alone      in a record with videos and no pictures: it stands for a video (LLaVA-Video-178K, VSI-590K)
    <image 2>          the second picture, named again wherever it is shown again (MMMU)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER
from neo_model.inputs.video_text import VideoStyle
from stages.conversations.image_references import ImageReference
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.spatial.cameras import CameraField
from stages.conversations.turns import PictureHere, Piece, Turn, VideoHere
from stages.conversations.videos.frame_text import frames_written_out
from stages.conversations.videos.references import FrameList, Video

_NUMBERED: Final = re.compile(r"<image[ _](\d{1,2})>")
_CLOSED_VIDEO: Final = "</video"
_PLACEHOLDERS: Final = {PictureHere: IMAGE_PLACEHOLDER, VideoHere: VIDEO_PLACEHOLDER}


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """One message as it is stored."""

    role: str
    """Who speaks: system, user or assistant."""
    content: str
    """Its text; a picture is an `<image>` in it, a clip a `<video>`."""
    supervised: bool | None = None
    """Whether training learns from it; None leaves that to the role."""
    image_tags: tuple[int, ...] | None = None
    """Which `<image>` of the content are pictures, counted from 0; None where all are."""
    video_tags: tuple[int, ...] | None = None
    """Which `<video>` of the content are clips, counted from 0; None where all are."""

    @property
    def num_images(self) -> int:
        """Pictures in the content."""
        return self.content.count(IMAGE_PLACEHOLDER) if self.image_tags is None else len(self.image_tags)


@dataclass(frozen=True, kw_only=True)
class PlacingRule:
    """What is done where a record leaves open how its pictures and videos, and what is known of them, become text."""

    video_style: VideoStyle = "timestamps"
    """How videos that are given as their frames are written out."""
    untagged_first: bool = False
    """Whether several pictures without any place stand before the first question, a line each, or rule the record out.
    """
    cameras: tuple[CameraField, ...] = ()
    """What of its cameras is written before the first question, whether a text refers to it or not."""


PLAIN_RULE: Final = PlacingRule()
"""The rule of a recipe that says nothing else."""


def place_pictures(turns: Sequence[Turn], held: Sequence[ImageReference]) -> list[Turn]:
    """`place_media` of a record without videos."""
    return place_media(turns, held, ())


def place_media(
    turns: Sequence[Turn], pictures: Sequence[ImageReference], videos: Sequence[Video], rule: PlacingRule = PLAIN_RULE
) -> list[Turn]:
    """The turns with every picture and video as a piece that knows its reference.

    `pictures` and `videos` are those of the record's fields. Videos that are given as frames are written out as
    pictures. Raises `UnreadableRecordError` where places and pictures do not match.
    """
    if not any(turn.has_media for turn in turns):
        if pictures and any(map(_numbered, turns)) and not _num_tags(turns, IMAGE_PLACEHOLDER):
            turns, pictures = _numbered_as_pictures(turns, pictures), ()
        turns = _tags_as_media(turns, len(pictures), len(videos), rule)
    return [frames_written_out(turn, rule.video_style) for turn in _resolved(turns, pictures, videos)]


def message_of(turn: Turn) -> StoredMessage:
    """The message of a turn: pictures and clips as placeholders, on lines of their own unless a text has them
    elsewhere."""
    if len(turn.pieces) == 1 and isinstance(turn.pieces[0], str):
        text = turn.pieces[0]
        image_tags, video_tags = (() if one in text else None for one in (IMAGE_PLACEHOLDER, VIDEO_PLACEHOLDER))
        return StoredMessage(turn.role, text, turn.supervised, image_tags, video_tags)
    content = ""
    tags: dict[str, list[int]] = {IMAGE_PLACEHOLDER: [], VIDEO_PLACEHOLDER: []}
    numbers = dict.fromkeys(tags, 0)
    for before, piece in zip([None, *turn.pieces], turn.pieces, strict=False):
        own_line = any(isinstance(one, PictureHere | VideoHere) and not one.is_tag for one in (before, piece))
        content += "\n" if before is not None and own_line else ""
        if isinstance(piece, str):
            content += piece
            numbers = {placeholder: number + piece.count(placeholder) for placeholder, number in numbers.items()}
        else:
            placeholder = _PLACEHOLDERS[type(piece)]
            content += placeholder
            tags[placeholder].append(numbers[placeholder])
            numbers[placeholder] += 1
    meant = (None if len(tags[one]) == numbers[one] else tuple(tags[one]) for one in tags)
    return StoredMessage(turn.role, content, turn.supervised, *meant)


def _resolved(turns: Sequence[Turn], pictures: Sequence[ImageReference], videos: Sequence[Video]) -> list[Turn]:
    """The turns with the reference of each picture and video: its own, or the next of the record's fields."""
    if any(turn.has_media for turn in turns if turn.role != "user"):
        raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
    waiting_pictures, waiting_videos = list(pictures), list(videos)
    own: list[ImageReference | Video] = []
    resolved: list[Turn] = []
    for turn in turns:
        pieces: list[Piece] = []
        for piece in turn.pieces:
            if isinstance(piece, str):
                pieces.append(piece)
            elif piece.reference is not None:
                own.append(piece.reference)
                pieces.append(piece)
            elif not (waiting_pictures if isinstance(piece, PictureHere) else waiting_videos):
                raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
            elif isinstance(piece, PictureHere):
                pieces.append(replace(piece, reference=waiting_pictures.pop(0)))
            else:
                pieces.append(replace(piece, reference=waiting_videos.pop(0)))
        resolved.append(replace(turn, pieces=tuple(pieces)))
    # A record may list the pictures and videos of its parts in a field once more.
    for waiting, kind in ((waiting_pictures, ImageReference), (waiting_videos, Video)):
        if waiting and [_names(one) for one in waiting] != [_names(one) for one in own if isinstance(one, kind)]:
            raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
    return resolved


def _names(reference: ImageReference | Video) -> list[str]:
    return [frame.name for frame in reference.frames] if isinstance(reference, FrameList) else [reference.name]


def _tags_as_media(turns: Sequence[Turn], num_pictures: int, num_videos: int, rule: PlacingRule) -> list[Turn]:
    """The turns with each placeholder that is a picture or a video as a piece of its own."""
    is_about_videos = num_videos and not num_pictures and not _num_tags(turns, VIDEO_PLACEHOLDER)
    if is_about_videos and _num_tags(turns, IMAGE_PLACEHOLDER):
        return _tags_as(VideoHere, IMAGE_PLACEHOLDER, turns, num_videos)
    if num_pictures > 1 and rule.untagged_first and not _num_tags(turns, IMAGE_PLACEHOLDER):
        turns = _led(turns, [PictureHere(None)] * num_pictures)
    else:
        turns = _tags_as(PictureHere, IMAGE_PLACEHOLDER, turns, num_pictures, may_lead=not num_videos)
    if not num_videos and (not _says(turns, VIDEO_PLACEHOLDER) or _says(turns, _CLOSED_VIDEO)):
        # Without videos, a `<video>` that is closed is talk about HTML, and no place that lost its video.
        return list(turns)
    return _tags_as(VideoHere, VIDEO_PLACEHOLDER, turns, num_videos, may_lead=not num_pictures)


def _tags_as(
    kind: type[PictureHere] | type[VideoHere], tag: str, turns: Sequence[Turn], number: int, *, may_lead: bool = True
) -> list[Turn]:
    """The turns with each `tag` that stands for a picture or video as a piece of its own; `number` is how many are.

    All tags of the user are meant where they are as many as `number`. Where they are more, those on lines of their own
    or at an end of a message are: `<image>\\nWhat does <image> mean?` has one picture. Where there is no picture, such
    a tag, but for one at the end of a sentence, says that one was lost. Without any tag, a single picture comes before
    the first turn of the user, where it `may_lead`.
    """
    asked = [(place, _text(turn)) for place, turn in enumerate(turns) if turn.role == "user"]
    places = {place: places_of(text, tag, at_end=number > 0) for place, text in asked}
    num_tags = sum(_text(turns[place]).count(tag) for place in places)
    others = sum(_text(turn).count(tag) for turn in turns if turn.role != "user")
    if num_tags == number > 0:
        return [_cut(kind, tag, turn, None) if place in places else turn for place, turn in enumerate(turns)]
    if num_tags == 0 and number == 1 and others == 0 and may_lead:
        return _led(turns, [kind(None)])
    if sum(map(len, places.values())) != number:
        raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
    return [_cut(kind, tag, turn, places[at]) if at in places else turn for at, turn in enumerate(turns)]


def places_of(text: str, tag: str = IMAGE_PLACEHOLDER, *, at_end: bool = True) -> set[int]:
    """Which `tag` of a text, counted from 0, stand on lines of their own, at its beginning, or `at_end`.

    >>> places_of("<image>\nWhat does <image> mean?")
    {0}
    """
    num_tags = text.count(tag)
    if not num_tags:
        return set()
    words = text.replace(tag, f" {tag} ").split()
    first = next((number for number, word in enumerate(words) if word != tag), len(words))
    last = next((number for number, word in enumerate(reversed(words)) if word != tag), len(words))
    places = {*range(min(first, num_tags)), *(range(max(0, num_tags - last), num_tags) if at_end else ())}
    number = 0
    for line in text.split("\n"):
        here = line.count(tag)
        if here and not line.replace(tag, "").strip():
            places.update(range(number, number + here))
        number += here
    return places


def _num_tags(turns: Sequence[Turn], tag: str) -> int:
    return sum(_text(turn).count(tag) for turn in turns if turn.role == "user")


def _says(turns: Sequence[Turn], words: str) -> bool:
    return any(isinstance(piece, str) and words in piece for turn in turns for piece in turn.pieces)


def _numbered(turn: Turn) -> bool:
    return turn.role == "user" and any(isinstance(one, str) and _NUMBERED.search(one) for one in turn.pieces)


def _numbered_as_pictures(turns: Sequence[Turn], pictures: Sequence[ImageReference]) -> list[Turn]:
    """The turns with each `<image 2>` of the user as that picture; pictures that are never named stand first."""
    named: set[int] = set()
    cut: list[Turn] = []
    for turn in turns:
        if turn.role != "user":
            cut.append(turn)
            continue
        pieces: list[Piece] = []
        for place, text in enumerate(_NUMBERED.split(_text(turn))):
            if place % 2 == 0:
                pieces += [text] if text else []
            elif not 0 < int(text) <= len(pictures):
                raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
            else:
                named.add(int(text) - 1)
                pieces.append(PictureHere(pictures[int(text) - 1], is_tag=True))
        cut.append(replace(turn, pieces=tuple(pieces)))
    return _led(cut, [PictureHere(one) for number, one in enumerate(pictures) if number not in named])


def _led(turns: Sequence[Turn], media: Sequence[Piece]) -> list[Turn]:
    """The turns with these before the first of the user."""
    first = next(number for number, turn in enumerate(turns) if turn.role == "user")
    led = replace(turns[first], pieces=(*media, *turns[first].pieces))
    return [led if number == first else turn for number, turn in enumerate(turns)]


def _text(turn: Turn) -> str:
    if len(turn.pieces) == 1 and isinstance(turn.pieces[0], str):
        return turn.pieces[0]
    return "".join(piece for piece in turn.pieces if isinstance(piece, str))


def _cut(kind: type[PictureHere] | type[VideoHere], tag: str, turn: Turn, places: set[int] | None) -> Turn:
    """The turn with these tags of its texts, or all, as pieces of their own, and the text between them as it stands."""
    pieces: list[Piece] = []
    number = 0
    for piece in turn.pieces:
        if not isinstance(piece, str):
            pieces.append(piece)
            continue
        first, *texts = piece.split(tag)
        run: list[Piece] = [first]
        for text in texts:
            if places is None or number in places:
                run += [kind(None, is_tag=True), text]
            else:
                run[-1] = f"{run[-1]}{tag}{text}"
            number += 1
        pieces += [one for one in run if one]
    return replace(turn, pieces=tuple(pieces))
