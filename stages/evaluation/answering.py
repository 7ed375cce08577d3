"""Answer questions with a NEO checkpoint: greedy generation, with the images a question has or with others.

Owns how a question becomes a prompt and a prompt an answer. No sampling, no system prompt, the checkpoint's own range
of picture sizes: an evaluation has no knobs that a training run lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from stages.evaluation.questions import Question, QuestionTrouble
from stages.formats.pairs import PairReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from neo_model.config import NeoConfig
    from neo_model.generate import Prompt
    from neo_model.model import NeoModel

    ImagePatches: TypeAlias = tuple[NDArray[np.uint8], tuple[int, int]]

MAX_DECODED_PX = 100_000_000
"""Pixels of the largest image that is decoded."""
NUM_IMAGES_KEPT = 64
"""Images whose patches stay in memory: several questions in a row are often about one image."""


class UnusableImageError(ValueError):
    """An image that no question can be asked about; `trouble` says why."""

    def __init__(self, trouble: QuestionTrouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A loaded checkpoint with the images that questions are about."""

    model: NeoModel
    tokenizer: Tokenizer
    patches_of: Callable[[bytes], ImagePatches]
    """Image id to patches [n, 768] and their grid (grid_h, grid_w). Raises `UnusableImageError`."""
    max_prompt_tokens: int
    max_new_tokens: int

    def prompt(self, question: Question, image_ids: Sequence[bytes]) -> Prompt | QuestionTrouble:
        """The question with these images, or why it cannot be asked."""
        from neo_model.generate import Prompt
        from neo_model.inputs.conversation import ConversationError, encode_prompt

        if question.trouble is not None:
            return question.trouble
        try:
            images = [self.patches_of(image_id) for image_id in image_ids]
            counts = [grid_h * grid_w // 4 for _, (grid_h, grid_w) in images]
            token_ids = encode_prompt(self.tokenizer, question.messages, counts).token_ids
        except UnusableImageError as error:
            return error.trouble
        except ConversationError:
            return QuestionTrouble.UNRENDERABLE
        if len(token_ids) > self.max_prompt_tokens:
            return QuestionTrouble.TOO_LONG
        patches, grids = [patches for patches, _ in images], [grid for _, grid in images]
        return Prompt(token_ids=token_ids, patches=patches, grids=grids)

    def answers(self, prompts: Sequence[Prompt | QuestionTrouble | None]) -> list[str | QuestionTrouble | None]:
        """What the checkpoint says to each prompt until it ends its turn; what is no prompt stays what it is."""
        from neo_model.generate import Prompt, generate
        from neo_model.inputs.conversation import special_ids

        ids = special_ids(self.tokenizer)
        asked = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        stop_ids = (ids.turn_end, ids.end_of_text)
        said = iter(generate(self.model, asked, max_new_tokens=self.max_new_tokens, stop_ids=stop_ids))
        return [
            self.tokenizer.decode(next(said)).strip() if isinstance(prompt, Prompt) else prompt for prompt in prompts
        ]


def load_answerer(folder: Path, pictures: PairReader, *, max_prompt_tokens: int, max_new_tokens: int) -> Answerer:
    """Load a released folder, onto the GPU where there is one."""
    import torch

    from neo_model.inputs.conversation import load_tokenizer
    from neo_model.weights.released import load_model

    model = load_model(folder).requires_grad_(False)
    return Answerer(
        model=model.to("cuda" if torch.cuda.is_available() else "cpu"),
        tokenizer=load_tokenizer(folder, vocab_size=model.config.vocab_size),
        patches_of=patch_reader(pictures, model.config),
        max_prompt_tokens=max_prompt_tokens,
        max_new_tokens=max_new_tokens,
    )


def patch_reader(pictures: PairReader, config: NeoConfig) -> Callable[[bytes], ImagePatches]:
    """What reads the patches of images by id. Bytes that are damaged in the store stop the part, for the store is to be
    mended; all else is the question's."""
    from neo_model.inputs.pictures import PictureError, open_pixels, to_uint8_patches

    @lru_cache(maxsize=NUM_IMAGES_KEPT)
    def patches_of(image_id: bytes) -> ImagePatches:
        try:
            pixels = open_pixels(pictures.image(image_id), max_pixels_px=MAX_DECODED_PX)
            return to_uint8_patches(pixels, config.min_pixels_px, config.max_pixels_px)
        except KeyError as error:
            raise UnusableImageError(QuestionTrouble.IMAGE_NOT_KEPT) from error
        except PictureError as error:
            raise UnusableImageError(QuestionTrouble.IMAGE_UNUSABLE) from error

    return patches_of
