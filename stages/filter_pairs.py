"""Judges which image-text pairs are worth learning from.

Reads  RawPairs    parts: pairs.tar and samples.parquet, of which the table alone is read
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair that was downloaded; bytes stay in RawPairs

Each pair is judged by itself: the same picture under two captions stays two pairs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.pairs import PairReader
from stages.formats.sample_table import ItemReason, balance_of, verdict_columns, write_table

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = re.compile(r"\S+\.(jpe?g|png|gif|webp|bmp|tiff?)", re.IGNORECASE)
"""A caption that is the name of a picture file, such as `IMG_0042.JPG`."""


class FilterPairsRecipe(Recipe):
    """Limits that a pair must meet to be kept."""

    min_side_px: int = Field(default=64, ge=1)
    """Smallest shorter side of the image, in pixels."""
    max_pixels_px: int = Field(default=64_000_000, ge=1)
    """Largest image: width times height, in pixels."""
    max_aspect: float = Field(default=3.0, ge=1)
    """Largest aspect ratio: long side over short side."""
    min_caption_chars: int = Field(default=5, ge=1)
    """Shortest caption, in characters."""
    max_caption_chars: int = Field(default=4000, ge=1)
    """Longest caption, in characters."""
    min_similarity: float = 0.2
    """Smallest CLIP similarity of image and caption; used where the table has the column `similarity`."""
    max_punsafe: float = 0.5
    """Largest probability that the image is unsafe; used where the table has the column `punsafe`."""
    max_pwatermark: float = 0.8
    """Largest probability of a watermark; used where the table has the column `pwatermark`."""


class DropReason(ItemReason):
    """Why a pair was dropped: a closed list."""

    TOO_SMALL = "too_small"
    """The shorter side of the image is below `min_side_px`."""
    TOO_LARGE = "too_large"
    """The image has more than `max_pixels_px` pixels."""
    TOO_ELONGATED = "too_elongated"
    """The aspect ratio of the image is above `max_aspect`."""
    CAPTION_EMPTY = "caption_empty"
    """The caption has no letter or digit, or is the name of a picture file."""
    CAPTION_TOO_SHORT = "caption_too_short"
    """The caption has fewer than `min_caption_chars` characters."""
    CAPTION_TOO_LONG = "caption_too_long"
    """The caption has more than `max_caption_chars` characters."""
    MISMATCHED = "mismatched"
    """The CLIP similarity of image and caption is below `min_similarity`."""
    UNSAFE = "unsafe"
    """The image is unsafe with a probability above `max_punsafe`."""
    WATERMARKED = "watermarked"
    """The image has a watermark with a probability above `max_pwatermark`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts:
    """The columns of a sample table by which a pair is judged. A score is None where the URL table had none."""

    width_px: int
    """Width of the image after EXIF orientation, in pixels."""
    height_px: int
    """Height of the image after EXIF orientation, in pixels."""
    caption: str
    """Text beside the image."""
    similarity: float | None = None
    """CLIP similarity of image and caption."""
    punsafe: float | None = None
    """Probability that the image is unsafe."""
    pwatermark: float | None = None
    """Probability of a watermark."""


def drop_reason(pair: PairFacts, recipe: FilterPairsRecipe) -> DropReason | None:
    """The first reason to drop this pair, by image, then caption, then scores; None keeps it."""
    return _reason_of_image(pair, recipe) or _reason_of_caption(pair.caption, recipe) or _reason_of_scores(pair, recipe)


def _reason_of_image(pair: PairFacts, recipe: FilterPairsRecipe) -> DropReason | None:
    short_px, long_px = sorted((pair.width_px, pair.height_px))
    if short_px < recipe.min_side_px:
        return DropReason.TOO_SMALL
    if short_px * long_px > recipe.max_pixels_px:
        return DropReason.TOO_LARGE
    if long_px > short_px * recipe.max_aspect:
        return DropReason.TOO_ELONGATED
    return None


def _reason_of_caption(caption: str, recipe: FilterPairsRecipe) -> DropReason | None:
    if not any(char.isalnum() for char in caption) or FILE_NAME.fullmatch(caption):
        return DropReason.CAPTION_EMPTY
    if len(caption) < recipe.min_caption_chars:
        return DropReason.CAPTION_TOO_SHORT
    if len(caption) > recipe.max_caption_chars:
        return DropReason.CAPTION_TOO_LONG
    return None


def _reason_of_scores(pair: PairFacts, recipe: FilterPairsRecipe) -> DropReason | None:
    if pair.similarity is not None and pair.similarity < recipe.min_similarity:
        return DropReason.MISMATCHED
    if pair.punsafe is not None and pair.punsafe > recipe.max_punsafe:
        return DropReason.UNSAFE
    if pair.pwatermark is not None and pair.pwatermark > recipe.max_pwatermark:
        return DropReason.WATERMARKED
    return None


def pair_facts(samples: pa.Table) -> list[PairFacts]:
    """The facts of each row of a sample table."""
    wanted = [name for name in PairFacts.__dataclass_fields__ if name in samples.column_names]
    return [PairFacts(**row) for row in samples.select(wanted).to_pylist()]


def filter_part(part: Part, draft: PartDraft, raw: RawPairs, recipe: FilterPairsRecipe) -> None:
    """Judge the downloaded pairs of one part of RawPairs, in `verdicts.parquet`."""
    import pyarrow as pa

    samples = PairReader(raw).table(part.name)
    reasons = [drop_reason(pair, recipe) for pair in pair_facts(samples)]
    table = pa.table({"sample_id": samples["sample_id"], **verdict_columns(reasons)})
    write_table(table, draft.path(VERDICTS_FILE))
    draft.count(balance_of(table))


@stage(number=1, recipe=FilterPairsRecipe, makes=KeptPairs)
def filter_pairs(recipe: FilterPairsRecipe, raw: RawPairs, *, ctx: StageContext) -> None:
    """Judge all pairs of `raw`, a part for each of its parts."""
    over = [Part(name=record.part, num_items=record.items.kept) for record in raw.parts]
    ctx.spread(partial(filter_part, raw=raw, recipe=recipe), over=over, phase="judge")
