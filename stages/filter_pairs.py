"""Judges which image-text pairs are worth learning from.

Reads  RawPairs    parts: samples.parquet, and pairs.tar where pictures are to be measured
       KeptPairs   in its place: what other stages kept of it, with the captions and scores that they gave it
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair that was downloaded, with its measures; bytes stay in
                   RawPairs

Each pair is judged by itself: the same picture under two captions stays two pairs. It is dropped for the first reason
that is found: by its size, its caption, its scores, what it measures (`pair_filters/measures.py`), then by rules of the
user's own (`pair_filters/rules.py`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from pydantic import Field, field_validator

from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.contract import PROFILE_PHASE, Part, PartDraft, StageContext, conduct, stage
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.pairs import PairReader
from stages.formats.sample_table import ItemReason, Verdict, balance_of, verdict_columns, with_columns, write_table
from stages.origins.scores import (
    RULES,
    SCORE_NAMES,
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
from stages.pair_filters.measures import (
    MeasureFields,
    PairMeasures,
    check_free,
    check_languages,
    count_measures,
    fault_of_measures,
    measure_columns,
    measure_pairs,
    measures_asked,
)
from stages.pair_filters.rules import apply_rules, check_against, reasons_of_rules, rule_table
from stages.profiles.example_pictures import PairPictures
from stages.profiles.pictures import ProfileSubject, draw_profile, keep_profile

if TYPE_CHECKING:
    import pyarrow as pa

FILE_NAME = re.compile(r"\S+\.(jpe?g|png|gif|webp|bmp|tiff?)", re.IGNORECASE)
"""A caption that is the name of a picture file, such as `IMG_0042.JPG`."""

SHOWN = ("url", "caption", "width_px", "height_px")
"""Columns that an example of a dropped pair shows, before those that hold its scores."""


class FilterPairsRecipe(ScoreFields, MeasureFields):
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

    @field_validator("rules")
    @classmethod
    def _check_names(cls, rules: dict[str, str]) -> dict[str, str]:
        failed = {reason.value for reason in DropReason if reason.verdict is Verdict.FAILED}
        if taken := sorted(rules.keys() & failed):
            raise ValueError(f"rule {taken[0]!r} has the name of a failure; pairs that meet a rule are dropped")
        return rules


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
    PLACEHOLDER = "placeholder"
    """The image is one of `placeholders`."""
    LANGUAGE_UNWANTED = "language_unwanted"
    """The caption is in none of `languages`, with a probability of `min_language_score`."""
    CAPTION_REPETITIVE = "caption_repetitive"
    """More than `max_caption_repetition` of the caption repeats what it says before."""
    ONE_COLOUR = "one_colour"
    """The image has a contrast below `min_contrast`."""
    LOW_ENTROPY = "low_entropy"
    """The image has an entropy below `min_entropy_bits`."""
    BLURRED = "blurred"
    """The image has a sharpness below `min_sharpness`."""
    SCORE_UNREADABLE = "score_unreadable", Verdict.FAILED
    """A score, or a number that a rule names, is there and is none: NaN, infinity, or text that spells no number."""
    PICTURE_UNREADABLE = "picture_unreadable", Verdict.FAILED
    """The image was to be measured and does not decode."""


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


def add_measures(
    reasons: list[ItemReason | None], part: Part, recipe: FilterPairsRecipe, reader: PairReader, draft: PartDraft
) -> tuple[dict[str, pa.Array], dict[str, dict[str, int]]]:
    """Measure the pairs of a part that have no reason yet, and add those that are found.

    Returns the columns of the measures, and how each limit on them was applied.
    """
    asked = measures_asked(recipe)
    if not asked and not recipe.placeholders:
        return {}, {}
    pairs = list(reader.pairs_of(part.name))
    rows = [row for row, reason in enumerate(reasons) if reason is None]
    measured = measure_pairs([pairs[row] for row in rows], asked, recipe, reader, draft.progress)
    by_row: list[PairMeasures | None] = [None] * len(pairs)
    for row, measures in zip(rows, measured, strict=True):
        fault = fault_of_measures(measures, recipe)
        by_row[row], reasons[row] = measures, fault and DropReason.spelled(fault)
    return measure_columns(by_row, asked), count_measures(by_row, recipe)


def add_rules(
    reasons: list[ItemReason | None], table: pa.Table, recipe: FilterPairsRecipe, where: str
) -> dict[str, dict[str, int]]:
    """Add the reasons of the user's rules for the rows of `table`; returns how each rule was applied."""
    applied = apply_rules(recipe.rules, table, where)
    own_reasons = reasons_of_rules(recipe.rules)
    for row, (rule, is_unreadable) in enumerate(zip(applied.reasons, applied.is_unreadable, strict=True)):
        if reasons[row] is None and is_unreadable:
            reasons[row] = DropReason.SCORE_UNREADABLE
        elif reasons[row] is None and rule is not None:
            reasons[row] = own_reasons[rule]
    return applied.counts


