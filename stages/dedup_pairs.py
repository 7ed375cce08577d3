"""Drops pairs that repeat others: by URL, by the bytes of the picture, by what the picture looks like, by caption.

Reads  RawPairs or KeptPairs   `raw`, the pairs that are judged: tables, and the pictures if their looks are compared
       the same                `earlier`, if any: sources whose pairs always win, under names of the user's choice
       the same, or Conversations   `benchmarks`, if any: what a model will be examined on, and no pair may be in
Makes  KeptPairs   phase mark:   what the benchmarks are recognised by
                   phase sketch: `sketch.parquet`, the digests of each pair
                   phase list:   pairs under their keys, some million a part
                   phase join:   duplicates among the pairs that have a key in common
                   phase near:   duplicates among the pairs whose pictures look alike
                   phase gather: what was found, by the parts that are judged
                   phase judge:  verdicts.parquet, a row for each pair of `raw`; `duplicate_of` is the sample id of a
                                 better pair, `duplicate_in` the earlier source that has it, `benchmark` the one
                                 that a pair is in, and `benchmark_by` by what

Of two duplicates the one in an earlier source wins, then the larger picture, then the one that comes first in the
tables. A pair gives way to a better one whether or not that one stays: the chain of `duplicate_of` from pair to pair
ends at one that is kept, since each is better than the one before. So several sources are deduplicated one after the
other, each against those before, and a source that is added changes nothing that was made before.

Phases hand records to each other by slices (`stages/duplicates/slices.py`). No process holds a list of all pairs: with
390 million, each works on some four million records at a time, in some 500 MB.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

from pydantic import Field, model_validator

from stages.artifacts.kinds import MARK_PHASE, MARKS_FILE, VERDICTS_FILE, Conversations, KeptPairs, RawPairs
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, conduct, stage
from stages.duplicates.benchmark_marks import BenchmarkMarker, MarkKind, mark_parts
from stages.duplicates.criteria import NEAR_PICTURE, REASONS, Criterion, DuplicateReason
from stages.duplicates.gathering import duplicates_of_part, gather_found
from stages.duplicates.joining import join_keys, join_parts
from stages.duplicates.listing import list_keys
from stages.duplicates.near_hashes import MAX_BITS
from stages.duplicates.nearby import find_near, near_parts
from stages.duplicates.parts_of_rows import JUDGED, GroupTask, RowParts, SketchTask, group_parts, row_parts
from stages.duplicates.ranks import rows_of
from stages.duplicates.sketching import CAPTION_BANDS, SKETCH_FILE, SKETCH_PHASE, MarkFiles, Sketcher
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.pairs import PairReader
from stages.formats.sample_table import balance_of, read_table, sample_id_type, verdict_columns, write_table
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names of earlier sources and of benchmarks, as of sources of a mixture."""
MARKED = ("benchmark", "benchmark_by")
"""Columns of verdicts where benchmarks are bound."""
SHOWN = ("url", "caption", "width_px", "height_px", "duplicate_of", "duplicate_in", *MARKED)
"""Columns that an example of a dropped pair shows."""


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


@dataclass(frozen=True)
class PairJudge:
    """Judges the parts of the pairs. Pickles."""

    pairs: KeptPairs | RawPairs
    store: Store
    sources: Sequence[tuple[int, str]]
    """First row and name of each source."""
    groups: Sequence[GroupTask]
    """Groups of the parts that are judged."""
    sketched: Sequence[PartRecord]
    """Records of phase `sketch`."""
    gathered: Sequence[PartRecord]
    """Records of phase `gather`."""

    def judge_part(self, part: Part, draft: PartDraft) -> None:
        """Bring together what is against each pair of one part, in `verdicts.parquet`."""
        import numpy as np
        import pyarrow as pa

        task, number = SketchTask.of(part), int(part.task["number"])
        sketch = read_table(read_file(self.store, self.sketched[number], SKETCH_FILE))
        reasons: list[DuplicateReason | None] = [
            own and DuplicateReason.spelled(own) for own in sketch["own_reason"].to_pylist()
        ]
        duplicate_of: list[bytes | None] = [None] * len(reasons)
        duplicate_in: list[str | None] = [None] * len(reasons)
        found = duplicates_of_part(self.store, self.groups, self.gathered, number)
        firsts = [first for first, _ in self.sources]
        of_sources = np.searchsorted(firsts, rows_of(found["of_rank"]), side="right") - 1
        for one, of_source in zip(found, of_sources.tolist(), strict=True):
            row = int(one["row"]) - task.first_row
            reasons[row] = REASONS[one["reason"]]
            duplicate_of[row] = one["of_id"].tobytes()
            duplicate_in[row] = self.sources[of_source][1] or None
        columns = {"sample_id": sketch["sample_id"], **verdict_columns(reasons)}
        columns["duplicate_of"] = pa.array(duplicate_of, sample_id_type())
        columns["duplicate_in"] = pa.array(duplicate_in, pa.string())
        columns |= {name: sketch[name] for name in MARKED if name in sketch.column_names}
        verdicts = pa.table(columns)
        write_table(verdicts, draft.path(VERDICTS_FILE))
        draft.count(balance_of(verdicts))
        if MARKED[0] in verdicts.column_names:
            draft.fact(rule_counts=_by_benchmark(verdicts))
        draft.fact(**examples_of(self._shown(task.part, verdicts), SHOWN, first_row=None))

    def _shown(self, part: str, verdicts: pa.Table) -> pa.Table:
        """The pairs with their verdicts; ids as text."""
        samples = PairReader(self.pairs).read_table(part, ["url", "caption", "width_px", "height_px"])
        ids = [one and one.hex() for one in verdicts["duplicate_of"].to_pylist()]
        shown = samples.select(["url", "caption", "width_px", "height_px"]).append_column("duplicate_of", [ids])
        for name in ("reason", "duplicate_in", *MARKED):
            if name in verdicts.column_names:
                shown = shown.append_column(name, verdicts[name])
        return shown


