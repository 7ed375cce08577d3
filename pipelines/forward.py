"""Lineage forward: what one URL came to, from its verdict to the training steps and the models that saw it.

Read from the store alone: sample tables say what became of the URL, draws and row indexes hold sample ids, and which
optimizer steps take a row is computed, as training computed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from pipelines.lineage import step_name
from stages.artifact import Artifact, Manifest
from stages.store import Store
from stages.training.order import spans, steps_of_row

if TYPE_CHECKING:
    import pyarrow as pa

EXAMINED_ON = "heldout_rows"
"""The input of a training stage that it never trains on."""
MAX_LISTED = 8


class Sighting(BaseModel):
    """What one artifact holds of the URL."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step: str
    stage: str
    fingerprint: str
    kind: str
    said: str
    """For people."""
    details: dict[str, Any] = {}
    """For machines."""


@dataclass
class Held:
    """What of the URL goes on from an artifact to those that read it."""

    sample_ids: set[bytes] = field(default_factory=set)
    rows: set[int] = field(default_factory=set)
    first_step: int | None = None
    """The first optimizer step that saw it, for weights."""
    seen_by: str = ""
    """The weights that saw it first, for weights made of them."""

    def __bool__(self) -> bool:
        return bool(self.sample_ids or self.rows or self.seen_by)


def trace_url(store: Store, url: str, among: Iterable[Manifest]) -> list[Sighting]:
    """What the URL went into among these artifacts, inputs before what reads them; empty if no table has it."""
    sightings: list[Sighting] = []
    held: dict[str, Held] = {}
    for manifest in _ordered(among):
        artifact = Artifact(store, manifest)
        inputs = {name: held[item.fingerprint] for name, item in manifest.inputs.items() if item.fingerprint in held}
        if manifest.kind == "RawPairs":
            said, details, kept = _in_pairs(artifact, url)
        elif any(inputs.values()):
            said, details, kept = _tracer(manifest)(artifact, inputs)
        else:
            continue
        if said:
            held[manifest.fingerprint] = kept
            sightings.append(
                Sighting(
                    step=step_name(manifest),
                    stage=manifest.stage,
                    fingerprint=manifest.fingerprint,
                    kind=manifest.kind,
                    said=said,
                    details=details,
                )
            )
    return sightings


Traced = tuple[str, dict[str, Any], Held]
"""What to say, details, and what goes on from here."""