def filter_part(
    part: Part, draft: PartDraft, raw: RawPairs | KeptPairs, recipe: FilterPairsRecipe, num_parts: int = 1
) -> None:
    """Judge the downloaded pairs of one part of RawPairs, in `verdicts.parquet`."""
    import pyarrow as pa

    reader = PairReader(raw)
    samples = reader.table(part.name)
    columns = score_columns(samples.column_names, recipe)
    scores = rows_of_scores(samples, columns)
    reasons: list[ItemReason | None] = [drop_reason(pair, recipe) for pair in pair_facts(samples, scores)]
    measures, counts = add_measures(reasons, part, recipe, reader, draft)
    ruled = rule_table(samples, columns, scores, measures)
    counts |= add_rules(reasons, ruled, recipe, f"part {part.name} of {raw!r}")
    table = pa.table({"sample_id": samples["sample_id"], **verdict_columns(reasons), **measures})
    write_table(table, draft.path(VERDICTS_FILE))
    draft.count(balance_of(table))
    draft.fact(**RuleFacts(rule_counts={**count_scores(scores, columns), **counts}).dump())
    judged = with_columns(ruled, table)
    draft.fact(**examples_of(judged, [*SHOWN, *columns.values(), *measures], first_row=None))
    keep_profile(draft, judged, part.name, num_parts)


MEASURE_OF: Final = {
    DropReason.MISMATCHED.value: "similarity",
    DropReason.UNSAFE.value: "punsafe",
    DropReason.WATERMARKED.value: "pwatermark",
    DropReason.LANGUAGE_UNWANTED.value: "caption_language_score",
    DropReason.CAPTION_REPETITIVE.value: "caption_repetition",
    DropReason.ONE_COLOUR.value: "picture_contrast",
    DropReason.LOW_ENTROPY.value: "picture_entropy_bits",
    DropReason.BLURRED.value: "picture_sharpness",
}
"""Reason to the measure that it follows from."""


def limits_of(recipe: FilterPairsRecipe) -> dict[str, list[tuple[str, float]]]:
    """The recipe's limits by what they are about, as charts draw them."""
    given: dict[str, tuple[str, ...]] = {
        "short_side_px": ("min_side_px",),
        "aspect": ("max_aspect",),
        "caption_chars": ("min_caption_chars", "max_caption_chars"),
        "caption_repetition": ("max_caption_repetition",),
        "caption_language_score": ("min_language_score",) if recipe.languages else (),
        "picture_contrast": ("min_contrast",),
        "picture_entropy_bits": ("min_entropy_bits",),
        "picture_sharpness": ("min_sharpness",),
    }
    limits = {measure: [(name, getattr(recipe, name)) for name in names] for measure, names in given.items()}
    for score in SCORE_NAMES:
        limits[score] = [(RULES[score], getattr(recipe.score_limits, score))]
    return {
        measure: [(name, float(limit)) for name, limit in named if limit is not None]
        for measure, named in limits.items()
    }


def check_before(reader: PairReader, recipe: FilterPairsRecipe) -> None:
    """Raise `StageError` where a limit or a rule does not fit the first table, before any part is judged."""
    if not reader.parts:
        return
    where, asked = f"the table of {reader.pairs!r}", measures_asked(recipe)
    check_scores_of(reader, recipe)
    check_free(reader.column_names, asked, where)
    check_languages(recipe)
    if recipe.rules:
        table = reader.table(reader.parts[0]).slice(0, 0)
        columns = score_columns(table.column_names, recipe)
        check_against(recipe.rules, rule_table(table, columns, [], measure_columns([], asked)), where)


@stage(number=3, recipe=FilterPairsRecipe, makes=KeptPairs, phases=("judge", PROFILE_PHASE), part_by_part="raw")
def filter_pairs(recipe: FilterPairsRecipe, raw: RawPairs | KeptPairs, *, ctx: StageContext) -> None:
    """Judge all kept pairs of `raw`, a part for each of its parts."""
    reader = PairReader(raw)
    check_before(reader, recipe)
    over = reader.parts_to_judge
    judging = partial(filter_part, raw=raw, recipe=recipe, num_parts=len(over))
    records = ctx.spread(judging, over=over, phase="judge")
    subject = ProfileSubject(
        title=f"filter_pairs of {raw.stage}/{raw.short}",
        items="pairs",
        limits=limits_of(recipe),
        measure_of=MEASURE_OF,
    )
    draw_profile(ctx, records, subject, PairPictures(reader.images))
    check_scores_applied(records, recipe, "pairs")
    check_losses(records, recipe.max_share_lost, items="pairs")
