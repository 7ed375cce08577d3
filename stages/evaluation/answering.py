"""Answers questions with a NEO checkpoint by greedy generation, with the images and clips of a question or with others.

Owns how a question becomes a prompt and a prompt an answer. There is no sampling, and no system prompt but that of the
question. A prompt that is too long for its limit shows fewer frames of its clips: each at most n, n the largest number
with which the prompt fits; with one frame each it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from neo_model.inputs.conversation import VIDEO_PLACEHOLDER, ConversationError, encode_prompt
from neo_model.inputs.video_text import media_of, write_out_clips
from stages.artifacts.kinds import Conversations
from stages.benchmarks.benchmark import PixelRange
from stages.benchmarks.video_sets import VIDEO_PIXELS
from stages.evaluation.blind_control import Media, frame_order
from stages.evaluation.media import MediaReader, ShownClip, UnusableMediumError
from stages.evaluation.questions import Question, QuestionTrouble
from stages.formats.clip_reader import clips_of
from stages.formats.pairs import pictures_of

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neo_model.config import NeoConfig
    from neo_model.generate import Prompt
    from neo_model.model import NeoModel
    from stages.evaluation.media import ImagePatches

OneT = TypeVar("OneT")

MAX_CACHE_BYTES: Final = 2**33
"""Keys and values of the prompts that are answered as one batch, 8 GiB: 35,000 tokens of a 2B model in bfloat16."""


class FramesShown(NamedTuple):
    """How much of a question's clips a prompt shows."""

    num_frames: tuple[int, ...] = ()
    """Frames of each clip that are shown."""
    num_frames_kept: tuple[int, ...] = ()
    """Frames that each clip has."""


@dataclass(frozen=True, kw_only=True)
class AskedPrompt:
    """A prompt, and how much of the question's clips it shows."""

    prompt: Prompt
    frames: FramesShown
    """Frames of its clips."""

    @property
    def num_tokens(self) -> int:
        """Length of the prompt, in tokens, those of images and frames included."""
        return len(self.prompt.token_ids)


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A loaded checkpoint, with a way to read the images and clips of questions."""

    model: NeoModel
    tokenizer: Tokenizer
    media: MediaReader
    """Reads images and frames."""
    max_prompt_tokens: int
    """Longest prompt, in tokens, those of images and frames included."""
    max_new_tokens: int
    """Longest answer, in tokens."""
    max_cache_bytes: int = MAX_CACHE_BYTES
    """Memory of the keys and values of one batch; a prompt that needs more is a batch of its own."""
    agree: Callable[[list[int]], list[int]] = list
    """Which tokens are taken of those that this process would: see `generate`."""

    def prompt(self, question: Question, media: Media, *, is_shuffled: bool = False) -> AskedPrompt | QuestionTrouble:
        """The prompt of a question with these images and clips, or the reason why it cannot be asked.

        `is_shuffled` shows the frames of each clip in another order, in the places of their own and with their times.
        """
        from neo_model.generate import Prompt

        if question.trouble is not None:
            return question.trouble
        try:
            images = [self.media.image(image_id) for image_id in media.image_ids]
            shown = self._fitting(question, images, media)
            frames = [self.media.frames(one) for one in shown]
            if is_shuffled:
                orders = [frame_order(question.sample_id, clip, len(one)) for clip, one in enumerate(frames)]
                frames = [tuple(one[number] for number in order) for one, order in zip(frames, orders, strict=True)]
            placed = list(_in_places(question, images, frames))
            token_ids = self._token_ids(question, shown, [_num_tokens(grid) for _, grid in placed])
        except UnusableMediumError as error:
            return error.trouble
        except ConversationError:
            return QuestionTrouble.UNRENDERABLE
        if len(token_ids) > self.max_prompt_tokens:
            return QuestionTrouble.TOO_LONG
        return AskedPrompt(
            prompt=Prompt(
                token_ids=token_ids, patches=[patches for patches, _ in placed], grids=[grid for _, grid in placed]
            ),
            frames=FramesShown(tuple(len(one.numbers) for one in shown), tuple(len(one.clip.frames) for one in shown)),
        )

    def answers(self, prompts: Sequence[AskedPrompt | QuestionTrouble | None]) -> list[str | QuestionTrouble | None]:
        """The generated answer to each prompt, up to the end of its turn; other entries as they are."""
        from neo_model.generate import generate
        from neo_model.inputs.conversation import special_ids
        from neo_model.key_value_cache import MAX_CACHE_TOKENS, cache_bytes_per_token

        ids = special_ids(self.tokenizer)
        bytes_per_token = cache_bytes_per_token(self.model.config, next(self.model.parameters()).dtype)
        asked = [one.prompt for one in prompts if isinstance(one, AskedPrompt)]
        stop_ids = (ids.turn_end, ids.end_of_text)
        generated = generate(
            self.model,
            asked,
            max_new_tokens=self.max_new_tokens,
            stop_ids=stop_ids,
            max_cache_tokens=min(MAX_CACHE_TOKENS, self.max_cache_bytes // bytes_per_token),
            agree=self.agree,
        )
        texts = iter([self.tokenizer.decode(one).strip() for one in generated])
        return [next(texts) if isinstance(one, AskedPrompt) else one for one in prompts]

    def _fitting(self, question: Question, images: Sequence[ImagePatches], media: Media) -> list[ShownClip]:
        """The question's clips with as many frames as its prompt has room for, each at most `max_frames`.

        Frames of a clip are alike in size, so that no frame is read to find the number.
        """
        clips = [self.media.clip(clip_id) for clip_id in media.clip_ids]
        if not clips:
            return []
        frame_tokens = [self.media.num_frame_tokens(clip) for clip in clips]
        image_tokens = [_num_tokens(grid) for _, grid in images]

        def with_most(most: int) -> tuple[list[ShownClip], bool]:
            shown = [self.media.shown(clip, most) for clip in clips]
            frames = [(one,) * len(clip.numbers) for one, clip in zip(frame_tokens, shown, strict=True)]
            counts = list(_in_places(question, image_tokens, frames))
            return shown, len(self._token_ids(question, shown, counts)) <= self.max_prompt_tokens

        most = min(self.media.max_frames, max(len(clip.frames) for clip in clips))
        shown, fits = with_most(most)
        if fits:
            return shown
        fitting, too_many = 1, most
        while too_many - fitting > 1:
            middle = (fitting + too_many) // 2
            fitting, too_many = (middle, too_many) if with_most(middle)[1] else (fitting, middle)
        return with_most(fitting)[0]

    def _token_ids(self, question: Question, shown: Sequence[ShownClip], counts: Sequence[int]) -> list[int]:
        """The prompt's tokens. Raises `ConversationError` where places and images or clips differ in number."""
        texts = [one.text for one in shown]
        messages = write_out_clips(question.messages, texts, question.video_style) if texts else question.messages
        return encode_prompt(self.tokenizer, messages, counts).token_ids


