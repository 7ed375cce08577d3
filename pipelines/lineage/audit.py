"""Audit: compare every artifact of a lineage with what was committed, to a chosen depth, and list the damage.

Owns the findings and the order of the checks; `repair.py` acts on them. Trusts only the digests in the manifests, and
compares those with each other: a file with its record (`file_checks.py`), records with their manifest
(`record_checks.py`), a manifest with the sha256 that names in the store recorded, and an artifact's content with what
the artifacts that read it recorded. Each manifest is read once, and one is in memory at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from pydantic import BaseModel, ConfigDict, Field

from pipelines.lineage.audit_notes import AuditNotes
from pipelines.lineage.file_checks import ArtifactFiles, Depth, FileCheck, FileReader, read_here
from pipelines.lineage.graph import Lineage, Node
from pipelines.lineage.read_manifest import ReadManifest
from pipelines.lineage.record_checks import ArtifactRecords
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import MISSING, ManifestHead, compare_head, head_key
from stages.artifacts.manifest import MANIFEST, manifest_key
from stages.artifacts.manifest import artifact_folder as folder_of
from stages.artifacts.records import PART_RECORD, STEPS_PHASE, FileEntry, PartRecord
from stages.artifacts.taken_over import EXTENDS_INPUT
from stages.commit.repair import Damage, Remedy, damaged_files, quarantine_key
from stages.store.errors import StoreError, TornRecordError
from stages.store.refs import OF_ARTIFACT, read_ref
from stages.store.store import Store
from stages.surfaces.first_few import first_few
from stages.training.checkpoints.facts import SKIPPED_PHASE


class Finding(BaseModel):
    """One object in the store that differs from what was committed, and how it can be repaired."""

    # In the output of `neo audit --json`, `problem` keeps the name that the first release gave it: `said`.
    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_by_name=True, validate_by_alias=True, serialize_by_alias=True
    )

    artifact: str
    """The artifact that the object belongs to: its stage and the shown digits of its fingerprint; or a run, for its
    records; `store` for what belongs to neither."""
    key: str
    """Key of the damaged object in the store."""
    problem: str = Field(validation_alias="said", serialization_alias="said")
    """What is wrong with the object, such as `is missing`."""
    remedy: Remedy = "by_hand"
    part: str = ""
    """Phase and part, such as `write/00001`; '' for an object that belongs to no part."""

    @classmethod
    def of(cls, owner: str, damage: Damage) -> Finding:
        """The finding about an object of `owner`."""
        return cls(artifact=owner, key=damage.key, problem=damage.problem, remedy=damage.remedy, part=damage.part)


class Report(BaseModel):
    """The totals and the findings of an audit."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: str
    """How much was read: `quick`, `size`, `sample` or `full`."""
    num_artifacts: int
    num_files: int
    """Files that the artifacts have."""
    num_files_read: int
    """Files whose bytes were read, by this audit or by the unfinished one that it continues."""
    num_bytes: int
    """Bytes of the files that were read."""
    num_items: int
    findings: tuple[Finding, ...]
    remarks: tuple[str, ...] = ()
    """What is no damage and worth knowing, such as what cannot be checked."""


@dataclass
class _Totals:
    num_files: int = 0
    num_files_read: int = 0
    num_bytes: int = 0
    num_items: int = 0
    findings: list[Finding] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    without_digests: list[str] = field(default_factory=list)
    extended: set[str] = field(default_factory=set)
    """Fingerprints of the artifacts of which others of the lineage take parts over by reference."""
    versions: dict[str, str] = field(default_factory=dict)
    """Key of each file of those that was read and is whole, to the version that was read: it is not read again where
    another artifact has it too. Some 300 bytes a file."""

    def all_remarks(self) -> tuple[str, ...]:
        """The remarks, with one line about all artifacts whose records cannot be checked in whole."""
        old = self.without_digests
        line = (
            f"Flipped bits in the lists of parts, and in the records of earlier checkpoints, of "
            f"{first_few(old, 3)} cannot be found: committed before manifests kept digests of them."
        )
        return (*self.remarks, line) if old else tuple(self.remarks)

    def add(self, owner: str, damages: Iterable[Damage]) -> None:
        self.findings += [Finding.of(owner, damage) for damage in damages]


