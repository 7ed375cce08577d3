"""Masked documents: which documents of a step, which of their tokens, and what is predicted of them.

Owns the masked-language objective. A masked token is replaced in the input and predicted at the position before it, by
the head as it is; its run of supervised text (a caption, an answer, a whole text) is seen whole, so that the words
behind it help. Nothing else of a masked document is learned: its other tokens see each other, and would give themselves
away. Pictures do not see text, so theirs stay as they are.

The draw is a function of seed, step, row and document, and of nothing else: the same on any ranks, after any restart.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from neo_model.inputs.batch import Document
from stages.contract import StageError
from stages.training.objectives.fields import ObjectivesRecipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer


@dataclass(frozen=True)
class Masking:
    """How the documents of a training are masked."""

    mask_id: int
    """Token id that stands for a masked token."""
    token_share: float
    """Share of the supervised tokens of a masked document that are masked; one at least."""
    document_share: float
    """Share of the documents that are masked."""
    seed: int

    @classmethod
    def of(cls, recipe: ObjectivesRecipe, tokenizer: Tokenizer) -> Masking | None:
        """What `recipe` asks for; None where nothing is masked.

        Raises `StageError` where the tokenizer has not the recipe's mask token.
        """
        if not recipe.masked_share:
            return None
        mask_id: int | None = tokenizer.token_to_id(recipe.mask_token)
        if mask_id is None:
            raise StageError(
                f"masked_share = {recipe.masked_share:g}: the tokenizer has no entry {recipe.mask_token!r}; name one "
                "that it has, and that stands in no document, in mask_token"
            )
        return cls(mask_id, recipe.masked_share, recipe.masked_documents, recipe.seed)

    def masked(self, document: Document, step: int, row: int, number: int) -> Document | None:
        """Document `number` of a row as it is learned at a step, masked; None where the draw leaves it alone."""
        places = np.flatnonzero(np.asarray(document.supervised, bool)[1:]) + 1  # nothing predicts the first token
        chance = _draw(f"masked/{self.seed}/{step}/{row}/{number}", 1 + len(places))
        if not len(places) or int(chance[0]) >= round(self.document_share * 2**64):
            return None
        num_masked = max(1, round(self.token_share * len(places)))
        chosen = places[np.argsort(chance[1:], kind="stable")[:num_masked]]
        shown = np.array(document.token_ids, np.int64)
        shown[chosen] = self.mask_id
        supervised = np.zeros(len(shown), bool)
        supervised[chosen] = True
        runs = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
        whole = [(int(run[0]), int(run[-1]) + 1) for run in runs]
        return replace(document, shown_ids=shown, supervised=supervised, seen_whole=whole)


def _draw(key: str, number: int) -> NDArray[np.uint64]:
    """So many uniform 64-bit numbers, by Philox, whose stream is the same in every version of numpy."""
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:16])
    drawn: NDArray[np.uint64] = np.random.Philox(key=seed).random_raw(number)
    return drawn
