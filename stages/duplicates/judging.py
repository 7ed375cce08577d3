"""The phases in their order, from sketches to verdicts; phase `judge` brings together what is against each row.

verdicts.parquet   a row for each pair or document: `sample_id`, `verdict`, `reason`; `duplicate_of`, the sample id
                   of a better one, and `duplicate_in`, the earlier source that has it; with benchmarks,
                   `benchmark` and `benchmark_by`
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import VERDICTS_FILE
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import PartRecord
from stages.contract import PROFILE_PHASE, Part, PartDraft, PartWork, StageContext, StageError
from stages.duplicates.benchmark_search import MARKED
from stages.duplicates.criteria import NEAR_PICTURE, REASONS, Criterion, DuplicateReason
from stages.duplicates.gathering import duplicates_of_part, gather_found
from stages.duplicates.joining import join_keys, join_parts
from stages.duplicates.listing import list_keys
from stages.duplicates.nearby import find_near, near_parts
from stages.duplicates.parts_of_rows import GroupTask, RowParts, SketchTask, group_parts
from stages.duplicates.ranks import rows_of
from stages.duplicates.sketching import JUDGE_PHASE, SKETCH_FILE, SKETCH_PHASE
from stages.formats.losses import examples_of
from stages.formats.sample_table import (
    balance_of,
    read_table,
    sample_id_type,
    verdict_columns,
    with_columns,
    write_table,
)
from stages.profiles.pictures import keep_profile
from stages.store.store import Store

if TYPE_CHECKING:
    import pyarrow as pa

NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
"""Names of earlier sources and of benchmarks, as of sources of a mixture."""
FOUND_COLUMNS: Final = ("duplicate_of", "duplicate_in", *MARKED)
"""Columns of verdicts that say why."""
PHASES: Final = (SKETCH_PHASE, "list", "join", "near", "gather", JUDGE_PHASE, PROFILE_PHASE)
"""The phases of `judge_duplicates`, in order, and of drawing what it did."""
ShownRows: TypeAlias = "Callable[[str], pa.Table]"
"""The rows of a part with what examples and profiles show of them. Pickles."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What is compared with each other, and by what."""

    rows: RowParts
    """The parts of all sources."""
    criteria: Sequence[Criterion]
    """Criteria by which rows are duplicates."""
    size: str
    """Column of the sketch by which the larger one wins."""
    max_near_bits: int | None = None
    """Largest distance of hashes that are near; None where no pictures are compared by their looks."""


def judge_duplicates(
    ctx: StageContext, comparison: Comparison, sketch: PartWork, shown: ShownRows, named: Sequence[str]
) -> tuple[PartRecord, ...]:
    """Sketch, compare and judge all rows; returns the records of phase `judge`.

    `named` are the columns of `shown` that examples of dropped rows have.
    """
    rows = comparison.rows
    over = [Part(name=task.name, task=task.dump()) for task in rows.tasks]
    sketched = ctx.spread(sketch, over=over, phase=SKETCH_PHASE)
    groups = rows.groups(only_judged=True)
    found = find_duplicates(ctx, comparison, sketched)
    gathering = partial(gather_found, store=ctx.store, rows=rows, groups=groups, found=found)
    gathered = ctx.spread(gathering, over=group_parts(groups), phase="gather")
    judge = DuplicateJudge(ctx.store, rows.sources(), groups, sketched, gathered, shown, named)
    over = [
        Part(name=task.part, task={**task.dump(), "number": number}, num_items=task.num_rows)
        for number, task in enumerate(rows.judged)
    ]
    return ctx.spread(judge.judge_part, over=over, phase=JUDGE_PHASE)


def find_duplicates(
    ctx: StageContext, comparison: Comparison, sketched: Sequence[PartRecord]
) -> tuple[PartRecord, ...]:
    """The records of the parts that found duplicates, in the phases between `sketch` and `gather`."""
    rows, criteria = comparison.rows, comparison.criteria
    first_rows = rows.first_rows(rows.groups(only_judged=True))
    listing = partial(list_keys, store=ctx.store, rows=rows, sketched=sketched, criteria=criteria, size=comparison.size)
    listed = ctx.spread(listing, over=group_parts(rows.groups()), phase="list")
    joining = partial(
        join_keys,
        store=ctx.store,
        listed=listed,
        criteria=criteria,
        num_rows=rows.num_rows,
        first_rows=first_rows,
        max_near_bits=comparison.max_near_bits,
    )
    joined = ctx.spread(joining, over=join_parts(criteria, rows.num_rows), phase="join")
    if not comparison.max_near_bits:
        return joined
    looking = partial(
        find_near,
        store=ctx.store,
        joined=[record for record in joined if record.part.startswith(f"{NEAR_PICTURE}_")],
        num_rows=rows.num_rows,
        first_rows=first_rows,
        max_bits=comparison.max_near_bits,
    )
    near = ctx.spread(looking, over=near_parts(comparison.max_near_bits, rows.num_rows), phase="near")
    return (*joined, *near)