Progress = Callable[[Node, ManifestHead | None], None]
"""Called with each artifact before its files are read, and with the head of its manifest, computed from the manifest;
None where that cannot be read."""


def audit(
    store: Store,
    lineage: Lineage,
    progress: Progress,
    depth: Depth | None = None,
    notes: AuditNotes | None = None,
    *,
    read_files: FileReader = read_here,
) -> Report:
    """Check every artifact of a lineage and return the report. Writes nothing but `notes`, if there are any.

    `read_files` decides which machines look at files; the findings do not depend on it.
    """
    depth, totals, recorded = depth or Depth(), _Totals(extended=_extended(lineage)), recorded_sha256s(store)
    contents: dict[str, str] = {}
    try:
        for node in lineage.nodes:
            manifest = ReadManifest.of(node)
            progress(node, manifest.head if manifest is not None else None)
            key = manifest_key(node.stage, node.fingerprint)
            if manifest is None:
                totals.add(node.short, _check_unfinished(store, key, node))
                continue
            contents[node.fingerprint] = manifest.head.content
            totals.add(node.short, _check_manifest(store, manifest, recorded))
            totals.add(node.short, _check_content(manifest, contents))
            _check_records_and_files(node.short, manifest, store, depth, notes, totals=totals, read_files=read_files)
    except BaseException:  # Ctrl-C too: what was read is not read again
        if notes is not None:
            notes.write()
        raise
    if notes is not None:
        notes.end()
    return Report(
        level=depth.level,
        num_artifacts=len(lineage.nodes),
        num_files=totals.num_files,
        num_files_read=totals.num_files_read,
        num_bytes=totals.num_bytes,
        num_items=totals.num_items,
        findings=tuple(totals.findings),
        remarks=totals.all_remarks(),
    )


def _extended(lineage: Lineage) -> set[str]:
    heads = [node.head for node in lineage.nodes if node.head is not None]
    return {head.inputs[EXTENDS_INPUT].fingerprint for head in heads if EXTENDS_INPUT in head.inputs}


def recorded_sha256s(store: Store) -> dict[str, set[str]]:
    """Fingerprint to the sha256s of its manifest that names in the store recorded.

    Two names, such as `tiny/llm` and `mine/llm`, may have recorded the manifest before and after a repair.
    """
    names = {key.rpartition("/")[0].removeprefix("refs/") for key in store.keys("refs/")}
    shas: dict[str, set[str]] = {}
    for ref in filter(None, (read_ref(store, name, OF_ARTIFACT) for name in sorted(names) if "/" in name)):
        if "manifest_sha256" in ref:
            shas.setdefault(ref["fingerprint"], set()).add(ref["manifest_sha256"])
    return shas


def _check_unfinished(store: Store, key: str, node: Node) -> Iterator[Damage]:
    """Check the records of an artifact without a manifest: the next run folds its manifest from those that are whole.

    The records are listed, since without a manifest no list of parts can be trusted.
    """
    yield Damage(key, node.problem, "make_again")
    for record_key in store.keys(f"{folder_of(node.stage, node.fingerprint)}/records/"):
        if not record_key.endswith(".json") or store.size_bytes(f"{record_key}.deleted") is not None:
            continue
        try:
            record = PART_RECORD.read_existing(store, record_key)
        except StoreError as error:
            is_skip = f"/records/{SKIPPED_PHASE}" in record_key  # moved away, training would no longer leave it out
            remedy: Remedy = "by_hand" if is_skip else "make_again"
            yield Damage(record_key, f"is torn: {error}", remedy, _named_checkpoint(record_key))
        else:
            for file_key, damage in damaged_files(store, record):
                yield Damage(file_key, damage, "make_again", _part_path(record))


def _check_manifest(store: Store, manifest: ReadManifest, recorded: Mapping[str, set[str]]) -> Iterator[Damage]:
    """Check that a manifest has the sha256 that a name recorded, before or after its damaged parts were made again.

    And that its head says what it says. Stores of before have no heads.
    """
    head = manifest.head
    if (problem := compare_head(store, head)) not in ("", MISSING):
        yield Damage(head_key(head.stage, head.fingerprint), problem, "write_again")
    expected = recorded.get(head.fingerprint, set())
    actual = head.manifest_sha256
    if expected and not expected & {actual, _sha256_before_repair(store, manifest.key, head.content)}:
        shown, before = actual[:SHOWN_DIGITS], " or ".join(sorted(sha256[:SHOWN_DIGITS] for sha256 in expected))
        yield Damage(manifest.key, f"was changed: its sha256 begins {shown}, names recorded {before}")


