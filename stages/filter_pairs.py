"""Judges which image-text pairs are worth learning from.

Reads  RawPairs    parts: pairs.tar and samples.parquet, of which the table alone is read
       KeptPairs   in its place: what other stages kept of it, with the captions and scores that they gave it
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair that was downloaded; bytes stay in RawPairs

Each pair is judged by itself: the same picture under two captions stays two pairs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import Part, PartDraft, StageContext, conduct, stage
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.pairs import PairReader
from stages.formats.sample_table import ItemReason, Verdict, balance_of, verdict_columns, write_table
from stages.origins.scores import (
    ItemScores,
    RuleFacts,
    Score,
    ScoreFields,
    ScoreName,
    check_scores_applied,
    check_scores_of,
    count_scores,
    fault_of_scores,
    rows_of_scores,
    score_columns,
    score_fields,
)

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = re.compile(r"\S+\.(jpe?g|png|gif|webp|bmp|tiff?)", re.IGNORECASE)
"""A caption that is the name of a picture file, such as `IMG_0042.JPG`."""

SHOWN = ("url", "caption", "width_px", "height_px")
"""Columns that an example of a dropped pair shows, before those that hold its scores."""


class FilterPairsRecipe(ScoreFields):
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
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may be dropped for one reason before the step fails; 1 takes anything."""


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
    """The image is unsafe with a probability above `max_punsafe`, or its tag is worse than `worst_nsfw_tag`."""
    WATERMARKED = "watermarked"
    """The image has a watermark with a probability above `max_pwatermark`."""
    SCORE_UNREADABLE = "score_unreadable", Verdict.FAILED
    """A score is there and is no number: NaN, infinity, or text that spells none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFacts(ItemScores):
    """The columns of a sample table by which a pair is judged. A score is None where the URL table had none."""

    width_px: int
    """Width of the image after EXIF orientation, in pixels."""
    height_px: int
    """Height of the image after EXIF orientation, in pixels."""
    caption: str
    """Text beside the image."""


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
    fault = fault_of_scores(pair, recipe.score_limits)
    return None if fault is None else DropReason.spelled(fault)


def pair_facts(samples: pa.Table, scores: Sequence[Mapping[ScoreName, Score]]) -> list[PairFacts]:
    """The facts of each row of a sample table; `scores` are those of each row."""
    sizes = samples.select(["width_px", "height_px", "caption"]).to_pylist()
    return [PairFacts(**size, **score_fields(ones)) for size, ones in zip(sizes, scores, strict=True)]


def filter_part(part: Part, draft: PartDraft, raw: RawPairs | KeptPairs, recipe: FilterPairsRecipe) -> None:
    """Judge the downloaded pairs of one part of RawPairs, in `verdicts.parquet`."""
    import pyarrow as pa

    samples = PairReader(raw).table(part.name)
    columns = score_columns(samples.column_names, recipe)
    scores = rows_of_scores(samples, columns)
    reasons = [drop_reason(pair, recipe) for pair in pair_facts(samples, scores)]
    table = pa.table({"sample_id": samples["sample_id"], **verdict_columns(reasons)})
    write_table(table, draft.path(VERDICTS_FILE))
    draft.count(balance_of(table))
    draft.fact(**RuleFacts(rule_counts=count_scores(scores, columns)).dump())
    judged = samples.set_column(samples.column_names.index("reason"), "reason", table["reason"])
    draft.fact(**examples_of(judged, [*SHOWN, *columns.values()], first_row=None))


@stage(number=3, recipe=FilterPairsRecipe, makes=KeptPairs, phases=("judge",))
def filter_pairs(recipe: FilterPairsRecipe, raw: RawPairs | KeptPairs, *, ctx: StageContext) -> None:
    """Judge all kept pairs of `raw`, a part for each of its parts."""
    reader = PairReader(raw)
    check_scores_of(reader, recipe)
    records = ctx.spread(partial(filter_part, raw=raw, recipe=recipe), over=reader.parts_to_judge, phase="judge")
    check_scores_applied(records, recipe, "pairs")
    check_losses(records, recipe.max_share_lost, items="pairs")