def _by_benchmark(verdicts: pa.Table) -> dict[str, dict[str, int]]:
    """For each benchmark the pairs that were dropped, by what: `benchmark mmb` to `{"dropped by looks": 3}`."""
    counted = verdicts.filter(verdicts["benchmark"].is_valid()).group_by(["benchmark", "benchmark_by"])
    counts: dict[str, dict[str, int]] = {}
    for row in counted.aggregate([([], "count_all")]).sort_by("benchmark_by").to_pylist():
        counts.setdefault(f"benchmark {row['benchmark']}", {})[f"dropped by {row['benchmark_by']}"] = row["count_all"]
    return dict(sorted(counts.items()))


@stage(
    number=1,
    recipe=DedupPairsRecipe,
    makes=KeptPairs,
    phases=(MARK_PHASE, SKETCH_PHASE, "list", "join", "near", "gather", "judge"),
)
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
    _check(raw, earlier or {}, benchmarks or {})
    rows = row_parts(raw, earlier or {})
    sketcher = Sketcher(
        sources={JUDGED: raw, **(earlier or {})},
        hashes_pictures=recipe.max_near_bits is not None,
        caption_likeness=recipe.min_caption_likeness,
        marks=_marks(recipe, benchmarks, ctx) if benchmarks else None,
    )
    over = [Part(name=task.name, task=task.dump()) for task in rows.tasks]
    sketched = ctx.spread(sketcher.sketch_part, over=over, phase=SKETCH_PHASE)
    groups = rows.groups(only_judged=True)
    found = find_duplicates(recipe, rows, sketched, ctx)
    gathering = partial(gather_found, store=ctx.store, rows=rows, groups=groups, found=found)
    gathered = ctx.spread(gathering, over=group_parts(groups), phase="gather")
    judge = PairJudge(raw, ctx.store, rows.sources(), groups, sketched, gathered)
    over = [
        Part(name=task.part, task={**task.dump(), "number": number}, num_items=task.num_rows)
        for number, task in enumerate(rows.judged)
    ]
    check_losses(ctx.spread(judge.judge_part, over=over, phase="judge"), recipe.max_share_lost, items="pairs")


def _marks(
    recipe: DedupPairsRecipe, benchmarks: Mapping[str, Conversations | KeptPairs | RawPairs], ctx: StageContext
) -> MarkFiles:
    """List what the benchmarks are recognised by."""
    num_words = recipe.min_shared_words or 0
    marker = BenchmarkMarker(benchmarks, recipe.mark_kinds, num_words)
    records = ctx.spread(marker.mark_part, over=mark_parts(benchmarks), phase=MARK_PHASE)
    return MarkFiles(
        store_url=ctx.store.url,
        entries=tuple(record.file(MARKS_FILE) for record in records),
        names=tuple(sorted(benchmarks)),
        kinds=recipe.mark_kinds,
        max_bits=recipe.max_near_bits or 0,
        num_words=num_words,
    )


def find_duplicates(
    recipe: DedupPairsRecipe, rows: RowParts, sketched: Sequence[PartRecord], ctx: StageContext
) -> tuple[PartRecord, ...]:
    """The records of the parts that found duplicates."""
    criteria, first_rows = recipe.criteria, rows.first_rows(rows.groups(only_judged=True))
    listing = partial(list_keys, store=ctx.store, rows=rows, sketched=sketched, criteria=criteria)
    listed = ctx.spread(listing, over=group_parts(rows.groups()), phase="list")
    joining = partial(
        join_keys,
        store=ctx.store,
        listed=listed,
        criteria=criteria,
        num_rows=rows.num_rows,
        first_rows=first_rows,
        max_near_bits=recipe.max_near_bits,
    )
    joined = ctx.spread(joining, over=join_parts(criteria, rows.num_rows), phase="join")
    if not recipe.max_near_bits:
        return joined
    looking = partial(
        find_near,
        store=ctx.store,
        joined=[record for record in joined if record.part.startswith(f"{NEAR_PICTURE}_")],
        num_rows=rows.num_rows,
        first_rows=first_rows,
        max_bits=recipe.max_near_bits,
    )
    near = ctx.spread(looking, over=near_parts(recipe.max_near_bits, rows.num_rows), phase="near")
    return (*joined, *near)


def _check(
    raw: KeptPairs | RawPairs,
    earlier: Mapping[str, KeptPairs | RawPairs],
    benchmarks: Mapping[str, Conversations | KeptPairs | RawPairs],
) -> None:
    """Raise `StageError` where an earlier source or a benchmark is named or bound as none can be."""
    for role, named in (("earlier source", earlier), ("benchmark", benchmarks)):
        for name, source in named.items():
            if not NAME.fullmatch(name):
                raise StageError(f"the {role} {name!r} needs a name of a letter, then letters, digits and `_`")
            if source.fingerprint == raw.fingerprint:
                raise StageError(f"the {role} {name!r} is {raw!r}, which is judged itself: every pair would be dropped")
            if role == "benchmark" and source.head.items.kept == 0:
                raise StageError(f"the {role} {name!r} ({source!r}) holds nothing; see why: neo show {source.short}")
