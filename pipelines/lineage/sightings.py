"""What an artifact of each kind holds of a sample, and what of it goes on to whoever reads the artifact.

Each look ends in words for people, details for machines, and what `forward.py` carries on. Steps are counted from 1, as
people count them: a checkpoint of step 12 has seen what step 12 took.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from pipelines.lineage.graph import step_name
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import DRAW_FILE, HELD_OUT_FILE, SAMPLES_FILE, VERDICTS_FILE, Rows
from stages.formats.rows import RowReader
from stages.training.exposure import skips_of
from stages.training.loading.step_rows import spans, steps_of_row

if TYPE_CHECKING:
    import pyarrow as pa

EXAMINED_ON = "heldout_rows"
"""The input of a training stage that it never trains on."""
MAX_LISTED = 8
SOURCE_TABLES = {
    "RawPairs": "samples.parquet",
    "TextDocuments": "documents.parquet",
    "Conversations": "conversations.parquet",
}
"""The kinds in which samples begin, and their table of them."""


@dataclass
class Held:
    """What of the sample goes on from an artifact to those that read it."""

    sample_ids: set[bytes] = field(default_factory=set)
    """Its own, and those of conversations about it."""
    rows: set[int] = field(default_factory=set)
    seen_by: str = ""
    """The weights that saw it first, for weights made of them."""

    def __bool__(self) -> bool:
        return bool(self.sample_ids or self.rows or self.seen_by)


Traced: TypeAlias = tuple[str, dict[str, Any], Held]
"""What to say, details, and what goes on from here."""
Inputs: TypeAlias = Mapping[str, Held]
"""What each input holds of the sample."""


def in_source(source: Artifact, column: str, value: str | bytes) -> Traced:
    rows = list(_rows_with(source, SOURCE_TABLES[source.manifest.kind], column, [value]))
    said = "; ".join(f"part {row['part']}: {_verdict(row)}{_size(row)}" for row in rows[:MAX_LISTED])
    details = {"samples": [_plain(row) for row in rows]}
    return said, details, Held(sample_ids={row["sample_id"] for row in rows if row["verdict"] == "kept"})


def in_verdicts(kept: Artifact, inputs: Inputs) -> Traced:
    rows = list(_rows_with(kept, VERDICTS_FILE, "sample_id", _sample_ids(inputs)))
    said = "; ".join(f"part {row['part']}: {_verdict(row)}" for row in rows[:MAX_LISTED])
    held = Held(sample_ids={row["sample_id"] for row in rows if row["verdict"] == "kept"})
    return said, {"verdicts": [_plain(row) for row in rows]}, held


def in_conversations(conversations: Artifact, inputs: Inputs) -> Traced:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = _sample_ids(inputs)
    found: set[bytes] = set()
    num_dropped = 0
    for _, table in tables(
        conversations, SOURCE_TABLES["Conversations"], columns=["sample_id", "image_ids", "verdict"]
    ):
        images = table["image_ids"].combine_chunks()
        hits = pc.is_in(images.flatten(), value_set=pa.array(sorted(wanted), images.type.value_type))
        mine = table.take(pc.unique(pc.list_parent_indices(images).filter(hits)))
        kept = mine.filter(pc.equal(mine["verdict"], "kept"))
        found |= set(kept["sample_id"].to_pylist())
        num_dropped += mine.num_rows - kept.num_rows
    said = f"{_counted(len(found), 'conversation')} about it" + (f", {num_dropped} dropped" if num_dropped else "")
    details = {"num_kept": len(found), "num_dropped": num_dropped, "sample_ids": _hex(found)}
    return (said if found or num_dropped else ""), details, Held(sample_ids=found)


def in_draw(draw: Artifact, inputs: Inputs) -> Traced:
    offered = {name: held for name, held in inputs.items() if not name.startswith("heldout.")}
    if not any(offered.values()):
        return "held out from it", {"draws": {}}, Held()
    rows = list(_rows_with(draw, DRAW_FILE, "sample_id", _sample_ids(offered)))
    if not rows:
        return _not_drawn(draw, offered)
    said = []
    for source, number in sorted(Counter(row["source"] for row in rows).items()):
        repetitions = sorted({row["repetition"] for row in rows if row["source"] == source})
        said.append(f"drawn {_counted(number, 'time')} from {source}, {_some(repetitions, 'repetition')}")
    details = {"draws": Counter(row["source"] for row in rows), "drawings": [_plain(row) for row in rows]}
    return "; ".join(said), details, Held(sample_ids={row["sample_id"] for row in rows})


def _not_drawn(draw: Artifact, inputs: Inputs) -> Traced:
    rows = list(_rows_with(draw, HELD_OUT_FILE, "sample_id", _sample_ids(inputs)))
    known = (f"by its {row['by']}, as {row['held_out_sample_id'].hex()} of {row['held_out_in']}" for row in rows)
    said = "; ".join(f"held out, known {how}" for how in list(known)[:MAX_LISTED])
    return said or "not drawn", {"draws": {}, "held_out": [_plain(row) for row in rows]}, Held()


def in_rows(packed: Artifact, inputs: Inputs) -> Traced:
    wanted, reader = _sample_ids(inputs), RowReader(Rows(packed.store, packed.manifest))
    numbers = sorted({row for rows in reader.samples.rows_of_many(wanted).values() for row in rows})
    if not numbers:
        rows = [row for row in _rows_with(packed, SAMPLES_FILE, "sample_id", wanted) if row["verdict"] != "kept"]
        said = "; ".join(sorted({f"not packed: {_verdict(row)}" for row in rows}))
        return said, {"rows": {}, "samples": [_plain(row) for row in rows]}, Held()
    shards = {row: reader.part_of(row) for row in numbers}
    documents = {
        str(row): [number for number, (sample_id, *_) in enumerate(reader.documents(row)) if sample_id in wanted]
        for row in numbers[:MAX_LISTED]
    }
    said = f"{_some(numbers, 'row')} in {_some(sorted(set(shards.values())), 'shard')}"
    details = {"rows": {str(row): shard for row, shard in shards.items()}, "documents": documents}
    return said, details, Held(rows=set(numbers))


def in_weights(made: Artifact, inputs: Inputs) -> Traced:
    """Training reads rows at steps; whatever else is made of weights that saw the sample saw it with them."""
    trained_on = {name: held.rows for name, held in inputs.items() if held.rows and name != EXAMINED_ON}
    steps = sorted({step for name, rows in trained_on.items() for step in _steps(made, name, rows)})
    before = next((held.seen_by for held in inputs.values() if held.seen_by), "")
    own = f"{step_name(made.manifest)} ({made.manifest.stage}/{made.short})"
    said = []
    if steps:
        taken = f"{_some(steps, 'step')} of {made.manifest.recipe['num_steps']} took it"
        said.append(f"{taken}; in every checkpoint from step {steps[0]} on")
    elif trained_on:
        said.append("its rows were packed, but no step had come to them")
    if EXAMINED_ON in inputs and inputs[EXAMINED_ON].rows:
        said.append("it was examined on, and not trained on")
    if before:
        said.append(f"made of what saw it: {before}")
    asked = [name for name, held in inputs.items() if held.sample_ids]
    if asked:
        said.append(f"reads it as {', '.join(asked)}")
    held = Held(seen_by=own if steps else before)
    return "; ".join(said), {"steps": steps, "seen_before_by": before}, held


def _steps(made: Artifact, input_name: str, rows: set[int]) -> Iterator[int]:
    """The optimizer steps of a training artifact, counted from 1, that took any of `rows` of one of its inputs."""
    recipe = made.manifest.recipe
    num_rows = RowReader(made.input(input_name, Rows)).num_rows
    number = int(input_name.rpartition(".")[2])
    span = spans(recipe["num_steps"], recipe["until_steps"])[number]
    num_steps, left_out = span.until_step - span.first_step, skips_of(made)
    for row in rows:
        taken = steps_of_row(
            row, num_rows=num_rows, rows_per_step=recipe["rows_per_step"], seed=recipe["seed"], num_steps=num_steps
        )
        numbered = (span.first_step + step + 1 for step in taken)
        yield from (step for step in numbered if (step, row) not in left_out)


NOTHING: Traced = ("", {}, Held())
LOOKS: Mapping[str, Callable[[Artifact, Inputs], Traced]] = {
    "KeptPairs": in_verdicts,
    "Conversations": in_conversations,
    "Draw": in_draw,
    "Rows": in_rows,
}
"""How to look into an artifact that reads what holds the sample; any other kind is weights, or made of weights."""


def tables(artifact: Artifact, file_name: str, columns: list[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """The tables of that name, with the part that holds each."""
    import pyarrow.parquet as pq

    for part in artifact.parts:
        for entry in part.files:
            if entry.name == file_name:
                yield part.part, pq.read_table(artifact.local_path(entry), columns=columns)


def _rows_with(
    artifact: Artifact, file_name: str, column: str, values: Iterable[str | bytes]
) -> Iterator[dict[str, Any]]:
    """The rows with one of these values in a column, each with its `part`. Other columns are read of those alone."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = sorted(values)
    for part in artifact.parts:
        for entry in part.files:
            if entry.name == file_name:
                path = artifact.local_path(entry)
                known = pq.read_table(path, columns=[column])[column]
                hits = pc.is_in(known, value_set=pa.array(wanted, known.type))
                if pc.any(hits).as_py():
                    yield from ({"part": part.part, **row} for row in pq.read_table(path).filter(hits).to_pylist())


def _sample_ids(inputs: Inputs) -> set[bytes]:
    return set().union(*(held.sample_ids for held in inputs.values()))


def _verdict(row: Mapping[str, Any]) -> str:
    return f"{row['verdict']} ({row['reason']})" if row["reason"] else str(row["verdict"])


def _size(row: Mapping[str, Any]) -> str:
    return f", {row['width_px']} x {row['height_px']} px" if row.get("width_px") else ""


def _plain(value: Any) -> Any:
    """As JSON has it: bytes as hex digits."""
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _hex(ids: Iterable[bytes]) -> list[str]:
    return sorted(sample_id.hex() for sample_id in ids)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _some(values: list[Any], noun: str) -> str:
    listed = ", ".join(map(str, values[:MAX_LISTED]))
    more = f" and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return f"{noun}{'' if len(values) == 1 else 's'} {listed}{more}"
