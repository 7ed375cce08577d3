"""Captions, texts and conversations to token ids: special tokens, ChatML, and the supervision mask.

Owns the fifteen tokens that NEO registers in spare rows after Qwen3's, and the three kinds of documents. Records are
never changed. Text that spells a special token stays text: structure is written by id, and all other text is
tokenised with special tokens switched off. Imports neither torch nor numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from neo_model.config_fields import shown
from neo_model.inputs.tokenizer_file import MAX_BLANK_RUN, TokenizerError, has_endless_blank, read_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

IMAGE_PLACEHOLDER: Final = "<image>"
"""Marks the position of a picture in the content of a message."""
VIDEO_PLACEHOLDER: Final = "<video>"
"""Marks the position of a clip in the content of a stored message; it is written out as lines of frames before it is
tokenised."""
IMAGE_CONTEXT: Final = "<IMG_CONTEXT>"
IMAGE_START: Final = "<img>"
IMAGE_END: Final = "</img>"
TURN_START: Final = "<|im_start|>"
TURN_END: Final = "<|im_end|>"
END_OF_TEXT: Final = "<|endoftext|>"

SPECIAL_TOKENS: Final = (
    IMAGE_CONTEXT, IMAGE_START, IMAGE_END,
    "<quad>", "</quad>", "<ref>", "</ref>", "<box>", "</box>",
    TURN_START, TURN_END,
    "<|action_start|>", "<|action_end|>", "<|plugin|>", "<|interpreter|>",
)  # fmt: skip
"""Registered in this order. Qwen3 has the two turn tokens already; the rest take its first spare rows."""

ROLES: Final = ("system", "user", "assistant")


class ConversationError(ValueError):
    """A conversation that cannot be rendered; the message gives the fault."""


@dataclass(frozen=True, kw_only=True)
class EncodedDocument:
    """One document as token ids."""

    token_ids: list[int]
    """[L] token ids; an image is `<img>`, one `<IMG_CONTEXT>` for each visual token, `</img>`."""
    supervised: list[bool]
    """[L] whether this token is a target of the loss."""
    image_starts: list[int]
    """Position of the first `<IMG_CONTEXT>` of each image."""


@dataclass(frozen=True, kw_only=True)
class SpecialIds:
    """Ids of the structural tokens in one tokenizer."""

    image_start: int
    image_context: int
    image_end: int
    turn_start: int
    turn_end: int
    end_of_text: int


def add_special_tokens(tokenizer: Tokenizer) -> None:
    """Register those of the fifteen tokens that `tokenizer` lacks, after its last id; other ids do not change."""
    from tokenizers import AddedToken

    known = tokenizer.get_vocab(with_added_tokens=True)
    missing = [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS if token not in known]
    tokenizer.add_special_tokens(missing)
    tokenizer.encode_special_tokens = True


def load_tokenizer(folder: Path, *, vocab_size: int | None = None) -> Tokenizer:
    """Read `folder/tokenizer.json` and register NEO's tokens. Special tokens in text stay text.

    Raises TokenizerError if the file is none of a known family, an id does not fit `vocab_size` rows or a structural
    token is missing.
    """
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise TokenizerError(f"{file} does not exist: save the tokenizer in its fast form, one tokenizer.json")
    tokenizer = read_tokenizer(file)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    add_special_tokens(tokenizer)
    special_ids(tokenizer)
    if vocab_size is not None:
        check_vocabulary(tokenizer, vocab_size)
    return tokenizer


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int) -> None:
    """Raise TokenizerError if the tokenizer has an id outside a model of `vocab_size` rows."""
    token, largest = max(tokenizer.get_vocab(with_added_tokens=True).items(), key=lambda entry: entry[1])
    if largest >= vocab_size:
        raise TokenizerError(
            f"token {shown(token)} has id {largest} and the model has {vocab_size} rows: use the tokenizer it was made "
            "with"
        )


def special_ids(tokenizer: Tokenizer) -> SpecialIds:
    """Look up the structural tokens. Raises TokenizerError naming the first that is missing."""

    def look_up(token: str) -> int:
        token_id: int | None = tokenizer.token_to_id(token)
        if token_id is None:
            raise TokenizerError(f"the tokenizer has no {token!r}: it is not a Qwen3 tokenizer with NEO's tokens")
        return token_id

    return SpecialIds(
        image_start=look_up(IMAGE_START),
        image_context=look_up(IMAGE_CONTEXT),
        image_end=look_up(IMAGE_END),
        turn_start=look_up(TURN_START),
        turn_end=look_up(TURN_END),
        end_of_text=look_up(END_OF_TEXT),
    )


def encode_conversation(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], image_token_counts: Sequence[int]
) -> EncodedDocument:
    """Render turns as ChatML: `<|im_start|>role\\ncontent<|im_end|>\\n`, an `<image>` for each count, in order.

    Supervised: the content of assistant turns and the `<|im_end|>\\n` that closes it, unless the message has
    `supervised: False`, or `is_input: True` as the released kit writes it. A message may list which `<image>` of its
    content are pictures (`image_tags`, counted from 0); the others, or all where the list is empty, are text.
    Raises ConversationError if placeholders and counts differ, or a message has no role or text.
    """
    _check_messages(messages, image_token_counts)
    writer = DocumentWriter(tokenizer, image_token_counts)
    for message in messages:
        is_learned = message.get("supervised") is not False and not message.get("is_input")
        writer.turn(message, supervised=message["role"] == "assistant" and is_learned)
    return writer.document()


def encode_prompt(
    tokenizer: Tokenizer, messages: Sequence[Mapping[str, Any]], image_token_counts: Sequence[int]
) -> EncodedDocument:
    """A conversation followed by the opening of the assistant's turn; nothing is supervised.

    Raises ConversationError as `encode_conversation` does.
    """
    _check_messages(messages, image_token_counts)
    writer = DocumentWriter(tokenizer, image_token_counts)
    for message in messages:
        writer.turn(message, supervised=False)
    writer.opening("assistant")
    return writer.document()


def encode_caption(tokenizer: Tokenizer, caption: str, image_token_counts: Sequence[int]) -> EncodedDocument:
    """A pre-training document: its images, then the caption and `<|endoftext|>`, both supervised."""
    writer = DocumentWriter(tokenizer, image_token_counts)
    for _ in image_token_counts:
        writer.image()
    writer.text(caption, supervised=True)
    writer.token(writer.ids.end_of_text, supervised=True)
    return writer.document()


def encode_captioned(
    tokenizer: Tokenizer, content: str, caption: str, image_token_counts: Sequence[int]
) -> EncodedDocument:
    """Text with an `<image>` for each count, such as a clip, then its caption and `<|endoftext|>`, both supervised.

    Nothing is supervised where the caption is empty: there is nothing to learn. Raises ConversationError where
    placeholders and counts differ.
    """
    message = {"role": "user", "content": content}
    _check_messages([message], image_token_counts)
    writer = DocumentWriter(tokenizer, image_token_counts)
    writer.content(message)
    writer.text(caption, supervised=True)
    writer.token(writer.ids.end_of_text, supervised=bool(caption))
    return writer.document()


def encode_text(tokenizer: Tokenizer, text: str) -> EncodedDocument:
    """Plain text and `<|endoftext|>`, all supervised but the first token, which nothing predicts."""
    writer = DocumentWriter(tokenizer, ())
    writer.text(text, supervised=True)
    writer.token(writer.ids.end_of_text, supervised=True)
    document = writer.document()
    document.supervised[0] = False
    return document


def _check_messages(messages: Sequence[Mapping[str, Any]], image_token_counts: Sequence[int]) -> None:
    num_placeholders = 0
    for number, message in enumerate(messages):
        if message.get("role") not in ROLES:
            raise ConversationError(f"message {number} has role {message.get('role')!r}: one of {', '.join(ROLES)}")
        if not isinstance(message.get("content"), str):
            raise ConversationError(f"message {number} has content {message.get('content')!r}: it must be text")
        num_tags, tags = message["content"].count(IMAGE_PLACEHOLDER), picture_tags(message)
        if tags - set(range(num_tags)):
            raise ConversationError(f"message {number} has {num_tags} {IMAGE_PLACEHOLDER}, not those of {sorted(tags)}")
        num_placeholders += len(tags)
    if num_placeholders != len(image_token_counts):
        raise ConversationError(
            f"{num_placeholders} {IMAGE_PLACEHOLDER} placeholders for {len(image_token_counts)} images"
        )


def picture_tags(message: Mapping[str, Any]) -> set[int]:
    """Which `<image>` of a message's content are pictures, counted from 0: all, unless the message lists them."""
    tags = message.get("image_tags")
    return set(range(message["content"].count(IMAGE_PLACEHOLDER)) if tags is None else tags)


