"""Sightings of a sample in sentences, for people: one function for each class of `pipelines/lineage/sightings.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import Any

from pipelines.lineage.sightings import (
    ConversationSighting,
    DrawSighting,
    ModelSighting,
    RowsSighting,
    Sighting,
    SourceSighting,
    TableRow,
    VerdictSighting,
    WeightsSighting,
)

MAX_LISTED = 8


@singledispatch
def describe(sighting: Sighting) -> str:
    """What an artifact holds of the sample, in a sentence. Raises TypeError for a class that has no sentence."""
    raise TypeError(f"no sentence for a {type(sighting).__name__}")


@describe.register
def _(sighting: SourceSighting) -> str:
    return _each(sighting.rows, lambda row: f"part {row['part']}: {_verdict(row)}{_stretch(row)}{_size(row)}")


@describe.register
def _(sighting: VerdictSighting) -> str:
    return _each(sighting.verdicts, lambda row: f"part {row['part']}: {_verdict(row)}")


@describe.register
def _(sighting: ConversationSighting) -> str:
    dropped = f", {sighting.num_dropped} dropped" if sighting.num_dropped else ""
    return f"{_counted(sighting.num_kept, 'conversation')} about it{dropped}"


@describe.register
def _(sighting: DrawSighting) -> str:
    if sighting.is_held_out_input:
        return "held out from it"
    if not sighting.drawings:
        equals = (f"by its {row['by']}, as {row['held_out_sample_id'].hex()} of {row['held_out_in']}"
                  for row in sighting.held_out[:MAX_LISTED])  # fmt: skip
        return "; ".join(f"held out, known {how}" for how in equals) or "not drawn"
    sentences = []
    for source, number in sorted(sighting.num_drawn.items()):
        repetitions = sorted({row["repetition"] for row in sighting.drawings if row["source"] == source})
        sentences.append(f"drawn {_counted(number, 'time')} from {source}, {_listed(repetitions, 'repetition')}")
    return "; ".join(sentences)


@describe.register
def _(sighting: RowsSighting) -> str:
    if not sighting.shards:
        return "; ".join(sorted({f"not packed: {_verdict(row)}" for row in sighting.not_packed}))
    shards = sorted(set(sighting.shards.values()))
    return f"{_listed(sorted(sighting.shards), 'row')} in {_listed(shards, 'shard')}"


@describe.register
def _(sighting: ModelSighting) -> str:
    before = [f"made of what saw it: {sighting.seen_before_by}"] if sighting.seen_before_by else []
    read = [f"reads it as {', '.join(sighting.read_as)}"] if sighting.read_as else []
    return "; ".join([*before, *read])


@describe.register
def _(sighting: WeightsSighting) -> str:
    sentences = []
    if sighting.steps:
        steps = f"{_listed(sighting.steps, 'step')} of {sighting.num_steps} took it"
        sentences.append(f"{steps}; in every checkpoint from step {sighting.steps[0]} on")
    elif sighting.has_rows:
        sentences.append("its rows were packed, but no step had come to them")
    if sighting.is_examined_on:
        sentences.append("it was examined on, and not trained on")
    of_inputs = describe.dispatch(ModelSighting)(sighting)
    return "; ".join([*sentences, *([of_inputs] if of_inputs else [])])


def _each(rows: Sequence[TableRow], said: Callable[[TableRow], str]) -> str:
    """What is said of each row, `part 00000: kept; part 00001: kept`; of many, how many ended how.

    `2,832 in 30 parts: 2,100 kept, 732 failed (not_found)`
    """
    if len(rows) <= MAX_LISTED:
        return "; ".join(map(said, rows))
    parts = {row["part"] for row in rows}
    endings = Counter(f"{row['verdict']} ({row['reason']})" if row["reason"] else str(row["verdict"]) for row in rows)
    counted = ", ".join(f"{number:,} {ending}" for ending, number in endings.most_common(MAX_LISTED))
    return f"{len(rows):,} in {_counted(len(parts), 'part')}: {counted}"


def _verdict(row: TableRow) -> str:
    of = row.get("duplicate_of")
    reason = f"{row['reason']} of {of.hex()}" if of else row["reason"]
    return f"{row['verdict']} ({reason})" if reason else str(row["verdict"])


def _stretch(row: TableRow) -> str:
    """Of a clip, where it lies in its video: `, 4.00 to 6.50 s of http://films.example/walk.mp4, 8 frames`."""
    if row.get("start_seconds") is None:
        return ""
    stretch = f", {row['start_seconds']:.2f} to {row['end_seconds']:.2f} s of {row['url']}"
    return stretch + (f", {_counted(len(row['frame_times']), 'frame')}" if row.get("frame_times") else "")


def _size(row: TableRow) -> str:
    return f", {row['width_px']} x {row['height_px']} px" if row.get("width_px") else ""


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _listed(values: Sequence[Any], noun: str) -> str:
    """The first values: `rows 1, 2, 3 and 4 more`."""
    first = ", ".join(map(str, values[:MAX_LISTED]))
    more = f" and {len(values) - MAX_LISTED} more" if len(values) > MAX_LISTED else ""
    return f"{noun}{'' if len(values) == 1 else 's'} {first}{more}"