@dataclass(frozen=True)
class DuplicateJudge:
    """Judges the parts. Pickles."""

    store: Store
    sources: Sequence[tuple[int, str]]
    """First row and name of each source."""
    groups: Sequence[GroupTask]
    """Groups of the parts that are judged."""
    sketched: Sequence[PartRecord]
    """Records of phase `sketch`."""
    gathered: Sequence[PartRecord]
    """Records of phase `gather`."""
    shown: ShownRows
    """What examples and profiles show of the rows of a part."""
    named: Sequence[str]
    """Columns of `shown` that examples have."""

    def judge_part(self, part: Part, draft: PartDraft) -> None:
        """Bring together what is against each row of one part, in `verdicts.parquet`."""
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
        of_rows = rows_of(found["of_rank"])
        of_sources = np.searchsorted(firsts, of_rows, side="right") - 1
        better_rows: list[int | None] = [None] * len(reasons)
        for one, of_row, of_source in zip(found, of_rows.tolist(), of_sources.tolist(), strict=True):
            row = int(one["row"]) - task.first_row
            reasons[row] = REASONS[one["reason"]]
            duplicate_of[row] = one["of_id"].tobytes()
            duplicate_in[row] = self.sources[of_source][1] or None
            better_rows[row] = of_row
        columns = {"sample_id": sketch["sample_id"], **verdict_columns(reasons)}
        columns["duplicate_of"] = pa.array(duplicate_of, sample_id_type())
        columns["duplicate_in"] = pa.array(duplicate_in, pa.string())
        columns |= {name: sketch[name] for name in MARKED if name in sketch.column_names}
        verdicts = pa.table(columns)
        write_table(verdicts, draft.path(VERDICTS_FILE))
        draft.count(balance_of(verdicts))
        if MARKED[0] in verdicts.column_names:
            draft.fact(rule_counts=_by_benchmark(verdicts))
        shown = _with_verdicts(self.shown(task.part), verdicts)
        draft.fact(**examples_of(shown, [*self.named, *FOUND_COLUMNS], first_row=None))
        profiled = with_columns(shown, verdicts.select(["sample_id", "verdict"]))
        keep_profile(draft, profiled, task.part, num_parts=self.groups[-1].until, better_rows=better_rows)


def _with_verdicts(rows: pa.Table, verdicts: pa.Table) -> pa.Table:
    """The rows with what the verdicts say of them; ids as text."""
    for name in ("reason", *FOUND_COLUMNS):
        if name in verdicts.column_names:
            values = verdicts[name]
            if name == "duplicate_of":
                values = [[one and one.hex() for one in values.to_pylist()]]
            rows = rows.append_column(name, values)
    return rows


def _by_benchmark(verdicts: pa.Table) -> dict[str, dict[str, int]]:
    """For each benchmark the rows that were dropped, by what: `benchmark mmb` to `{"dropped by looks": 3}`."""
    counted = verdicts.filter(verdicts["benchmark"].is_valid()).group_by(["benchmark", "benchmark_by"])
    counts: dict[str, dict[str, int]] = {}
    for row in counted.aggregate([([], "count_all")]).sort_by("benchmark_by").to_pylist():
        counts.setdefault(f"benchmark {row['benchmark']}", {})[f"dropped by {row['benchmark_by']}"] = row["count_all"]
    return dict(sorted(counts.items()))


def check_sources(raw: Artifact, earlier: Mapping[str, Artifact], benchmarks: Mapping[str, Artifact]) -> None:
    """Raise `StageError` where an earlier source or a benchmark is named or bound as none can be."""
    for role, named in (("earlier source", earlier), ("benchmark", benchmarks)):
        for name, source in named.items():
            if not NAME.fullmatch(name):
                raise StageError(f"the {role} {name!r} needs a name of a letter, then letters, digits and `_`")
            if source.fingerprint == raw.fingerprint:
                raise StageError(f"the {role} {name!r} is {raw!r}, which is judged itself: all would be dropped")
            if role == "benchmark" and source.head.items.kept == 0:
                raise StageError(f"the {role} {name!r} ({source!r}) holds nothing; see why: neo show {source.short}")
