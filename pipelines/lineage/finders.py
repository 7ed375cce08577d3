"""Finders: for each kind of artifact, find a sample in it, and which ids and rows of it the artifact hands on.

Owns `FINDERS`, a finder for each kind. A finder gets what the artifact's inputs hand on of the sample and reads the
artifact's own tables and indexes. The optimizer steps that read a row are computed from the recipe's seed, as training
computed them; no log is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from pipelines.indexes.subjects import TABLES
from pipelines.lineage.graph import step_name
from pipelines.lineage.sightings import (
    Carryover,
    ConversationSighting,
    DrawSighting,
    Inputs,
    ModelSighting,
    RowsSighting,
    Sighting,
    SourceSighting,
    TableRow,
    VerdictSighting,
    WeightsSighting,
)
from pipelines.lineage.sought import Search, Sought
from pipelines.lineage.table_rows import part_tables, rows_with, tables_of
from stages.artifacts import kinds
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import (
    CONVERSATIONS_FILE,
    DRAW_FILE,
    HELD_OUT_FILE,
    SAMPLES_FILE,
    VERDICTS_FILE,
    Rows,
)
from stages.artifacts.taken_over import JUDGED_INPUT
from stages.formats.packed_rows.rows import RowReader
from stages.training.exposure import left_out_of, name_of_rows, num_steps_taken, order_of
from stages.training.forks import course_of

EXAMINED_ON = "heldout_rows"
"""Begins the names of the inputs with held-out rows, on which a training stage was examined and never trained."""
HELD_OUT_INPUT = "heldout."
"""Prefix of the inputs of a draw whose samples it must hold out, such as `heldout.exam`."""
MAX_ROWS_OPENED = 8
"""Packed rows in which a sighting gives the positions of the sample, at most: each costs a read."""
SOURCE_TABLES: Final = TABLES
"""The kinds in which samples begin, and their sample table."""
DRAWING_STAGE: Final = "mix_samples"
"""The stage that draws from each part of a source in a part of its own, `<source>-<part>`."""
DRAWN_INPUT: Final = "sources."
"""Prefix of the inputs that it draws from."""
ABOUT: Final = ("image_ids", "clip_ids")
"""Columns of conversations that list what they are about; older tables have the first alone."""

Finder: TypeAlias = Callable[[Artifact, Inputs], Sighting | None]
"""Finds the sample in an artifact of one kind; returns None if the artifact holds nothing of it."""


def find_in_source(source: Artifact, soughts: Sequence[Sought], search: Search) -> SourceSighting | None:
    """The samples where they begin: the rows that are looked for, each once."""
    found = [row for sought in soughts for row in sought.rows(source, search)]
    rows = tuple(found)
    if len(soughts) > 1:  # by its URL and by its sample id
        rows = tuple({(row["part"], row["sample_id"], row["reason"]): row for row in found}.values())
    return SourceSighting(artifact=source, rows=rows, carryover=_kept(rows)) if rows else None


def with_given(begins: SourceSighting | None, by_inputs: Sighting | None) -> Sighting | None:
    """Verdicts on rows to which they give the text that is looked for, and on those that inputs hand on."""
    if begins is None:
        return by_inputs
    known = by_inputs.verdicts if isinstance(by_inputs, VerdictSighting) else ()
    ids = {row["sample_id"] for row in known}
    verdicts = (*known, *(row for row in begins.rows if row["sample_id"] not in ids))
    return VerdictSighting(artifact=begins.artifact, verdicts=verdicts, carryover=_kept(verdicts))


def find_in_verdicts(kept: Artifact, inputs: Inputs) -> VerdictSighting | None:
    """The filter's verdicts on the sample."""
    wanted, parts = _sample_ids(inputs), _only_parts(inputs, JUDGED_INPUT)
    rows = rows_with(kept, VERDICTS_FILE, ["sample_id"], wanted, parts)
    if parts is not None and {row["sample_id"] for row in rows} != wanted:  # of a user's own stage, with parts its own
        rows = rows_with(kept, VERDICTS_FILE, ["sample_id"], wanted)
    return VerdictSighting(artifact=kept, verdicts=rows, carryover=_kept(rows)) if rows else None