def _sha256_before_repair(store: Store, key: str, content: str) -> str | None:
    """The sha256 of the quarantined manifest if it states the same content, as it does after a repair; else None."""
    data = store.read(quarantine_key(key))
    try:
        before = MANIFEST.read(store, quarantine_key(key))
    except TornRecordError:
        return None
    return hashlib.sha256(data).hexdigest() if data is not None and before and before.content == content else None


def _check_content(manifest: ReadManifest, contents: Mapping[str, str]) -> Iterator[Damage]:
    """The problems of a manifest with itself and with those of its inputs: digests, counts, contents.

    `contents` maps the fingerprints of the artifacts that were checked before to the contents that they state.
    """
    key, head = manifest.key, manifest.head
    if manifest.content != head.content:
        yield Damage(key, "the digest of its parts is not the content digest it states")
    if head.phases and head.last_phase.items != head.items:
        yield Damage(key, "the items of its parts do not add up to the balance it states")
    for name, item in head.inputs.items():
        content = contents.get(item.fingerprint)
        if content is not None and content != item.content:
            source = f"{item.stage}/{item.fingerprint[:SHOWN_DIGITS]}, read as {name!r}"
            held = f"with {item.content[:SHOWN_DIGITS]}, holds {content[:SHOWN_DIGITS]} now"
            yield Damage(key, f"{source} {held}")


def _check_records_and_files(
    owner: str,
    manifest: ReadManifest,
    store: Store,
    depth: Depth,
    notes: AuditNotes | None,
    *,
    totals: _Totals,
    read_files: FileReader,
) -> None:
    """Check the records of a committed artifact, its files, and those of the checkpoints that training went past."""
    records = ArtifactRecords(store, manifest)
    totals.add(owner, records.check())
    totals.remarks += records.remarks
    totals.without_digests += [owner] if records.lacks_digests else []
    totals.num_items += manifest.head.items.total
    kept = records.kept_checkpoints()
    damaged: list[FileCheck] = []

    def take(check: FileCheck) -> None:
        key = check.file.entry.key
        if check.was_read and key not in totals.versions:
            totals.num_files_read += 1
            totals.num_bytes += check.file.entry.size_bytes
        if check.version and not check.problem and manifest.head.fingerprint in totals.extended:
            totals.versions[key] = check.version
        damaged.extend([check] if check.problem else [])
        if notes is not None:
            notes.add(check)

    if depth.looks_at_files:
        read_files(ArtifactFiles(store, manifest, kept, depth, partial(_version_read, totals, notes)), take)
    damaged.sort(key=lambda check: check.file.place)
    totals.add(owner, (_damage(check, is_kept=check.file.place >= manifest.num_files) for check in damaged))
    totals.num_files += manifest.num_files + sum(len(part.files) for part in kept)


def _version_read(totals: _Totals, notes: AuditNotes | None, entry: FileEntry) -> str:
    """The version of a file that was read already, by this audit or the unfinished one that it continues, or ''."""
    return totals.versions.get(entry.key) or (notes.noted(entry) if notes is not None else "")


def _damage(check: FileCheck, *, is_kept: bool) -> Damage:
    """The damage that was found in a file; `is_kept` for one of a checkpoint that training went past."""
    remedy: Remedy = "retire" if is_kept else "by_hand" if check.counts else "make_again"
    part = "" if check.counts else _part_path(check.file.part)
    return Damage(check.file.entry.key, check.problem, remedy, part)


def _named_checkpoint(record_key: str) -> str:
    """Phase and part of a checkpoint, which is quarantined only on request; '' for other parts."""
    phase, _, name = record_key.rpartition("/records/")[2].partition("/")
    return f"{phase}/{name.removesuffix('.json')}" if phase == STEPS_PHASE else ""


def _part_path(part: PartRecord) -> str:
    return f"{part.phase}/{part.part}"
