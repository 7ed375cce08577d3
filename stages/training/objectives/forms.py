"""In which form the documents of a step are learned: as they are, masked, or with their captions once more.

Owns the step from the documents of rows to one packed row. Held-out rows and the probe row are always as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from neo_model.inputs.batch import Batch, Document, Weighting, pack
from neo_model.inputs.pairs import caption_alone, caption_of, with_pairs
from stages.formats.packed_rows.rows import Row
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.objectives.masking import Masking
from stages.training.recipe import TrainRecipe

Encoded: TypeAlias = bytes | memoryview
"""Bytes of an encoded picture, or of tokens."""
MASKED: Final = ".masked"
"""Ends the name of a source in metrics, for its documents that were masked: their loss is another."""
NOTHING: Final = Document(token_ids=(0, 0), supervised=(False, False))
"""What stands in for rows where a micro-batch has none: every rank runs as many passes."""


@dataclass(frozen=True)
class Packed:
    """Documents as one row of tensors."""

    batch: Batch
    sources: tuple[str, ...]
    """Source of each document, with `MASKED` behind it where it is masked."""
    num_repeated: int = 0
    """Tokens of captions that stand in the row a second time."""


@dataclass(frozen=True)
class Forms:
    """What is done to the documents of a step before they are packed. Pickles, for worker processes."""

    masking: Masking | None = None
    compares_pairs: bool = False
    """Whether the captions of pairs follow once more, without their pictures."""

    @classmethod
    def of(cls, recipe: TrainRecipe, masking: Masking | None) -> Forms:
        """What a recipe asks for."""
        return cls(masking, isinstance(recipe, ObjectivesRecipe) and recipe.compares_pairs)

    def pack(
        self,
        rows: Sequence[tuple[Row, Sequence[Document]]],
        patches: Sequence[NDArray[Any]],
        step: int | None,
        *,
        image_context_id: int,
        weighting: Weighting,
    ) -> Packed:
        """Rows with their documents as one row, as they are learned at a step; as they are where `step` is None."""
        documents = [one for _, of_row in rows for one in of_row]
        sources = [source for row, _ in rows for source in row.sources]
        if step is None or (self.masking is None and not self.compares_pairs):
            batch = pack(documents or [NOTHING], patches, image_context_id=image_context_id, weighting=weighting)
            return Packed(batch, tuple(sources))
        images = [data for row, _ in rows for data in row.images]
        found = pairs_of(documents, images) if self.compares_pairs else []
        captions = [caption_alone(one.caption) for one in found]
        if self.masking is not None:
            of_rows = [(row.number, number) for row, of_row in rows for number in range(len(of_row))]
            for place, (row, number) in enumerate(of_rows):
                if (masked := self.masking.masked(documents[place], step, row, number)) is not None:
                    documents[place], sources[place] = masked, sources[place] + MASKED
        together = [*(documents or [NOTHING]), *captions]
        batch = pack(together, patches, image_context_id=image_context_id, weighting=weighting)
        if self.compares_pairs:
            batch = with_pairs(batch, [one.document for one in found], [one.digests for one in found])
        return Packed(batch, tuple(sources), sum(len(one.token_ids) for one in captions))


@dataclass(frozen=True)
class FoundPair:
    """A document of one picture and its caption."""

    document: int
    """Which of the documents it is."""
    caption: NDArray[Any]
    """Tokens of its caption."""
    digests: tuple[int, int]
    """Digests of the picture's bytes and of the caption's tokens, 64 bits each, signed."""


def pairs_of(documents: Sequence[Document], images: Sequence[Encoded]) -> list[FoundPair]:
    """The pairs among documents; `images` are the encoded pictures of all of them, in order.

    The same picture in other bytes, such as another size of it, is another picture: `dedup_pairs` finds those.
    """
    firsts = accumulate((len(one.grids) for one in documents), initial=0)
    return [
        FoundPair(number, caption, (_digest(images[first]), _digest(caption.tobytes())))
        for number, (document, first) in enumerate(zip(documents, firsts, strict=False))
        if (caption := caption_of(document)) is not None
    ]


def _digest(data: Encoded) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], signed=True)
