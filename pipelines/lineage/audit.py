"""Audit: read every artifact of a lineage again, hash every byte, count every item, and name what is damaged.

Trusts only the manifests' own digests, and checks those against each other: a file against its record, a record
against its manifest, a manifest against its fingerprint and against what its readers say they read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

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
"""A damaged part can be made again by the next run, a lost record be written again from its manifest; the rest needs a
person."""


class Finding(BaseModel):
    """One object that differs from what was committed, and how it can be repaired."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact: str
    key: str
    """The object in the store that is wrong."""
    said: str
    remedy: Remedy = "by_hand"
    part: str = ""
    """Phase and part, such as `write/00001`, where it is about one."""


@dataclass(frozen=True)
class _Problem:
    """A finding without the artifact it belongs to."""

    key: str
    said: str
    remedy: Remedy = "by_hand"
    part: str = ""

    def about(self, node: Node) -> Finding:
        return Finding(artifact=node.short, key=self.key, said=self.said, remedy=self.remedy, part=self.part)


class Report(BaseModel):
    """The totals and the findings of an audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_artifacts: int
    num_files: int
    num_bytes: int
    num_items: int
    findings: tuple[Finding, ...]


def audit(store: Store, lineage: Lineage, progress: Callable[[Node], None]) -> Report:
    """Check everything in a lineage. `progress` is called with each artifact before it is read."""
    findings: list[Finding] = []
    entries: list[FileEntry] = []
    num_items = 0
    recorded = recorded_sha256s(store)
    for node in lineage.nodes:
        progress(node)
        key = f"{folder_of(node.stage, node.fingerprint)}/manifest.json"
        if node.manifest is None:
            findings += [problem.about(node) for problem in _check_unfinished(store, key, node)]
            continue
        problems = [*_check_manifest(store, key, node, recorded), *_check(store, key, node.manifest, lineage)]
        findings += [problem.about(node) for problem in problems]
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
    """The sha256s of manifests that names in the store recorded last, by fingerprint."""
    names = {key.rpartition("/")[0].removeprefix("refs/") for key in store.keys("refs/")}
    shas: dict[str, set[str]] = {}
    for ref in filter(None, (read_ref(store, name) for name in sorted(names))):
        if "manifest_sha256" in ref:
            shas.setdefault(ref["fingerprint"], set()).add(ref["manifest_sha256"])
    return shas


def _check_unfinished(store: Store, key: str, node: Node) -> Iterator[_Problem]:
    """Of what is not committed, or not any more: the next run folds the manifest from the records, as far as they are
    whole. By listing, which misses no record that is there."""
    yield _Problem(key, node.problem, "make_again")
    for record_key in store.keys(f"{folder_of(node.stage, node.fingerprint)}/records/"):
        if not record_key.endswith(".json") or store.size_bytes(f"{record_key}.deleted") is not None:
            continue
        try:
            record = PartRecord.model_validate(store.read_json(record_key))
        except (TornRecordError, ValueError) as error:
            yield _Problem(record_key, f"is torn: {error}", "make_again", _named_checkpoint(record_key))
        else:
            for where, said in damaged_files(store, record):
                yield _Problem(where, said, "make_again", _named(record))


def _check_manifest(store: Store, key: str, node: Node, recorded: Mapping[str, set[str]]) -> Iterator[_Problem]:
    """Its bytes must be those that a name was pointed at, then or before its damaged parts were made again."""
    assert node.manifest is not None
    wanted = recorded.get(node.fingerprint, set())
    found = hashlib.sha256(store.read(key) or b"").hexdigest()
    if wanted and not wanted & {found, _sha256_before_repair(store, key, node.manifest.content)}:
        shown, before = found[:SHOWN_DIGITS], " or ".join(sorted(sha256[:SHOWN_DIGITS] for sha256 in wanted))
        yield _Problem(key, f"was changed: its sha256 begins {shown}, names recorded {before}")


def _sha256_before_repair(store: Store, key: str, content: str) -> str | None:
    """The sha256 of the first manifest, where one of the same content was quarantined because files were damaged."""
    data = store.read(quarantine_key(key))
    if data is None or Manifest.model_validate_json(data).content != content:
        return None
    return hashlib.sha256(data).hexdigest()


def _check(store: Store, key: str, manifest: Manifest, lineage: Lineage) -> Iterator[_Problem]:
    """Everything that is wrong with one artifact."""
    if content_digest(manifest.parts) != manifest.content:
        yield _Problem(key, "the digest of its parts is not the content digest it states")
    if sum((part.items for part in last_phase(manifest)), ItemBalance()) != manifest.items:
        yield _Problem(key, "the items of its parts do not add up to the balance it states")
    note = f"{folder_of(manifest.stage, manifest.fingerprint)}/inputs.json"
    if store.read(note) is not None and _note(store, note) != manifest.inputs:
        yield _Problem(note, "says that it was made of other inputs than the manifest says")
    for name, item in manifest.inputs.items():
        parent = lineage.by_fingerprint[item.fingerprint].manifest
        if parent is not None and parent.content != item.content:
            read = f"{parent.stage}/{parent.fingerprint[:SHOWN_DIGITS]}, read as {name!r}"
            now = f"{read} with {item.content[:SHOWN_DIGITS]}, holds {parent.content[:SHOWN_DIGITS]} now"
            yield _Problem(key, now)
    for part in manifest.parts:
        yield from _check_record(store, manifest, part)
        damaged = list(damaged_files(store, part))
        yield from (_Problem(where, said, "make_again", _named(part)) for where, said in damaged)
        if not damaged:
            yield from _check_items(Artifact(store, manifest), part)


def _note(store: Store, key: str) -> dict[str, InputRecord] | None:
    try:
        return {name: InputRecord.model_validate(item) for name, item in store.read_json(key).items()}
    except (StoreError, ValueError, AttributeError):
        return None


def _named_checkpoint(record_key: str) -> str:
    """Phase and part of a checkpoint, which is quarantined only on request; '' for other parts."""
    phase, _, name = record_key.rpartition("/records/")[2].partition("/")
    return f"{phase}/{name.removesuffix('.json')}" if phase == STEPS_PHASE else ""


def _named(part: PartRecord) -> str:
    return f"{part.phase}/{part.part}"


def _check_record(store: Store, manifest: Manifest, part: PartRecord) -> Iterator[_Problem]:
    """The part's own record must say what the manifest says of it."""
    key = f"{folder_of(manifest.stage, manifest.fingerprint)}/records/{part.phase}/{part.part}.json"
    try:
        raw = store.read_json(key)
        record = None if raw is None else PartRecord.model_validate(raw)
    except (StoreError, ValueError) as error:
        yield _Problem(key, f"is torn: {error}", "write_again", _named(part))
        return
    if record is None:
        yield _Problem(key, "is missing", "write_again", _named(part))
    elif record != part:
        differing = [name for name in PartRecord.model_fields if getattr(record, name) != getattr(part, name)]
        said = f"says otherwise than the manifest: {', '.join(differing)}"
        yield _Problem(key, said, "write_again", _named(part))


def _check_items(artifact: Artifact, part: PartRecord) -> Iterator[_Problem]:
    """Count verdicts in every sample table of a part: they must be the part's balance."""
    if part.phase == STEPS_PHASE:
        return
    for entry in part.files:
        counted = _counted(artifact, entry) if entry.name.endswith(".parquet") else None
        if counted is not None and counted != part.items:
            said = f"its rows count {_balance(counted)}, its part states {_balance(part.items)}"
            yield _Problem(entry.key, said)


def _counted(artifact: Artifact, entry: FileEntry) -> ItemBalance | None:
    """The balance of a sample table, or None if the table has no verdicts."""
    import pyarrow.parquet as pq

    path = artifact.local_path(entry)
    if not {"verdict", "reason"} <= set(pq.read_schema(path).names):
        return None
    return balance_of(pq.read_table(path, columns=["verdict", "reason"]))


def _balance(items: ItemBalance) -> str:
    return f"{items.kept} kept, {items.num_dropped} dropped, {items.num_failed} failed"