def _in_places(question: Question, images: Sequence[OneT], clips: Sequence[Sequence[OneT]]) -> Iterator[OneT]:
    """What belongs to the images and to the frames of the clips, in the order of their places in the question."""
    if not clips:
        yield from images
        return
    left_images, left_clips = list(images), list(clips)
    for placeholder in media_of(question.messages):
        if placeholder == VIDEO_PLACEHOLDER and left_clips:
            yield from left_clips.pop(0)
        elif placeholder != VIDEO_PLACEHOLDER and left_images:
            yield left_images.pop(0)
    if left_images or left_clips:
        raise ConversationError(f"no place for {len(left_images)} images and {len(left_clips)} clips")


def _num_tokens(grid: tuple[int, int]) -> int:
    """Four patches of 16 x 16 px are merged into one token: a grid of 10 x 14 patches is 35 tokens."""
    return grid[0] * grid[1] // 4


def frames_shown(prompt: AskedPrompt | QuestionTrouble) -> FramesShown:
    """How much of its clips a question shows; nothing where it cannot be asked."""
    return prompt.frames if isinstance(prompt, AskedPrompt) else FramesShown()


def media_reader(
    questions: Conversations,
    config: NeoConfig,
    *,
    image_pixels: PixelRange | None = None,
    frame_pixels: PixelRange = VIDEO_PIXELS,
    max_frames: int,
) -> MediaReader:
    """Reads the images and clips of questions; images are resized within the checkpoint's own pixels by default."""
    return MediaReader(
        pictures=pictures_of(questions),
        clips=clips_of(questions),
        image_pixels=image_pixels or PixelRange(config.min_pixels_px, config.max_pixels_px),
        frame_pixels=frame_pixels,
        max_frames=max_frames,
    )


def load_model_folder(folder: Path) -> tuple[NeoModel, Tokenizer]:
    """Load a model folder in the released layout, onto the GPU if there is one."""
    import torch

    from neo_model.inputs.conversation import load_tokenizer
    from neo_model.weights.released import load_model

    model = load_model(folder).requires_grad_(False)
    tokenizer = load_tokenizer(folder, vocab_size=model.config.vocab_size)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer
