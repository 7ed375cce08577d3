"""Repair: quarantine the records of damaged parts, so that the next run makes those parts again.

Moves records and manifests, never data, and makes no part itself. A part that is made again must have the same content
(`stages/commit/repair.py`), so the artifacts that read it stay valid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.lineage.audit import Finding
from pipelines.lineage.graph import Lineage, Node
from pipelines.lineage.record_checks import RETIRED_BY_AUDIT
from stages.artifacts.head import head_key, read_head
from stages.artifacts.manifest import artifact_folder, manifest_key
from stages.artifacts.records import STEPS_PHASE, PartRecord
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.execute_step import complete_head
from stages.commit.phase_records import bundle_key_of, record_key
from stages.commit.repair import DAMAGED, damaged_files, record_repair
from stages.store.fault_points import fault_point
from stages.store.store import Store


@dataclass(frozen=True)
class Repaired:
    """The result of a repair."""

    moved: tuple[str, ...]
    """Keys of the records and manifests that were quarantined. The next run makes their parts again."""
    aside: tuple[str, ...]
    """Keys of the copies that were quarantined and that nothing depends on."""
    written: tuple[str, ...]
    """Keys of the records that were written again from their manifest, and of marks of checkpoints that are retired."""
    left: tuple[Finding, ...]
    """Findings that need a person."""


def repair(store: Store, lineage: Lineage, findings: Sequence[Finding]) -> Repaired:
    """Repair what the findings of an audit name. May be killed at any instant and run again.

    An artifact with any finding `by_hand` is left as it is. Example: part `write/00001` of `kept_pairs` has a damaged
    file. Its record and the manifest of `kept_pairs` are quarantined; the next run makes that one part again, folds
    the manifest from all records, and reuses every artifact that read it.
    """
    moved: list[str] = []
    aside: list[str] = []
    written: list[str] = []
    known = {node.short for node in lineage.nodes}
    left = [finding for finding in findings if finding.artifact not in known]
    for node in lineage.nodes:
        of_node = [finding for finding in findings if finding.artifact == node.short]
        if any(finding.remedy == "by_hand" for finding in of_node):
            left += of_node
            continue
        written += [_write_again(store, node, finding) for finding in of_node if finding.remedy == "write_again"]
        aside += [_quarantine_copy(store, finding.key) for finding in of_node if finding.remedy == "quarantine"]
        marks = dict.fromkeys(_mark_key(node, finding) for finding in of_node if finding.remedy == "retire")
        written += [_retire(store, key) for key in marks]
        damaged = [finding for finding in of_node if finding.remedy == "make_again" and finding.part]
        if damaged:
            folder = artifact_folder(node.stage, node.fingerprint)
            record_repair(store, folder, {finding.key: finding.problem for finding in damaged})
        parts = sorted({finding.part for finding in damaged})
        moved += [key for part in parts for key in _quarantine(store, node, part)]
        if any(_is_torn_manifest(node, finding) for finding in of_node):
            moved += _move(store, _manifest_keys(node), "torn")
    return Repaired(tuple(moved), tuple(aside), tuple(written), tuple(left))


def _write_again(store: Store, node: Node, finding: Finding) -> str:
    """Write a lost or torn record, or list of inputs, again from the copy in its manifest, or a damaged head from its
    manifest; returns its key."""
    if finding.key == head_key(node.stage, node.fingerprint):
        list(_move(store, [finding.key], DAMAGED))
        head = read_head(store, node.stage, node.fingerprint)
        assert head is not None, "a head is written again from its manifest"
        complete_head(store, head)
        return finding.key
    assert node.manifest is not None, "a record can be written again only from its manifest"
    content: Any
    if finding.part:
        phase, _, name = finding.part.partition("/")
        record = next(part for part in node.manifest.parts if (part.phase, part.part) == (phase, name))
        content = record.model_dump()
    else:
        content = {name: item.model_dump() for name, item in node.manifest.identity_inputs.items()}
    with fault_point("record.quarantined", finding.key):
        store.quarantine(finding.key)
    with fault_point("part.recorded", finding.key):
        store.create_json(finding.key, content)
    return finding.key


def _quarantine_copy(store: Store, key: str) -> str:
    with fault_point("record.quarantined", key):
        store.quarantine(key, DAMAGED)
    return key


def _mark_key(node: Node, finding: Finding) -> str:
    """Key of the mark that a damaged checkpoint which training went past is deleted."""
    if finding.key.endswith(".deleted"):
        return finding.key
    phase, _, name = finding.part.partition("/")
    return f"{record_key(artifact_folder(node.stage, node.fingerprint), phase, name)}.deleted"


def _retire(store: Store, key: str) -> str:
    """Mark a checkpoint as deleted, so that nothing reads it; a damaged mark is quarantined first. Returns its key."""
    if store.size_bytes(key) is not None:
        _quarantine_copy(store, key)
    with fault_point("checkpoint.retired", key):
        store.create(key, RETIRED_BY_AUDIT)
    return key


def _quarantine(store: Store, node: Node, part: str) -> Iterator[str]:
    """Quarantine the records of a part and the manifest; yields their keys.

    The manifest goes last, after its head, and a record after the record bundle that holds its copy: while one of them
    is in its place, the next audit finds the damage again.
    """
    folder = artifact_folder(node.stage, node.fingerprint)
    phase, _, name = part.partition("/")
    if phase == STEPS_PHASE:
        keys = _checkpoints_from(store, folder, int(name))
    else:
        keys = [bundle_key_of(store, folder, phase, name), record_key(folder, phase, name)]
    return _move(store, [*keys, *_manifest_keys(node)], DAMAGED)


def _is_torn_manifest(node: Node, finding: Finding) -> bool:
    """Whether a finding is about a manifest that is no manifest; a plan does not notice it beside a whole head."""
    key = manifest_key(node.stage, node.fingerprint)
    return (finding.key, finding.remedy, finding.part) == (key, "make_again", "")


def _manifest_keys(node: Node) -> list[str]:
    """Keys of the head and the manifest: a head never stands beside another manifest than its own."""
    return [head_key(node.stage, node.fingerprint), manifest_key(node.stage, node.fingerprint)]


def _move(store: Store, keys: Sequence[str], why: str) -> Iterator[str]:
    """Quarantine what there is under these keys, in this order; yields the keys."""
    for key in keys:
        if store.size_bytes(key) is not None:
            with fault_point("record.quarantined", key):
                store.quarantine(key, why)
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
