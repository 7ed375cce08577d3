"""Drops documents that repeat others, the same or nearly so, and those that benchmarks are made of.

Reads  TextDocuments or KeptTexts   `raw`, the documents that are judged
       the same                     `earlier`, if any: sources whose documents always win, under names of one's choice
       questions, pairs or texts    `benchmarks`, if any: what a model will be examined on
Makes  KeptTexts   parts: verdicts.parquet, a row for each document of `raw`, of phase `judge`; those of the phases
                   before it are described in stages/duplicates/README.md

In the verdicts, `duplicate_of` is the sample id of a better document and `duplicate_in` the earlier source that has it;
`benchmark` is the benchmark that a document is in, by a run of words.

Of two documents the one in an earlier source wins, then the longer one, then the one that comes first in the tables.
What `dedup_pairs` says of chains of pairs holds for documents, and memory grows as there.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from stages.artifacts.kinds import MARK_PHASE, Conversations, KeptPairs, KeptTexts, RawPairs, TextDocuments
from stages.contract import Recipe, StageContext, conduct, stage
from stages.duplicates.benchmark_search import list_marks
from stages.duplicates.criteria import Criterion, DuplicateReason
from stages.duplicates.judging import PHASES, Comparison, check_sources, judge_duplicates
from stages.duplicates.parts_of_rows import JUDGED, row_parts
from stages.duplicates.text_sketching import TEXT_BANDS, TextSketcher
from stages.formats.judged.texts import TextReader
from stages.formats.losses import MAX_SHARE_LOST, check_losses
from stages.profiles.pictures import ProfileSubject, draw_profile

if TYPE_CHECKING:
    import pyarrow as pa


class DedupTextsRecipe(Recipe):
    """By what documents are compared."""

    same_text: bool = True
    """Whether a document is dropped whose text a longer or an earlier one has; letter case and white space do not
    count."""
    min_likeness: float | None = Field(default=0.8, ge=0.5, le=1)
    """Likeness from which a document repeats another: the share of their runs of five words that both have. Found by
    chance (MinHash): half of those that are just so alike, nearly all that are more. None compares none by it."""
    min_shared_words: int = Field(default=13, ge=3)
    """Length of a run of words that a document may not share with a question, answer, caption or text of a
    benchmark."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the documents that may be dropped for one reason before the step fails; 1 takes anything."""

    @model_validator(mode="after")
    def _check_compares(self) -> Self:
        if not self.criteria:
            raise ValueError("no document is compared with another: set same_text or min_likeness")
        return self

    @property
    def criteria(self) -> list[Criterion]:
        """The criteria that are asked for, surest first."""
        criteria = [Criterion("text", "text", DuplicateReason.DUPLICATE_TEXT)] if self.same_text else []
        if self.min_likeness is not None:
            criteria += [Criterion(band, band, DuplicateReason.NEAR_DUPLICATE_TEXT) for band in TEXT_BANDS]
        return criteria


def shown_texts(part: str, texts: KeptTexts | TextDocuments) -> pa.Table:
    """What examples and profiles show of the documents of a part."""
    return TextReader(texts).read_table(part, ["text"]).select(["text"])


@stage(number=1, recipe=DedupTextsRecipe, makes=KeptTexts, phases=(MARK_PHASE, *PHASES))
def dedup_texts(
    recipe: DedupTextsRecipe,
    raw: KeptTexts | TextDocuments,
    earlier: Mapping[str, KeptTexts | TextDocuments] | None,
    benchmarks: Mapping[str, Conversations | KeptPairs | RawPairs | KeptTexts | TextDocuments] | None,
    *,
    ctx: StageContext,
) -> None:
    """Sketch the documents, bring together those that have a key in common, and judge them."""
    check_sources(raw, earlier or {}, benchmarks or {})
    marks = None
    if benchmarks:
        marks = list_marks(ctx, benchmarks, ("words",), num_words=recipe.min_shared_words, max_bits=None)
    sketcher = TextSketcher(sources={JUDGED: raw, **(earlier or {})}, likeness=recipe.min_likeness, marks=marks)
    comparison = Comparison(rows=row_parts(raw, earlier or {}), criteria=recipe.criteria, size="num_chars")
    records = judge_duplicates(ctx, comparison, sketcher.sketch_part, partial(shown_texts, texts=raw), ["text"])
    draw_profile(ctx, records, ProfileSubject(title=f"dedup_texts of {raw.stage}/{raw.short}", items="documents"))
    check_losses(records, recipe.max_share_lost, items="documents")
