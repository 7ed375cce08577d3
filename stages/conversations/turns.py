"""Reads the turns of one record: who speaks, text, pictures and videos in order, and whether it is learned from.

Owns the names that people give to roles, the kinds of parts in a message, and the flags of a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from stages.conversations.dialects import Dialect
from stages.conversations.image_references import ImageReference, ImageReferenceError, Record, listed, part_reference
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.videos.references import Video, VideoReferenceError, part_video
from stages.origins.clean_text import TextEncodingError, clean_text

ROLE_NAMES: Final = {
    "system": ("system", "developer", "context"),
    "user": ("user", "human", "usr", "question", "prompter"),
    "assistant": ("assistant", "gpt", "chatgpt", "model", "bot", "ai", "answer", "bing", "bard", "claude"),
    "tool": ("tool", "tools", "function", "function_call", "function_response", "observation", "ipython", "tool_call",
             "tool_response"),
}  # fmt: skip
"""Role to what people call it, in lower case."""
PART_KINDS: Final = {
    "text": ("text", "input_text", "output_text"),
    "image": ("image", "image_url", "input_image"),
    "video": ("video", "video_url", "input_video"),
    "audio": ("audio", "audio_url", "input_audio"),
    "tool": ("tool_use", "tool_result", "tool_call"),
}
"""Kind of a part to what its field `type` says."""
FLAGS: Final = {"is_input": False, "weight": True, "loss": True, "train": True, "supervised": True}
"""Field of a turn that says whether it is learned from, and what its yes means: `is_input: true` means not."""

_ROLE_OF: Final = {name: role for role, names in ROLE_NAMES.items() for name in names}
_KIND_OF: Final = {name: kind for kind, names in PART_KINDS.items() for name in names}
_TRUTHS: Final = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


@dataclass(frozen=True, slots=True)
class PictureHere:
    """A picture's place inside a message."""

    reference: ImageReference | None
    """The picture, or None where the record's own fields hold it."""
    is_tag: bool = False
    """Whether it is an `<image>` in a text, which stays where it stands; other pictures get a line of their own."""


@dataclass(frozen=True, slots=True)
class VideoHere:
    """A video's place inside a message."""

    reference: Video | None
    """The video, or None where the record's own fields hold it."""
    is_tag: bool = False
    """Whether it is a tag in a text, which stays where it stands; other videos get a line of their own."""


Piece: TypeAlias = str | PictureHere | VideoHere
"""Cleaned text, or the place of a picture or a video."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation."""

    role: str
    """Who speaks: system, user or assistant."""
    pieces: tuple[Piece, ...]
    """Text and places of pictures and videos in order; no two texts follow each other."""
    supervised: bool | None = None
    """Whether training learns from it; None leaves that to the role."""

    @property
    def has_media(self) -> bool:
        """Whether a part of it is a picture or a video."""
        return not all(isinstance(piece, str) for piece in self.pieces)

    @property
    def is_empty(self) -> bool:
        """Whether it has neither text nor picture nor video."""
        return not any(self.pieces)


def _holds(value: object) -> bool:
    """Whether a field holds something: some kits write "[]" as text where there is nothing."""
    return bool(value) and not (isinstance(value, str) and value.strip() in ("", "[]", "{}", "null", "None"))


def read_turns(record: Record, dialect: Dialect, *, max_chars: int) -> list[Turn]:
    """The turns of a record, without empty system messages.

    Raises `UnreadableRecordError` with the reason why the record has none that can be used.
    """
    messages = listed(record.get("messages"))
    if not messages or not all(isinstance(message, Mapping) for message in messages):
        raise UnreadableRecordError(ConversationReason.SCHEMA)
    messages = dialect.turns_of(messages)
    if any(_holds(record.get(field)) for field in ("tools", "functions")):
        raise UnreadableRecordError(ConversationReason.TOOL_TURN)
    if any(_holds(record.get(field)) for field in ("audio", "audios")):
        raise UnreadableRecordError(ConversationReason.AUDIO)
    if _num_chars(messages, dialect) > max_chars:
        raise UnreadableRecordError(ConversationReason.TOO_LONG)
    system = record.get("system")
    opening = [Turn("system", _pieces(system))] if isinstance(system, str) else []
    turns = [*opening, *(read_turn(message, dialect) for message in messages)]
    turns = [turn for turn in turns if turn.role != "system" or not turn.is_empty]
    check_roles([turn.role for turn in turns])
    return turns


