"""Drops pairs that repeat others: by URL, by the bytes of the picture, by what the picture looks like, by caption.

Reads  RawPairs or KeptPairs   `raw`, the pairs that are judged: tables, and the pictures if their looks are compared
       the same                `earlier`, if any: sources whose pairs always win, under names of the user's choice
       the same, or Conversations   `benchmarks`, if any: what a model will be examined on, and no pair may be in
Makes  KeptPairs   parts: verdicts.parquet, a row for each pair of `raw`, of phase `judge`; those of the phases before
                   it are described in stages/duplicates/README.md

In the verdicts, `duplicate_of` is the sample id of a better pair and `duplicate_in` the earlier source that has it;
`benchmark` is the benchmark that a pair is in, and `benchmark_by` says by what: picture, url, looks or words.

Of two duplicates the one in an earlier source wins, then the larger picture, then the one that comes first in the
tables. A pair gives way to a better one whether or not that one stays: the chain of `duplicate_of` from pair to pair
ends at one that is kept, since each is better than the one before. So several sources are deduplicated one after the
other, each against those before, and a source that is added changes nothing that was made before.

Phases hand records to each other by slices (`stages/duplicates/slices.py`). No process holds a list of all pairs: with
390 million, each works on some four million records at a time, in some 500 MB.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from stages.artifacts.kinds import MARK_PHASE, Conversations, KeptPairs, RawPairs
from stages.contract import Recipe, StageContext, conduct, stage
from stages.duplicates.benchmark_marks import MarkKind
from stages.duplicates.benchmark_search import list_marks
from stages.duplicates.criteria import NEAR_PICTURE, Criterion, DuplicateReason
from stages.duplicates.judging import PHASES, Comparison, check_sources, judge_duplicates
from stages.duplicates.measures.near_hashes import MAX_BITS
from stages.duplicates.parts_of_rows import JUDGED, row_parts
from stages.duplicates.sketching import CAPTION_BANDS, Sketcher
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.formats.pairs import PairReader
from stages.profiles.example_pictures import BetterPictures, PairPictures, PartOfRows
from stages.profiles.pictures import ProfileSubject, draw_profile
from stages.profiles.profile import PAIR_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN = ("url", "caption", "width_px", "height_px")
"""Columns that an example of a dropped pair shows, beside why."""


class DedupPairsRecipe(Recipe):
    """By what pairs are compared."""

    same_url: bool = True
    """Whether a pair is dropped whose URL a better pair has; scheme, fragment and letter case of the host do not
    count."""
    same_picture: bool = True
    """Whether a pair is dropped whose picture has the same bytes as that of a better pair."""
    max_near_bits: int | None = Field(default=3, ge=0, le=MAX_BITS)
    """Largest distance at which a picture looks like that of a better pair, in differing bits of 64 of their perceptual
    hashes; None compares no looks, and reads no picture."""
    max_pairs_per_caption: int | None = Field(default=None, ge=1)
    """Pairs that may have one caption, whatever their pictures: the best ones stay. Letter case and white space do not
    count, and pairs without a caption are not compared by it. None sets no limit."""
    min_caption_likeness: float | None = Field(default=None, ge=0.5, le=1)
    """Likeness from which a caption repeats that of a better pair, whatever their pictures: the share of their runs of
    three words that both have. Found by chance (MinHash): half of those that are just so alike, nearly all that are
    more. None compares no captions by it."""
    min_shared_words: int | None = Field(default=13, ge=3)
    """Length of a run of words that a caption may not share with a question, answer or caption of a benchmark. None
    searches benchmarks for pictures alone."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may be dropped for one reason before the step fails; 1 takes anything."""

    @model_validator(mode="after")
    def _check_compares(self) -> Self:
        if not self.criteria:
            raise ValueError(
                "no pair is compared with another: set same_url, same_picture, max_near_bits, max_pairs_per_caption "
                "or min_caption_likeness"
            )
        return self

    @property
    def criteria(self) -> list[Criterion]:
        """The criteria that are asked for, surest first."""
        criteria = []
        if self.same_url:
            criteria.append(Criterion("url", "url", DuplicateReason.DUPLICATE_URL))
        if self.same_picture:
            criteria.append(Criterion("picture", "picture", DuplicateReason.DUPLICATE_PICTURE))
        if self.max_near_bits is not None:
            criteria.append(Criterion(NEAR_PICTURE, "hash", DuplicateReason.NEAR_DUPLICATE_PICTURE))
        if self.max_pairs_per_caption is not None:
            reason = DuplicateReason.DUPLICATE_CAPTION
            criteria.append(Criterion("caption", "caption", reason, self.max_pairs_per_caption))
        if self.min_caption_likeness is not None:
            criteria += [Criterion(band, band, DuplicateReason.NEAR_DUPLICATE_CAPTION) for band in CAPTION_BANDS]
        return criteria

    @property
    def mark_kinds(self) -> tuple[MarkKind, ...]:
        """By what pairs are recognised as those of a benchmark, surest first."""
        asked: dict[MarkKind, bool] = {
            "picture": self.same_picture,
            "url": self.same_url,
            "looks": self.max_near_bits is not None,
            "words": self.min_shared_words is not None,
        }
        return tuple(kind for kind, is_asked in asked.items() if is_asked)


def shown_pairs(part: str, pairs: KeptPairs | RawPairs) -> pa.Table:
    """What examples and profiles show of the pairs of a part."""
    return PairReader(pairs).read_table(part, PAIR_COLUMNS).select(PAIR_COLUMNS)


@stage(number=1, recipe=DedupPairsRecipe, makes=KeptPairs, phases=(MARK_PHASE, *PHASES))
def dedup_pairs(
    recipe: DedupPairsRecipe,
    raw: KeptPairs | RawPairs,
    earlier: Mapping[str, KeptPairs | RawPairs] | None,
    benchmarks: Mapping[str, Conversations | KeptPairs | RawPairs] | None,
    *,
    ctx: StageContext,
) -> None:
    """Sketch the pairs, bring together those that have a key in common, and judge them, a part for each part of `raw`.

    390 million pairs under the default criteria are 23 GB of sketches and 90 GB of records on disk, and 1,200 parts of
    the phases between `sketch` and `judge`.
    """
    check_sources(raw, earlier or {}, benchmarks or {})
    num_words, max_bits = recipe.min_shared_words, recipe.max_near_bits
    marks = None
    if benchmarks:
        marks = list_marks(ctx, benchmarks, recipe.mark_kinds, num_words=num_words, max_bits=max_bits)
    sketcher = Sketcher(
        sources={JUDGED: raw, **(earlier or {})},
        hashes_pictures=max_bits is not None,
        caption_likeness=recipe.min_caption_likeness,
        marks=marks,
    )
    comparison = Comparison(
        rows=row_parts(raw, earlier or {}), criteria=recipe.criteria, size="num_pixels", max_near_bits=max_bits
    )
    records = judge_duplicates(ctx, comparison, sketcher.sketch_part, partial(shown_pairs, pairs=raw), SHOWN)
    subject = ProfileSubject(title=f"dedup_pairs of {raw.stage}/{raw.short}", items="pairs")
    stretches = [PartOfRows(task.first_row, task.source, task.part) for task in comparison.rows.tasks]
    better = BetterPictures({JUDGED: raw, **(earlier or {})}, stretches)
    draw_profile(ctx, records, subject, PairPictures(PairReader(raw).images), better)
    check_losses(records, recipe.max_share_lost, items="pairs")
