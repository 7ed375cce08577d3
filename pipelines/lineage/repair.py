"""Repair: quarantine the records of damaged parts, and the next run makes those parts again.

Moves records and manifests, never data; makes nothing itself. What is made in their place must come out the same
(`stages/commit/repair.py`), so nothing that leans on it changes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipelines.lineage.audit import Finding
from pipelines.lineage.graph import Lineage, Node
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import STEPS_PHASE, PartRecord
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.phase_records import bundle_key_of, record_key
from stages.commit.repair import DAMAGED, damaged_files, record_repair
from stages.store.fault_points import fault_point
from stages.store.store import Store


@dataclass(frozen=True)
class Repaired:
    """The result of a repair."""

    moved: tuple[str, ...]
    """Keys of the records and manifests that were quarantined: the next run makes their parts again."""
    written: tuple[str, ...]
    """Keys of the records that were written again from their manifest."""
    left: tuple[Finding, ...]
    """Findings that need a person."""


def repair(store: Store, lineage: Lineage, findings: Sequence[Finding]) -> Repaired:
    """Quarantine what the findings of an audit name. May be killed at any instant and run again."""
    moved: list[str] = []
    written: list[str] = []
    left: list[Finding] = []
    for node in lineage.nodes:
        mine = [finding for finding in findings if finding.artifact == node.short]
        if any(finding.remedy == "by_hand" for finding in mine):
            left += mine
            continue
        written += [_write_again(store, node, finding) for finding in mine if finding.remedy == "write_again"]
        damaged = [finding for finding in mine if finding.remedy == "make_again" and finding.part]
        if damaged:
            folder = artifact_folder(node.stage, node.fingerprint)
            record_repair(store, folder, {finding.key: finding.said for finding in damaged})
        parts = sorted({finding.part for finding in damaged})
        moved += [key for part in parts for key in _quarantine(store, node, part)]
    return Repaired(tuple(moved), tuple(written), tuple(left))


def _write_again(store: Store, node: Node, finding: Finding) -> str:
    """A record that is lost or torn stands in full in its manifest."""
    assert node.manifest is not None, "only a manifest knows what a record said"
    phase, _, name = finding.part.partition("/")
    record = next(part for part in node.manifest.parts if (part.phase, part.part) == (phase, name))
    with fault_point("record.quarantined", finding.key):
        store.quarantine(finding.key)
    with fault_point("part.recorded", finding.key):
        store.create_json(finding.key, record.model_dump())
    return finding.key


def _quarantine(store: Store, node: Node, part: str) -> Iterator[str]:
    """The manifest last, a record after its copy: while one of them stands, an audit finds the damage again."""
    folder = artifact_folder(node.stage, node.fingerprint)
    phase, _, name = part.partition("/")
    if phase == STEPS_PHASE:
        keys = _checkpoints_from(store, folder, int(name))
    else:
        keys = [bundle_key_of(store, folder, phase, name), record_key(folder, phase, name)]
    for key in [*keys, f"{folder}/manifest.json"]:
        if store.size_bytes(key) is not None:
            with fault_point("record.quarantined", key):
                store.quarantine(key, DAMAGED)
            yield key


def _checkpoints_from(store: Store, folder: str, damaged: int) -> list[str]:
    """Keys of all checkpoints after the last whole one before the damaged one: training resumes there."""
    checkpoints = CheckpointRecords(store, folder)
    whole = [record for record in checkpoints.kept() if _is_whole(store, record, damaged)]
    return checkpoints.keys_after(whole[-1] if whole else None)


def _is_whole(store: Store, record: PartRecord, damaged: int) -> bool:
    return int(record.part) < damaged and not any(damaged_files(store, record))