def _ordered(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """Inputs before what reads them."""
    waiting = {manifest.fingerprint: manifest for manifest in manifests}

    def visit(fingerprint: str) -> Iterator[Manifest]:
        manifest = waiting.pop(fingerprint, None)
        if manifest is not None:
            for item in manifest.inputs.values():
                yield from visit(item.fingerprint)
            yield manifest

    for fingerprint in list(waiting):
        yield from visit(fingerprint)


def _tracer(manifest: Manifest) -> Callable[[Artifact, Mapping[str, Held]], Traced]:
    known = {"KeptPairs": _in_verdicts, "Conversations": _in_conversations, "Draw": _in_draw, "Rows": _in_rows}
    return known.get(manifest.kind, _in_weights)


def _in_pairs(raw: Artifact, url: str) -> Traced:
    rows = [
        {"part": part, **row}
        for part, table in _tables(raw, "samples.parquet")
        for row in _matching(table, "url", [url]).to_pylist()
    ]
    said = "; ".join(f"part {row['part']}: {_verdict(row)}{_size(row)}" for row in rows[:MAX_LISTED])
    details = {"samples": [_plain(row) for row in rows]}
    return said, details, Held(sample_ids={row["sample_id"] for row in rows if row["verdict"] == "kept"})


def _in_verdicts(kept: Artifact, inputs: Mapping[str, Held]) -> Traced:
    wanted = _sample_ids(inputs)
    rows = [
        {"part": part, **row}
        for part, table in _tables(kept, "verdicts.parquet")
        for row in _matching(table, "sample_id", wanted).to_pylist()
    ]
    said = "; ".join(f"part {row['part']}: {_verdict(row)}" for row in rows[:MAX_LISTED])
    held = Held(sample_ids={row["sample_id"] for row in rows if row["verdict"] == "kept"})
    return said, {"verdicts": [_plain(row) for row in rows]}, held


def _in_conversations(conversations: Artifact, inputs: Mapping[str, Held]) -> Traced:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = _sample_ids(inputs)
    found: set[bytes] = set()
    num_dropped = 0
    for _, table in _tables(conversations, "conversations.parquet"):
        images = table["image_ids"].combine_chunks()
        hits = pc.is_in(images.flatten(), value_set=pa.array(sorted(wanted), images.type.value_type))
        mine = table.take(pc.unique(pc.list_parent_indices(images).filter(hits)))
        kept = mine.filter(pc.equal(mine["verdict"], "kept"))
        found |= set(kept["sample_id"].to_pylist())
        num_dropped += mine.num_rows - kept.num_rows
    said = f"{_counted(len(found), 'conversation')} about it" + (f", {num_dropped} dropped" if num_dropped else "")
    details = {"num_kept": len(found), "num_dropped": num_dropped, "sample_ids": _hex(found)}
    return (said if found or num_dropped else ""), details, Held(sample_ids=found)


def _in_draw(draw: Artifact, inputs: Mapping[str, Held]) -> Traced:
    wanted = _sample_ids(inputs)
    rows = [
        row for _, table in _tables(draw, "draw.parquet") for row in _matching(table, "sample_id", wanted).to_pylist()
    ]
    by_source: dict[str, int] = {}
    for row in rows:
        by_source[row["source"]] = by_source.get(row["source"], 0) + 1
    said = ", ".join(f"drawn {_counted(number, 'time')} from {source}" for source, number in sorted(by_source.items()))
    return said, {"draws": by_source}, Held(sample_ids={row["sample_id"] for row in rows})


def _in_rows(rows: Artifact, inputs: Mapping[str, Held]) -> Traced:
    import pyarrow as pa
    import pyarrow.compute as pc

    wanted = _sample_ids(inputs)
    found: dict[int, str] = {}
    for part, table in _tables(rows, "index.parquet"):
        ids = table["sample_ids"].combine_chunks()
        hits = pc.is_in(ids.flatten(), value_set=pa.array(sorted(wanted), ids.type.value_type))
        mine = table["row"].take(pc.unique(pc.list_parent_indices(ids).filter(hits)))
        found |= dict.fromkeys(mine.to_pylist(), part)
    numbers = sorted(found)
    shards = sorted(set(found.values()))
    said = f"{_some(numbers, 'row')} in {_some(shards, 'shard')}" if found else ""
    return said, {"rows": {str(row): found[row] for row in numbers}}, Held(rows=set(numbers))


def _in_weights(made: Artifact, inputs: Mapping[str, Held]) -> Traced:
    """Training reads rows at steps; whatever else is made of weights that saw the URL saw it with them."""
    trained_on = {name: held.rows for name, held in inputs.items() if held.rows and name != EXAMINED_ON}
    steps = sorted(step for name, rows in trained_on.items() for step in _steps(made, name, rows))
    before = next((held.seen_by for held in inputs.values() if held.seen_by), "")
    own = f"{step_name(made.manifest)} ({made.manifest.stage}/{made.short})"
    said = []
    if steps:
        said.append(f"{_some(steps, 'step')} of {made.manifest.recipe['num_steps']} took it")
    elif trained_on:
        said.append("its rows were packed, but no step had come to them")
    if EXAMINED_ON in inputs and inputs[EXAMINED_ON].rows:
        said.append("it was examined on, and not trained on")
    if before:
        said.append(f"made of what saw it: {before}")
    asked = [name for name, held in inputs.items() if held.sample_ids]
    if asked:
        said.append(f"reads it as {', '.join(asked)}")
    held = Held(first_step=steps[0] if steps else None, seen_by=own if steps else before)
    return "; ".join(said), {"steps": steps, "seen_before_by": before}, held


def _steps(made: Artifact, input_name: str, rows: set[int]) -> Iterator[int]:
    """The optimizer steps of a training artifact that took any of `rows` of one of its inputs."""
    recipe = made.manifest.recipe
    record = made.manifest.inputs[input_name]
    packed = made.input(input_name, Artifact)
    num_rows = sum(table.num_rows for _, table in _tables(packed, "index.parquet", columns=["row"]))
    number = int(input_name.rpartition(".")[2]) if "." in input_name else 0
    span = spans(recipe["num_steps"], recipe["until_steps"])[number]
    num_steps = span.until_step - span.first_step
    assert record.fingerprint == packed.fingerprint
    for row in rows:
        taken = steps_of_row(
            row, num_rows=num_rows, rows_per_step=recipe["rows_per_step"], seed=recipe["seed"], num_steps=num_steps
        )
        yield from (span.first_step + step for step in taken)


def _tables(artifact: Artifact, file_name: str, columns: list[str] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """The tables of that name, with the part that holds each."""
    import pyarrow.parquet as pq

    for part in artifact.parts:
        for entry in part.files:
            if entry.name == file_name:
                yield part.part, pq.read_table(artifact.local_path(entry), columns=columns)


def _matching(table: pa.Table, column: str, wanted: Iterable[Any]) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    return table.filter(pc.is_in(table[column], value_set=pa.array(sorted(wanted), table[column].type)))


def _sample_ids(inputs: Mapping[str, Held]) -> set[bytes]:
    return set().union(*(held.sample_ids for held in inputs.values()))


def _verdict(row: Mapping[str, Any]) -> str:
    return f"{row['verdict']} ({row['reason']})" if row["reason"] else str(row["verdict"])


def _size(row: Mapping[str, Any]) -> str:
    return f", {row['width_px']} x {row['height_px']} px" if row.get("width_px") else ""


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in row.items()}


def _hex(ids: Iterable[bytes]) -> list[str]:
    return sorted(sample_id.hex() for sample_id in ids)


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _some(values: list[Any], noun: str) -> str:
    listed = ", ".join(map(str, values[:MAX_LISTED]))
    more = f" and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return f"{noun}{'' if len(values) == 1 else 's'} {listed}{more}"
