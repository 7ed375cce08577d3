"""Samples of four kinds (captioned pictures and clips, plain texts, conversations), and how each becomes tokens.

A sample has its text, and where its pictures and frames lie; `sample_sources.py` reads samples from artifacts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from neo_model.inputs.conversation import (
    VIDEO_PLACEHOLDER,
    ConversationError,
    EncodedDocument,
    encode_caption,
    encode_captioned,
    encode_conversation,
    encode_text,
)
from neo_model.inputs.video_text import ClipText, VideoStyle, clip_lines, media_of, write_out_clips
from stages.formats.clips import Clip
from stages.formats.pairs import Pair, StoredImage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tokenizers import Tokenizer


class ShownImage(NamedTuple):
    """A picture or a frame of a sample: an image of the model's input."""

    image: StoredImage
    """Where it lies."""
    width_px: int
    """Its width, upright, in pixels."""
    height_px: int
    """Its height, upright, in pixels."""


@dataclass(slots=True)
class Sample(ABC):
    """One kept sample. Not frozen: a draw makes one for each sample of its sources, and freezing doubles the cost."""

    sample_id: bytes
    """Sample id, 16 bytes."""
    texts: tuple[str, ...]
    """Text of the sample: its caption, its document, or the contents of its messages in order."""
    pictures: tuple[Pair, ...]
    """Pictures in the order in which the text refers to them."""
    clips: tuple[Clip, ...] = field(default=(), kw_only=True)
    """Clips in the order in which the text refers to them."""

    @property
    def images(self) -> tuple[ShownImage, ...]:
        """Pictures and frames in the order in which the text refers to them.

        Raises `ConversationError` where the text refers to more or fewer.
        """
        return (*map(_picture_of, self.pictures), *(frame for clip in self.clips for frame in _frames_of(clip)))

    @property
    def num_frames(self) -> int:
        """Frames of all its clips."""
        return sum(len(clip.frames) for clip in self.clips)

    def with_frames(self, numbers: Sequence[Sequence[int]]) -> Self:
        """The sample with some frames of its clips alone: `numbers` of those of each clip, counted from 0."""
        return replace(self, clips=tuple(clip.taking(ones) for clip, ones in zip(self.clips, numbers, strict=True)))

    @property
    def text(self) -> str:
        """All text, the messages of a conversation a line each."""
        return "\n".join(self.texts)

    @property
    def num_text_bytes(self) -> int:
        """Length of all text in UTF-8, in bytes."""
        return sum(len(text.encode()) for text in self.texts)

    @abstractmethod
    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """Token ids and supervision; `image_token_counts` holds the tokens of each of `images`.

        Raises `ConversationError` where text and images do not match.
        """


@dataclass(slots=True)
class CaptionedPicture(Sample):
    """A picture and its caption."""

    @classmethod
    def of(cls, pair: Pair) -> CaptionedPicture:
        """The sample of a kept pair."""
        return cls(pair.sample_id, (pair.caption,), (pair,))

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The picture, then its caption, of which all tokens are supervised."""
        return encode_caption(tokenizer, self.text, image_token_counts)


@dataclass(slots=True)
class CaptionedClip(Sample):
    """A clip and its caption."""

    @classmethod
    def of(cls, clip: Clip) -> CaptionedClip:
        """The sample of a kept clip."""
        return cls(clip.sample_id, (clip.caption,), (), clips=(clip,))

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The frames with their times, then the caption, of which all tokens are supervised."""
        (clip,) = self.clips
        lines = clip_lines(clip.frame_times, clip.duration_seconds)
        return encode_captioned(tokenizer, lines, self.text, image_token_counts)


@dataclass(slots=True)
class PlainText(Sample):
    """Text alone: the only kind of sample that packing may cut into pieces."""

    @classmethod
    def of(cls, sample_id: bytes, text: str) -> PlainText:
        """The sample of a document."""
        return cls(sample_id, (text,), ())

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The text, of which all tokens but the first are supervised."""
        assert not image_token_counts
        return encode_text(tokenizer, self.text)


@dataclass(slots=True)
class Chat(Sample):
    """Turns of a conversation, with placeholders for its pictures and clips."""

    messages: tuple[Mapping[str, Any], ...]
    """Messages as they are stored: `role`, `content` and, where they have them, `supervised`, `image_tags`,
    `video_tags`."""
    video_style: VideoStyle = "timestamps"
    """How its clips are written as text."""

    @classmethod
    def of(
        cls,
        sample_id: bytes,
        messages: Sequence[Mapping[str, Any]],
        pictures: Sequence[Pair],
        clips: Sequence[Clip] = (),
        video_style: VideoStyle | None = None,
    ) -> Chat:
        """The sample of a conversation; `video_style` None is the default."""
        texts = tuple(message["content"] for message in messages)
        style = video_style or "timestamps"
        return cls(sample_id, texts, tuple(pictures), tuple(messages), style, clips=tuple(clips))

    @property
    def images(self) -> tuple[ShownImage, ...]:
        """Pictures and frames in the order in which their placeholders stand."""
        if not self.clips:
            return tuple(map(_picture_of, self.pictures))
        pictures, clips = iter(self.pictures), iter(self.clips)
        shown: list[ShownImage] = []
        try:
            for placeholder in media_of(self.messages):
                is_clip = placeholder == VIDEO_PLACEHOLDER
                shown += _frames_of(next(clips)) if is_clip else (_picture_of(next(pictures)),)
        except StopIteration as error:
            raise ConversationError("there are more placeholders than pictures and clips") from error
        if next(pictures, None) is not None or next(clips, None) is not None:
            raise ConversationError("there are fewer placeholders than pictures and clips")
        return tuple(shown)

    def encode(self, tokenizer: Tokenizer, image_token_counts: Sequence[int]) -> EncodedDocument:
        """The conversation in the template of the model; supervised are the assistant's turns, unless one says not."""
        messages: Sequence[Mapping[str, Any]] = self.messages
        if self.clips:
            texts = [ClipText(clip.frame_times, clip.duration_seconds) for clip in self.clips]
            messages = write_out_clips(messages, texts, self.video_style)
        return encode_conversation(tokenizer, messages, image_token_counts)


def _picture_of(pair: Pair) -> ShownImage:
    return ShownImage(pair.image, pair.width_px, pair.height_px)


def _frames_of(clip: Clip) -> Iterator[ShownImage]:
    return (ShownImage(frame, clip.width_px, clip.height_px) for frame in clip.frames)
