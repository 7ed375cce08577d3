"""Audit: read every artifact of a lineage again, hash every byte, count every item, and list the damage.

Owns the checks and their findings; `repair.py` acts on them. Trusts only the digests in the manifests, and compares
those with each other: a file with its record, a record with its manifest, a manifest with the sha256 that names in the
store recorded, and an artifact's content with what the artifacts that read it recorded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.lineage.graph import Lineage, Node, last_phase
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import Manifest, content_digest
from stages.artifacts.manifest import artifact_folder as folder_of
from stages.artifacts.records import STEPS_PHASE, FileEntry, InputRecord, ItemBalance, PartRecord
from stages.commit.repair import damaged_files, quarantine_key
from stages.formats.sample_table import balance_of
from stages.store.errors import StoreError, TornRecordError
from stages.store.refs import read_ref
from stages.store.store import Store

Remedy = Literal["make_again", "write_again", "by_hand"]
"""How a finding is repaired. `make_again`: the next run makes the damaged part again. `write_again`: the lost or torn
record is written again from its manifest. `by_hand`: a person must decide."""


class Finding(BaseModel):
    """One object in the store that differs from what was committed, and how it can be repaired."""

    # In the output of `neo audit --json`, `problem` keeps the name that the first release gave it: `said`.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    artifact: str
    """The artifact that the object belongs to: its stage and the shown digits of its fingerprint."""
    key: str
    """Key of the damaged object in the store."""
    problem: str = Field(validation_alias="said", serialization_alias="said")
    """What is wrong with the object, such as `is missing`."""
    remedy: Remedy = "by_hand"
    part: str = ""
    """Phase and part, such as `write/00001`; '' for an object that belongs to no part."""


@dataclass(frozen=True)
class _Problem:
    """A finding without the artifact it belongs to; fields as in `Finding`."""

    key: str
    problem: str
    remedy: Remedy = "by_hand"
    part: str = ""

    def of_artifact(self, node: Node) -> Finding:
        """The finding about the artifact `node`."""
        return Finding(artifact=node.short, key=self.key, problem=self.problem, remedy=self.remedy, part=self.part)


class Report(BaseModel):
    """The totals and the findings of an audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_artifacts: int
    num_files: int
    num_bytes: int
    num_items: int
    findings: tuple[Finding, ...]


def audit(store: Store, lineage: Lineage, progress: Callable[[Node], None]) -> Report:
    """Check every artifact of a lineage and return the report. Reads all bytes, writes nothing.

    `progress` is called with each artifact before it is read.
    """
    findings: list[Finding] = []
    entries: list[FileEntry] = []
    num_items = 0
    recorded = recorded_sha256s(store)
    for node in lineage.nodes:
        progress(node)
        key = f"{folder_of(node.stage, node.fingerprint)}/manifest.json"
        if node.manifest is None:
            findings += [problem.of_artifact(node) for problem in _check_unfinished(store, key, node)]
            continue
        problems = [*_check_manifest(store, key, node, recorded), *_check(store, key, node.manifest, lineage)]
        findings += [problem.of_artifact(node) for problem in problems]
        entries += [entry for part in node.manifest.parts for entry in part.files]
        num_items += node.manifest.items.total
    return Report(
        num_artifacts=len(lineage.nodes),
        num_files=len(entries),
        num_bytes=sum(entry.size_bytes for entry in entries),
        num_items=num_items,
        findings=tuple(findings),
    )


def recorded_sha256s(store: Store) -> dict[str, set[str]]:
    """Fingerprint to the sha256s of its manifest that names in the store recorded.

    Two names, such as `tiny/llm` and `mine/llm`, may have recorded the manifest before and after a repair.
    """
    names = {key.rpartition("/")[0].removeprefix("refs/") for key in store.keys("refs/")}
    shas: dict[str, set[str]] = {}
    for ref in filter(None, (read_ref(store, name) for name in sorted(names))):
        if "manifest_sha256" in ref:
            shas.setdefault(ref["fingerprint"], set()).add(ref["manifest_sha256"])
    return shas


def _check_unfinished(store: Store, key: str, node: Node) -> Iterator[_Problem]:
    """Check the records of an artifact without a manifest: the next run folds its manifest from those that are whole.

    The records are listed, since without a manifest no list of parts can be trusted.
    """
    yield _Problem(key, node.problem, "make_again")
    for record_key in store.keys(f"{folder_of(node.stage, node.fingerprint)}/records/"):
        if not record_key.endswith(".json") or store.size_bytes(f"{record_key}.deleted") is not None:
            continue
        try:
            record = PartRecord.model_validate(store.read_json(record_key))
        except (TornRecordError, ValueError) as error:
            yield _Problem(record_key, f"is torn: {error}", "make_again", _named_checkpoint(record_key))
        else:
            for file_key, damage in damaged_files(store, record):
                yield _Problem(file_key, damage, "make_again", _part_path(record))