def find_in_conversations(conversations: Artifact, inputs: Inputs) -> ConversationSighting | None:
    """The conversations about the sample; those that are kept are handed on under their own ids."""
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = _sample_ids(inputs)
    kept_ids: set[bytes] = set()
    num_dropped = 0
    for table in tables_of(
        conversations.store, part_tables(conversations, CONVERSATIONS_FILE), ["sample_id", *ABOUT, "verdict"]
    ):
        numbers: set[int] = set()
        for name in set(ABOUT) & set(table.column_names):
            # The columns are lists: rows [[a, b], [c]] have the flat ids [a, b, c] and the parents [0, 0, 1].
            about = table[name].combine_chunks()
            hits = pc.is_in(about.flatten(), value_set=pa.array(sorted(wanted), about.type.value_type))
            numbers.update(pc.list_parent_indices(about).filter(hits).to_pylist())
        about_it = table.take(pa.array(sorted(numbers), pa.int64()))
        kept = about_it.filter(pc.equal(about_it["verdict"], "kept"))
        kept_ids |= set(kept["sample_id"].to_pylist())
        num_dropped += about_it.num_rows - kept.num_rows
    if not kept_ids and not num_dropped:
        return None
    carryover = Carryover(sample_ids=frozenset(kept_ids))
    return ConversationSighting(artifact=conversations, num_dropped=num_dropped, carryover=carryover)


def find_in_draw(draw: Artifact, inputs: Inputs) -> DrawSighting:
    """The drawings of the sample, else why it was held out; neither if it was a candidate and not drawn."""
    candidates = {name: one for name, one in inputs.items() if not name.startswith(HELD_OUT_INPUT)}
    if not any(candidates.values()):
        return DrawSighting(artifact=draw, is_held_out_input=True)
    wanted = _sample_ids(candidates)
    parts = _parts_of_draw(draw, candidates)
    drawings = rows_with(draw, DRAW_FILE, ["sample_id"], wanted, parts)
    if not drawings:
        return DrawSighting(artifact=draw, held_out=rows_with(draw, HELD_OUT_FILE, ["sample_id"], wanted, parts))
    carryover = Carryover(sample_ids=frozenset(row["sample_id"] for row in drawings))
    return DrawSighting(artifact=draw, drawings=drawings, carryover=carryover)


def find_in_rows(packed: Artifact, inputs: Inputs) -> RowsSighting | None:
    """The packed rows with the sample, by their index, else the verdicts that kept it out of them."""
    wanted, reader = _sample_ids(inputs), RowReader(packed.as_kind(Rows))
    numbers = sorted({row for rows in reader.samples.rows_of_many(wanted).values() for row in rows})
    if not numbers:
        verdicts = rows_with(packed, SAMPLES_FILE, ["sample_id"], wanted)
        not_packed = tuple(row for row in verdicts if row["verdict"] != "kept")
        return RowsSighting(artifact=packed, shards={}, documents={}, not_packed=not_packed) if not_packed else None
    documents = {
        row: [position for position, (sample_id, *_) in enumerate(reader.documents(row)) if sample_id in wanted]
        for row in numbers[:MAX_ROWS_OPENED]
    }
    return RowsSighting(
        artifact=packed,
        shards={row: reader.part_of(row) for row in numbers},
        documents=documents,
        carryover=Carryover(rows=frozenset(numbers)),
    )


def find_in_weights(made: Artifact, inputs: Inputs) -> WeightsSighting:
    """The optimizer steps that read the sample, and an earlier training that saw it, if the weights start from one."""
    examined_on = {name for name in inputs if name.partition(".")[0] == EXAMINED_ON}
    trained_on = {name: one.rows for name, one in inputs.items() if one.rows and name not in examined_on}
    steps = sorted({step for name, rows in trained_on.items() for step in _steps(made, name, rows)})
    before = _seen_before_by(inputs)
    own = f"{step_name(made.head)} ({made.head.stage}/{made.short})"
    return WeightsSighting(
        artifact=made,
        steps=tuple(steps),
        num_steps=num_steps_taken(made) if "num_steps" in made.head.recipe else None,
        has_rows=bool(trained_on),
        is_examined_on=any(inputs[name].rows for name in examined_on),
        seen_before_by=before,
        read_as=_read_as(inputs),
        carryover=Carryover(seen_by=own if steps else before),
    )


