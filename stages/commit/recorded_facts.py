"""Numbered facts that are recorded while a step is made, such as the damaged rows that it left out.

Later attempts must follow them, so each is committed by an exclusive create, as parts are:
`records/<phase>/<number>.json`. They are no parts of the artifact; the manifest does not list them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from stages.artifacts.records import PART_RECORD, PartRecord
from stages.commit.artifact_writer import ArtifactWriter, numbered_part
from stages.commit.phase_records import record_key
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.store import Store


def record_fact(writer: ArtifactWriter, phase: str, facts: Mapping[str, Any]) -> None:
    """Commit `facts` under the next free number of `phase`."""
    writer.check_claim()
    for number in itertools.count(_num_recorded(writer.store, writer.folder, phase)):
        record = PartRecord(phase=phase, part=numbered_part(number), facts=dict(facts), made_by=writer.made_by)
        key = writer.record_key(phase, record.part)
        with fault_point("part.recorded", key):
            if writer.store.create_json(key, record.model_dump()):
                return


def recorded_facts(writer: ArtifactWriter, phase: str) -> list[PartRecord]:
    """What was recorded by `record_fact`, by any attempt, in order. Raises `TornRecordError` if one is torn."""
    return facts_in(writer.store, writer.folder, phase)


def facts_in(store: Store, folder: str, phase: str) -> list[PartRecord]:
    """`recorded_facts` of the artifact with this key prefix, for reading."""
    keys = [record_key(folder, phase, numbered_part(number)) for number in range(_num_recorded(store, folder, phase))]
    return [PART_RECORD.read_existing(store, key) for key in keys]


def _num_recorded(store: Store, folder: str, phase: str) -> int:
    return first_missing(lambda number: store.size_bytes(record_key(folder, phase, numbered_part(number))) is not None)