class DocumentWriter:
    """Appends tokens, text, images and turns to one document."""

    def __init__(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> None:
        self.ids = special_ids(tokenizer)
        self._tokenizer = tokenizer
        self._counts = iter(image_token_counts)
        self._document = EncodedDocument(token_ids=[], supervised=[], image_starts=[])

    def token(self, token_id: int, *, supervised: bool = False) -> None:
        """Append one token, by id."""
        self._extend([token_id], supervised=supervised)

    def text(self, text: str, *, supervised: bool = False) -> None:
        """Append text. Special tokens that it spells out become ordinary pieces of text.

        Added tokens that a tokenizer does not call special, such as `<think>` of a Qwen3, are what it makes of them.
        Raises ConversationError for a run of white space that the patterns of tokenizers cannot match.
        """
        if has_endless_blank(text):
            raise ConversationError(
                f"a run of white space of more than {MAX_BLANK_RUN:,} characters, which no text has"
            )
        self._tokenizer.encode_special_tokens = True
        self._extend(self._tokenizer.encode(text, add_special_tokens=False).ids, supervised=supervised)

    def image(self) -> None:
        """Append the next image: `<img>`, its context tokens, `</img>`."""
        num_tokens = next(self._counts)
        if num_tokens < 1:
            raise ConversationError(f"an image of {num_tokens} tokens: every image has at least one")
        self.token(self.ids.image_start)
        self._document.image_starts.append(len(self._document.token_ids))
        self._extend([self.ids.image_context] * num_tokens, supervised=False)
        self.token(self.ids.image_end)

    def opening(self, role: str) -> None:
        """Begin a turn. The role is tokenised separately from the content, so that training and generation see the same
        ids."""
        self.token(self.ids.turn_start)
        self.text(f"{role}\n")

    def turn(self, message: Mapping[str, Any], *, supervised: bool) -> None:
        """One message between its structural tokens."""
        self.opening(message["role"])
        self.content(message, supervised=supervised)
        self.closing(supervised=supervised)

    def content(self, message: Mapping[str, Any], *, supervised: bool = False) -> None:
        """What a message says, tokenised between its pictures: an `<image>` that is none is part of the text."""
        tags, text = picture_tags(message), ""
        for number, piece in enumerate(message["content"].split(IMAGE_PLACEHOLDER), -1):
            if number in tags:
                self.text(text, supervised=supervised)
                self.image()
                text = piece
            else:
                text += piece if number < 0 else f"{IMAGE_PLACEHOLDER}{piece}"
        self.text(text, supervised=supervised)

    def closing(self, *, supervised: bool = False) -> None:
        """End a turn."""
        self.token(self.ids.turn_end, supervised=supervised)
        self.text("\n", supervised=supervised)

    def document(self) -> EncodedDocument:
        """All that was appended."""
        return self._document

    def _extend(self, token_ids: list[int], *, supervised: bool) -> None:
        self._document.token_ids.extend(token_ids)
        self._document.supervised.extend([supervised] * len(token_ids))
