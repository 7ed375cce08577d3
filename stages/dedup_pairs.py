"""Drops pairs that repeat others: by URL, by the bytes of the picture, by what the picture looks like, by caption.

Reads  RawPairs or KeptPairs   `raw`, the pairs that are judged: tables, and the pictures if their looks are compared
       the same                `earlier`, if any: sources whose pairs always win, under names of the user's choice
Makes  KeptPairs   phase sketch: `sketch.parquet`, the digests of each pair
                   phase list:   pairs under their keys, some million a part
                   phase join:   duplicates among the pairs that have a key in common
                   phase near:   duplicates among the pairs whose pictures look alike
                   phase gather: what was found, by the parts that are judged
                   phase judge:  verdicts.parquet, a row for each pair of `raw`; `duplicate_of` is the sample id of a
                                 better pair, `duplicate_in` the earlier source that has it

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

from stages.artifacts.kinds import VERDICTS_FILE, KeptPairs, RawPairs
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.contract import Part, PartDraft, Recipe, StageContext, StageError, conduct, stage
from stages.duplicates.criteria import NEAR_PICTURE, REASONS, Criterion, DuplicateReason
from stages.duplicates.gathering import duplicates_of_part, gather_found
from stages.duplicates.joining import join_keys, join_parts
from stages.duplicates.listing import list_keys
from stages.duplicates.near_hashes import MAX_BITS
from stages.duplicates.nearby import find_near, near_parts
from stages.duplicates.parts_of_rows import JUDGED, GroupTask, RowParts, SketchTask, group_parts, row_parts
from stages.duplicates.ranks import rows_of
from stages.duplicates.sketching import SKETCH_FILE, SKETCH_PHASE, Sketcher
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.pairs import PairReader
from stages.formats.sample_table import balance_of, read_table, sample_id_type, verdict_columns, write_table
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names of earlier sources, as of sources of a mixture."""
SHOWN = ("url", "caption", "width_px", "height_px", "duplicate_of", "duplicate_in")
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
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the pairs that may be dropped for one reason before the step fails; 1 takes anything."""

    @model_validator(mode="after")
    def _check_compares(self) -> Self:
        if not self.criteria:
            raise ValueError(
                "no pair is compared with another: set same_url, same_picture, max_near_bits or max_pairs_per_caption"
            )
        return self

    @property
    def criteria(self) -> list[Criterion]:
        """The criteria that are asked for, surest first."""
        criteria = []
        if self.same_url:
            criteria.append(Criterion("url", ("url",), DuplicateReason.DUPLICATE_URL))
        if self.same_picture:
            criteria.append(Criterion("picture", ("picture",), DuplicateReason.DUPLICATE_PICTURE))
        if self.max_near_bits is not None:
            criteria.append(Criterion(NEAR_PICTURE, ("hash",), DuplicateReason.NEAR_DUPLICATE_PICTURE))
        if self.max_pairs_per_caption is not None:
            reason = DuplicateReason.DUPLICATE_CAPTION
            criteria.append(Criterion("caption", ("caption",), reason, self.max_pairs_per_caption))
        return criteria


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
        verdicts = pa.table(columns)
        write_table(verdicts, draft.path(VERDICTS_FILE))
        draft.count(balance_of(verdicts))
        draft.fact(**examples_of(self._shown(task.part, verdicts), SHOWN, first_row=None))

    def _shown(self, part: str, verdicts: pa.Table) -> pa.Table:
        """The pairs with their verdicts; ids as text."""
        samples = PairReader(self.pairs).read_table(part, ["url", "caption", "width_px", "height_px"])
        ids = [one and one.hex() for one in verdicts["duplicate_of"].to_pylist()]
        shown = samples.select(["url", "caption", "width_px", "height_px"]).append_column("duplicate_of", [ids])
        return shown.append_column("reason", verdicts["reason"]).append_column("duplicate_in", verdicts["duplicate_in"])


@stage(
    number=1,
    recipe=DedupPairsRecipe,
    makes=KeptPairs,
    phases=(SKETCH_PHASE, "list", "join", "near", "gather", "judge"),
)
def dedup_pairs(
    recipe: DedupPairsRecipe,
    raw: KeptPairs | RawPairs,
    earlier: Mapping[str, KeptPairs | RawPairs] | None,
    *,
    ctx: StageContext,
) -> None:
    """Sketch the pairs, bring together those that have a key in common, and judge them, a part for each part of `raw`.

    390 million pairs under the default criteria are 23 GB of sketches and 90 GB of records on disk, and 1,200 parts of
    the phases between `sketch` and `judge`.
    """
    _check(raw, earlier or {})
    rows = row_parts(raw, earlier or {})
    sketcher = Sketcher({JUDGED: raw, **(earlier or {})}, hashes_pictures=recipe.max_near_bits is not None)
    over = [Part(name=task.name, task=task.dump()) for task in rows.tasks]
    sketched = ctx.spread(sketcher.sketch_part, over=over, phase=SKETCH_PHASE)
    groups = rows.groups(only_judged=True)
    found = _found(recipe, rows, sketched, ctx)
    gathering = partial(gather_found, store=ctx.store, rows=rows, groups=groups, found=found)
    gathered = ctx.spread(gathering, over=group_parts(groups), phase="gather")
    judge = PairJudge(raw, ctx.store, rows.sources(), groups, sketched, gathered)
    over = [
        Part(name=task.part, task={**task.dump(), "number": number}, num_items=task.num_rows)
        for number, task in enumerate(rows.judged)
    ]
    check_losses(ctx.spread(judge.judge_part, over=over, phase="judge"), recipe.max_share_lost, items="pairs")


def _found(
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


def _check(raw: KeptPairs | RawPairs, earlier: Mapping[str, KeptPairs | RawPairs]) -> None:
    """Raise `StageError` where an earlier source is named or bound as none can be."""
    for name, source in earlier.items():
        if not NAME.fullmatch(name):
            raise StageError(f"the earlier source {name!r} needs a name of a letter, then letters, digits and `_`")
        if source.fingerprint == raw.fingerprint:
            raise StageError(f"the earlier source {name!r} is {raw!r}, which is judged itself: every pair would go")
