"""Parts that an artifact takes over by reference from another, whose files stay where they are.

Owns what the record of such a part says. It names the files in the folder of the artifact that made them, by the same
digests, so nothing is copied. Its fact `superseded` counts, by reason, the rows of its sample table whose verdict
stands in a later part now, because they were fetched again: such a row is not among the items of the part, and every
reader of whole tables leaves it out (`superseded_reasons`). All rows of a part that failed for one reason are
superseded together, so the reasons are enough to know them by. A kept row is never superseded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from stages.artifacts.artifact import Artifact
from stages.artifacts.manifest import owner_of
from stages.artifacts.records import PartRecord

EXTENDS_INPUT: Final = "extends"
"""Name of the input of a stage whose artifact holds all parts of that input, and parts of its own."""
JUDGED_INPUT: Final = "raw"
"""Name of the input of verdicts that holds what they judge: a raw artifact, or verdicts again."""
SUPERSEDED_FACT: Final = "superseded"
"""Fact of a part: reason to the number of its failed rows whose verdict stands in a later part."""
TAKEN_DOWN_FIELD: Final = "taken_down"
"""Field of the recipe of a stage that brings samples in: the lists of what it leaves out, by their digests."""
TAKEN_FROM: Final = "taken_from"
"""Field of `made_by` of a part that was taken over: the artifact that made its files."""


def superseded_reasons(record: PartRecord) -> frozenset[str]:
    """Reasons of the rows of a part whose verdict stands in a later part."""
    return frozenset(record.facts.get(SUPERSEDED_FACT, ()))


def num_table_rows(record: PartRecord) -> int:
    """Rows of the sample table of a part: its items, and rows that are superseded."""
    superseded: Mapping[str, int] = record.facts.get(SUPERSEDED_FACT, {})
    return record.items.total + sum(superseded.values())


def with_superseded(record: PartRecord, reasons: Collection[str]) -> PartRecord:
    """The record of a part of which all rows that failed for one of `reasons` get their verdict in a later part."""
    gone = {reason: number for reason, number in record.items.failed.items() if reason in reasons}
    if not gone:
        return record
    left = {reason: number for reason, number in record.items.failed.items() if reason not in gone}
    facts: dict[str, Any] = dict(record.facts)
    facts[SUPERSEDED_FACT] = dict(sorted({**facts.get(SUPERSEDED_FACT, {}), **gone}.items()))
    if "examples" in facts:
        facts["examples"] = {reason: one for reason, one in facts["examples"].items() if reason not in gone}
    return record.model_copy(update={"items": record.items.model_copy(update={"failed": left}), "facts": facts})


def taken_over(record: PartRecord, made_by: Mapping[str, Any]) -> PartRecord:
    """The record of a part as the artifact writes it that takes it over; `made_by` says who does."""
    origin = {TAKEN_FROM: owner_of(record.files[0].key)} if record.files else {}
    return record.model_copy(update={"made_by": {**made_by, **origin}})


def unchanged_parts(now: Artifact, earlier: Artifact) -> set[str]:
    """Names of the parts of which two artifacts hold the same rows, down to what they judge.

    Parts are compared by the sizes and digests in their records; no file is read. Holds a name and a digest for each
    part in memory; records are read one at a time.
    """
    if now.fingerprint == earlier.fingerprint:
        return {name for name, _ in _held(now)}
    before = dict(_held(earlier))
    same = {part for part, digest in _held(now) if before.get(part) == digest}
    judged = [JUDGED_INPUT in one.head.inputs for one in (now, earlier)]
    if same and any(judged):
        if not all(judged):
            return set()
        same &= unchanged_parts(*(one.input(JUDGED_INPUT, Artifact) for one in (now, earlier)))
    return same


def _held(artifact: Artifact) -> Iterator[tuple[str, bytes]]:
    """Name of each part of the last phase, with a digest over the names, sizes and digests of its files."""
    last = artifact.head.last_phase.phase if artifact.head.phases else None
    for record in artifact.each_part():
        if record.phase == last:
            files = sorted((entry.name, entry.size_bytes, entry.sha256) for entry in record.files)
            yield record.part, hashlib.sha256(json.dumps(files).encode()).digest()
