"""Answers questions with a NEO checkpoint by greedy generation, with the images of a question or with others.

Owns how a question becomes a prompt and a prompt an answer. There is no sampling and no system prompt, and images are
resized within the checkpoint's own pixel range: the only settings are two token limits.
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
    """Patches [n, 768] of one image and their grid (grid_h, grid_w), n = grid_h x grid_w."""

MAX_DECODED_PX = 100_000_000
"""Largest image that is decoded, in pixels."""
NUM_IMAGES_KEPT = 64
"""Images whose patches are cached: consecutive questions are often about the same image."""


class UnusableImageError(ValueError):
    """An image that no question can be asked about, for the reason `trouble`."""

    def __init__(self, trouble: QuestionTrouble) -> None:
        super().__init__(trouble.value)
        self.trouble = trouble


@dataclass(frozen=True, kw_only=True)
class Answerer:
    """A loaded checkpoint, with a way to read the images of questions."""

    model: NeoModel
    tokenizer: Tokenizer
    patches_of: Callable[[bytes], ImagePatches]
    """Reads the patches of an image by its id. Raises `UnusableImageError`."""
    max_prompt_tokens: int
    """Longest prompt, in tokens, image tokens included."""
    max_new_tokens: int
    """Longest answer, in tokens."""

    def prompt(self, question: Question, image_ids: Sequence[bytes]) -> Prompt | QuestionTrouble:
        """The prompt of a question with these images, or the reason why it cannot be asked."""
        from neo_model.generate import Prompt
        from neo_model.inputs.conversation import ConversationError, encode_prompt

        if question.trouble is not None:
            return question.trouble
        try:
            images = [self.patches_of(image_id) for image_id in image_ids]
            # Four patches of 16 x 16 px are merged into one token: a grid of 10 x 14 patches is 35 tokens.
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
        """The generated answer to each prompt, up to the end of its turn; other entries as they are."""
        from neo_model.generate import Prompt, generate
        from neo_model.inputs.conversation import special_ids

        ids = special_ids(self.tokenizer)
        asked = [prompt for prompt in prompts if isinstance(prompt, Prompt)]
        stop_ids = (ids.turn_end, ids.end_of_text)
        generated = iter(generate(self.model, asked, max_new_tokens=self.max_new_tokens, stop_ids=stop_ids))
        return [
            self.tokenizer.decode(next(generated)).strip() if isinstance(prompt, Prompt) else prompt
            for prompt in prompts
        ]


def load_answerer(folder: Path, pictures: PairReader, *, max_prompt_tokens: int, max_new_tokens: int) -> Answerer:
    """Load a model folder in the released layout, onto the GPU if there is one."""
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
    """A cached reader of image patches by image id; it raises `UnusableImageError` for images that questions fail by.

    Damage in the store is not one of them: it raises `StoreError`, which stops the part, because failures are
    committed for good while the store can be repaired.
    """
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