def find_in_use_of_model(made: Artifact, inputs: Inputs) -> ModelSighting:
    """An artifact made from a model that saw the sample, or that reads an artifact which holds it."""
    before = _seen_before_by(inputs)
    carryover = Carryover(seen_by=before)
    return ModelSighting(artifact=made, seen_before_by=before, read_as=_read_as(inputs), carryover=carryover)


FINDERS: Final[Mapping[str, Finder]] = {
    kinds.KeptPairs.kind: find_in_verdicts,
    kinds.KeptClips.kind: find_in_verdicts,
    kinds.KeptTexts.kind: find_in_verdicts,
    kinds.Conversations.kind: find_in_conversations,
    kinds.Draw.kind: find_in_draw,
    kinds.Rows.kind: find_in_rows,
    kinds.PreBuffer.kind: find_in_weights,
    kinds.Checkpoint.kind: find_in_weights,
    kinds.ExportedCheckpoint.kind: find_in_use_of_model,
    kinds.Evaluation.kind: find_in_use_of_model,
}
"""Kind to its finder, for artifacts whose inputs hand on something of the sample. Any other kind, such as a user's own,
gets `find_in_use_of_model`: its sighting names the inputs that hold the sample, and hands on no ids."""


def _parts_of_draw(draw: Artifact, inputs: Inputs) -> frozenset[str] | None:
    """The parts of a draw that can hold the samples; None for any, such as those of a user's own stage."""
    holding = {name: one.parts for name, one in inputs.items() if one.sample_ids}
    if draw.stage != DRAWING_STAGE or not all(holding.values()):
        return None
    return frozenset(f"{name.removeprefix(DRAWN_INPUT)}-{part}" for name, parts in holding.items() for part in parts)


def _only_parts(inputs: Inputs, name: str) -> frozenset[str] | None:
    """Parts of an input that hold the samples, where no other input hands on any."""
    others = any(one.sample_ids for other, one in inputs.items() if other != name)
    parts = inputs[name].parts if name in inputs else frozenset()
    return None if others or not parts else parts


def _steps(made: Artifact, input_name: str, rows: Iterable[int]) -> Iterator[int]:
    """The optimizer steps of a training, counted from 1, that read any of `rows` of its input `rows.<number>`.

    Those before a fork count too; `before.rows.<number>` is an input that only they read.
    """
    reader, left_out = RowReader(made.input(input_name, Rows)), left_out_of(made)
    for stretch in course_of(made.head, num_steps_taken(made)):
        if name_of_rows(made, stretch) != input_name:
            continue
        order, num_steps = order_of(reader, stretch), stretch.until_step - stretch.first_step
        for row in rows:
            # 12 steps with until_steps (5,): `rows.1` is read from index 5 on; its index 0 is step 6, counted from 1.
            numbered = (stretch.first_step + step + 1 for step in order.steps_of_row(row, num_steps))
            yield from (step for step in numbered if not left_out.holds(step - 1, row))


def _kept(rows: Iterable[TableRow]) -> Carryover:
    kept = [row for row in rows if row["verdict"] == "kept"]
    return Carryover(
        sample_ids=frozenset(row["sample_id"] for row in kept), parts=frozenset(str(row["part"]) for row in kept)
    )


def _sample_ids(inputs: Inputs) -> set[bytes]:
    return {sample_id for one in inputs.values() for sample_id in one.sample_ids}


def _seen_before_by(inputs: Inputs) -> str:
    return next((one.seen_by for one in inputs.values() if one.seen_by), "")


def _read_as(inputs: Inputs) -> tuple[str, ...]:
    return tuple(name for name, one in inputs.items() if one.sample_ids)
