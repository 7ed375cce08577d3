"""Repair: quarantine the records of damaged parts, so that the next run makes those parts again.

Moves records and manifests, never data, and makes no part itself. A part that is made again must have the same content
(`stages/commit/repair.py`), so the artifacts that read it stay valid.
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
    """Keys of the records and manifests that were quarantined. The next run makes their parts again."""
    written: tuple[str, ...]
    """Keys of the records that were written again from their manifest."""
    left: tuple[Finding, ...]
    """Findings that need a person."""


def repair(store: Store, lineage: Lineage, findings: Sequence[Finding]) -> Repaired:
    """Repair what the findings of an audit name. May be killed at any instant and run again.

    An artifact with any finding `by_hand` is left as it is. Example: part `write/00001` of `kept_pairs` has a damaged
    file. Its record and the manifest of `kept_pairs` are quarantined; the next run makes that one part again, folds
    the manifest from all records, and reuses every artifact that read it.
    """
    moved: list[str] = []
    written: list[str] = []
    left: list[Finding] = []
    for node in lineage.nodes:
        of_node = [finding for finding in findings if finding.artifact == node.short]
        if any(finding.remedy == "by_hand" for finding in of_node):
            left += of_node
            continue
        written += [_write_again(store, node, finding) for finding in of_node if finding.remedy == "write_again"]
        damaged = [finding for finding in of_node if finding.remedy == "make_again" and finding.part]
        if damaged:
            folder = artifact_folder(node.stage, node.fingerprint)
            record_repair(store, folder, {finding.key: finding.problem for finding in damaged})
        parts = sorted({finding.part for finding in damaged})
        moved += [key for part in parts for key in _quarantine(store, node, part)]
    return Repaired(tuple(moved), tuple(written), tuple(left))


def _write_again(store: Store, node: Node, finding: Finding) -> str:
    """Write a lost or torn record again from the copy in its manifest; returns its key."""
    assert node.manifest is not None, "a record can be written again only from its manifest"
    phase, _, name = finding.part.partition("/")
    record = next(part for part in node.manifest.parts if (part.phase, part.part) == (phase, name))
    with fault_point("record.quarantined", finding.key):
        store.quarantine(finding.key)
    with fault_point("part.recorded", finding.key):
        store.create_json(finding.key, record.model_dump())
    return finding.key


def _quarantine(store: Store, node: Node, part: str) -> Iterator[str]:
    """Quarantine the records of a part and the manifest; yields their keys.

    The manifest goes last, and a record after the record bundle that holds its copy: while one of them is in its
    place, the next audit finds the damage again.
    """
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
    """Keys of the checkpoints after the last whole one before optimizer step `damaged`; training resumes from that one.

    Of checkpoints 10, 20 and 30 with 20 damaged, those of 20 and 30: training resumes from 10.
    """
    checkpoints = CheckpointRecords(store, folder)
    whole = [record for record in checkpoints.kept() if _is_whole(store, record, damaged)]
    return checkpoints.keys_after(whole[-1] if whole else None)


def _is_whole(store: Store, record: PartRecord, damaged: int) -> bool:
    return int(record.part) < damaged and not any(damaged_files(store, record))