def _check_manifest(store: Store, key: str, node: Node, recorded: Mapping[str, set[str]]) -> Iterator[_Problem]:
    """Check that a manifest has the sha256 that a name recorded, before or after its damaged parts were made again."""
    assert node.manifest is not None
    expected = recorded.get(node.fingerprint, set())
    actual = hashlib.sha256(store.read(key) or b"").hexdigest()
    if expected and not expected & {actual, _sha256_before_repair(store, key, node.manifest.content)}:
        shown, before = actual[:SHOWN_DIGITS], " or ".join(sorted(sha256[:SHOWN_DIGITS] for sha256 in expected))
        yield _Problem(key, f"was changed: its sha256 begins {shown}, names recorded {before}")


def _sha256_before_repair(store: Store, key: str, content: str) -> str | None:
    """The sha256 of the quarantined manifest if it states the same content, as it does after a repair; else None."""
    data = store.read(quarantine_key(key))
    if data is None or Manifest.model_validate_json(data).content != content:
        return None
    return hashlib.sha256(data).hexdigest()


def _check(store: Store, key: str, manifest: Manifest, lineage: Lineage) -> Iterator[_Problem]:
    """The problems of one committed artifact: its digests, counts, inputs, records and files."""
    if content_digest(manifest.parts) != manifest.content:
        yield _Problem(key, "the digest of its parts is not the content digest it states")
    if sum((part.items for part in last_phase(manifest)), ItemBalance()) != manifest.items:
        yield _Problem(key, "the items of its parts do not add up to the balance it states")
    inputs_key = f"{folder_of(manifest.stage, manifest.fingerprint)}/inputs.json"
    if store.read(inputs_key) is not None and _read_inputs(store, inputs_key) != manifest.inputs:
        yield _Problem(inputs_key, "says that it was made of other inputs than the manifest says")
    for name, item in manifest.inputs.items():
        parent = lineage.by_fingerprint[item.fingerprint].manifest
        if parent is not None and parent.content != item.content:
            source = f"{parent.stage}/{parent.fingerprint[:SHOWN_DIGITS]}, read as {name!r}"
            contents = f"with {item.content[:SHOWN_DIGITS]}, holds {parent.content[:SHOWN_DIGITS]} now"
            yield _Problem(key, f"{source} {contents}")
    for part in manifest.parts:
        yield from _check_record(store, manifest, part)
        damaged = list(damaged_files(store, part))
        yield from (_Problem(file_key, damage, "make_again", _part_path(part)) for file_key, damage in damaged)
        if not damaged:
            yield from _check_items(Artifact(store, manifest), part)


def _read_inputs(store: Store, key: str) -> dict[str, InputRecord] | None:
    """The inputs that `inputs.json` records, or None where the file cannot be read."""
    try:
        return {name: InputRecord.model_validate(item) for name, item in store.read_json(key).items()}
    except (StoreError, ValueError, AttributeError):
        return None


def _named_checkpoint(record_key: str) -> str:
    """Phase and part of a checkpoint, which is quarantined only on request; '' for other parts."""
    phase, _, name = record_key.rpartition("/records/")[2].partition("/")
    return f"{phase}/{name.removesuffix('.json')}" if phase == STEPS_PHASE else ""


def _part_path(part: PartRecord) -> str:
    return f"{part.phase}/{part.part}"


def _check_record(store: Store, manifest: Manifest, part: PartRecord) -> Iterator[_Problem]:
    """Check that the record of a part is there and equals the manifest's copy of it."""
    key = f"{folder_of(manifest.stage, manifest.fingerprint)}/records/{part.phase}/{part.part}.json"
    try:
        raw = store.read_json(key)
        record = None if raw is None else PartRecord.model_validate(raw)
    except (StoreError, ValueError) as error:
        yield _Problem(key, f"is torn: {error}", "write_again", _part_path(part))
        return
    if record is None:
        yield _Problem(key, "is missing", "write_again", _part_path(part))
    elif record != part:
        differing = [name for name in PartRecord.model_fields if getattr(record, name) != getattr(part, name)]
        problem = f"differs from the manifest in: {', '.join(differing)}"
        yield _Problem(key, problem, "write_again", _part_path(part))


def _check_items(artifact: Artifact, part: PartRecord) -> Iterator[_Problem]:
    """Check that the verdicts in each sample table of a part add up to the part's item balance."""
    if part.phase == STEPS_PHASE:
        return
    for entry in part.files:
        counted = _counted(artifact, entry) if entry.name.endswith(".parquet") else None
        if counted is not None and counted != part.items:
            yield _Problem(entry.key, f"its rows count {_balance(counted)}, its part states {_balance(part.items)}")


def _counted(artifact: Artifact, entry: FileEntry) -> ItemBalance | None:
    """The balance of a sample table, or None if the table has no verdicts."""
    import pyarrow.parquet as pq

    path = artifact.local_path(entry)
    if not {"verdict", "reason"} <= set(pq.read_schema(path).names):
        return None
    return balance_of(pq.read_table(path, columns=["verdict", "reason"]))


def _balance(items: ItemBalance) -> str:
    return f"{items.kept} kept, {items.num_dropped} dropped, {items.num_failed} failed"