def read_turn(message: Record, dialect: Dialect) -> Turn:
    """One turn. Raises `UnreadableRecordError`."""
    name, content = message.get(dialect.role), message.get(dialect.text)
    if not isinstance(name, str):
        raise UnreadableRecordError(ConversationReason.SCHEMA)
    role = _ROLE_OF.get(name.strip().lower())
    if role == "tool" or any(message.get(field) for field in ("tool_calls", "function_call", "tool_call_id")):
        raise UnreadableRecordError(ConversationReason.TOOL_TURN)
    if role is None:
        raise UnreadableRecordError(ConversationReason.ROLES)
    if role == "system" and content is None:
        return Turn(role, ())
    return Turn(role, _pieces(content), is_supervised(message) if role == "assistant" else None)


def is_supervised(message: Record) -> bool | None:
    """What the flags of a turn say of whether it is learned from: one no is enough; None where there are no flags.

    Raises `UnreadableRecordError` where a flag is neither yes nor no, such as a weight of 0.5.
    """
    said = {name: _truth(message[name]) for name in FLAGS if message.get(name) is not None}
    return all(said[name] == FLAGS[name] for name in said) if said else None


def check_roles(roles: Sequence[str]) -> None:
    """Raise `UnreadableRecordError` unless a user speaks, an assistant answers, and the system speaks first if at all.

    Turns of one role may follow each other, and an assistant may speak first, as in ShareGPT's cut conversations.
    """
    first_turn = next((number for number, role in enumerate(roles) if role != "system"), len(roles))
    if "user" not in roles or "assistant" not in roles[roles.index("user") :] or "system" in roles[first_turn:]:
        raise UnreadableRecordError(ConversationReason.ROLES)


def learned_turns(turns: Sequence[Turn]) -> list[Turn]:
    """The turns up to the last of the assistant: nothing after it is learned from.

    An assistant's turn before the first of the user is kept as what the user saw, and not learned from.
    """
    roles = [turn.role for turn in turns]
    asked, end = roles.index("user"), len(roles) - roles[::-1].index("assistant")
    return [
        replace(turn, supervised=turn.supervised or False) if number < asked and turn.role == "assistant" else turn
        for number, turn in enumerate(turns[:end])
    ]


def _pieces(content: Any) -> tuple[Piece, ...]:
    """The pieces of a message's content: text, or a list of parts."""
    if isinstance(content, str):
        parts: Iterable[Any] = [content]
    elif isinstance(content, list | tuple):
        parts = content
    elif isinstance(content, Mapping):
        parts = [content]
    else:
        raise UnreadableRecordError(ConversationReason.SCHEMA)
    return tuple(_merged(map(_piece, parts)))


def _piece(part: Any) -> Piece:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise UnreadableRecordError(ConversationReason.SCHEMA)
    kind = part.get("type") or next((name for name in _KIND_OF if part.get(name) is not None), None)
    match _KIND_OF.get(kind) if isinstance(kind, str) else None:
        case "text":
            if not isinstance(part.get("text"), str):
                raise UnreadableRecordError(ConversationReason.SCHEMA)
            return str(part["text"])
        case "image":
            try:
                return PictureHere(part_reference(part))
            except ImageReferenceError as error:
                raise UnreadableRecordError(ConversationReason.IMAGE_REFERENCE) from error
        case "video":
            try:
                return VideoHere(part_video(part))
            except VideoReferenceError as error:
                raise UnreadableRecordError(ConversationReason.VIDEO_REFERENCE) from error
            except ImageReferenceError as error:
                raise UnreadableRecordError(ConversationReason.IMAGE_REFERENCE) from error
        case "audio":
            raise UnreadableRecordError(ConversationReason.AUDIO)
        case "tool":
            raise UnreadableRecordError(ConversationReason.TOOL_TURN)
        case _:
            raise UnreadableRecordError(ConversationReason.PART_KIND)


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The pieces, texts that follow each other joined, cleaned, and left out where nothing is left of them."""
    texts: list[str] = []
    for piece in [*pieces, None]:
        if isinstance(piece, str):
            texts.append(piece)
            continue
        try:
            text = clean_text("".join(texts))
        except TextEncodingError as error:
            raise UnreadableRecordError(ConversationReason.ENCODING) from error
        texts.clear()
        if text:
            yield text
        if piece is not None:
            yield piece


def _num_chars(messages: Iterable[Record], dialect: Dialect) -> int:
    """Characters of all texts, counted before anything is done with them."""
    contents = [message.get(dialect.text) for message in messages]
    parts = [part for content in contents for part in (content if isinstance(content, list | tuple) else [content])]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return sum(len(text) for text in texts if isinstance(text, str))


def _truth(value: Any) -> bool:
    truth = _TRUTHS.get(str(value).strip().lower())
    if truth is None:
        raise UnreadableRecordError(ConversationReason.TURN_WEIGHT)
    return truth
