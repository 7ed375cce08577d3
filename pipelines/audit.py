"""Audit: read the whole chain behind an artifact again, hash every byte, count every item, and name what is wrong.

Trusts only the manifests' own digests, and checks those against each other: a file against its record, a record
against its manifest, a manifest against its fingerprint and against what its readers say they read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from pipelines.lineage import Lineage, Node, last_phase
from stages.artifact import (
    STEPS_PHASE,
    Artifact,
    FileEntry,
    InputRecord,
    ItemBalance,
    Manifest,
    PartRecord,
    content_digest,
)
from stages.artifact import artifact_folder as folder_of
from stages.fingerprint import SHOWN_DIGITS
from stages.store import Store, StoreError
from stages.tables import balance_of

CHUNK_BYTES = 8 * 1024 * 1024


class Finding(BaseModel):
    """Something that is not as it was committed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    artifact: str
    key: str
    """The object in the store that is wrong."""
    said: str


class Report(BaseModel):
    """What an audit looked at and what it found."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_artifacts: int
    num_files: int
    num_bytes: int
    num_items: int
    findings: tuple[Finding, ...]


def audit(store: Store, lineage: Lineage, progress: Callable[[Node], None]) -> Report:
    """Check everything in a lineage. `progress` hears of each artifact before it is read."""
    findings: list[Finding] = []
    entries: list[FileEntry] = []
    num_items = 0
    noted = noted_sha256s(store)
    for node in lineage.nodes:
        progress(node)
        key = f"{folder_of(node.stage, node.fingerprint)}/manifest.json"
        if node.manifest is None:
            findings.append(Finding(artifact=node.short, key=key, said=node.complaint))
            continue
        complaints = [*_check_manifest(store, key, node, noted), *_check(store, key, node.manifest, lineage)]
        findings += [Finding(artifact=node.short, key=where, said=said) for where, said in complaints]
        entries += [entry for part in node.manifest.parts for entry in part.files]
        num_items += node.manifest.items.total
    return Report(
        num_artifacts=len(lineage.nodes),
        num_files=len(entries),
        num_bytes=sum(entry.size_bytes for entry in entries),
        num_items=num_items,
        findings=tuple(findings),
    )


def noted_sha256s(store: Store) -> dict[str, str]:
    """Fingerprint to the sha256 of its manifest's bytes, as noted whenever a name was pointed at it."""
    refs = (store.read_json(key) for key in store.keys("refs/") if key.endswith(".json"))
    return {ref["fingerprint"]: ref["manifest_sha256"] for ref in refs if "manifest_sha256" in ref}


def _check_manifest(store: Store, key: str, node: Node, noted: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Its bytes must be those that a name was pointed at."""
    wanted = noted.get(node.fingerprint)
    found = hashlib.sha256(store.read(key) or b"").hexdigest()
    if wanted not in (None, found):
        yield (
            key,
            f"was changed: its sha256 begins {found[:SHOWN_DIGITS]}, it was noted as {str(wanted)[:SHOWN_DIGITS]}",
        )


def _check(store: Store, key: str, manifest: Manifest, lineage: Lineage) -> Iterator[tuple[str, str]]:
    """Key and complaint for everything that is wrong with one artifact."""
    if content_digest(manifest.parts) != manifest.content:
        yield key, "the digest of its parts is not the content digest it states"
    if sum((part.items for part in last_phase(manifest)), ItemBalance()) != manifest.items:
        yield key, "the items of its parts do not add up to the balance it states"
    note = f"{folder_of(manifest.stage, manifest.fingerprint)}/inputs.json"
    if store.read(note) is not None and _note(store, note) != manifest.inputs:
        yield note, "says that it was made of other inputs than the manifest says"
    for name, item in manifest.inputs.items():
        parent = lineage.by_fingerprint[item.fingerprint].manifest
        if parent is not None and parent.content != item.content:
            read = f"{parent.stage}/{parent.fingerprint[:SHOWN_DIGITS]}, read as {name!r}"
            yield key, f"{read} with {item.content[:SHOWN_DIGITS]}, holds {parent.content[:SHOWN_DIGITS]} now"
    for part in manifest.parts:
        yield from _check_record(store, manifest, part)
        damaged = list(_check_files(store, part))
        yield from damaged
        if not damaged:
            yield from _check_items(Artifact(store, manifest), part)


def _note(store: Store, key: str) -> dict[str, InputRecord] | None:
    try:
        return {name: InputRecord.model_validate(item) for name, item in store.read_json(key).items()}
    except (StoreError, ValueError, AttributeError):
        return None


def _check_record(store: Store, manifest: Manifest, part: PartRecord) -> Iterator[tuple[str, str]]:
    """The part's own record must say what the manifest says of it."""
    key = f"{folder_of(manifest.stage, manifest.fingerprint)}/records/{part.phase}/{part.part}.json"
    try:
        raw = store.read_json(key)
        record = None if raw is None else PartRecord.model_validate(raw)
    except (StoreError, ValueError) as error:
        yield key, f"is torn: {error}"
        return
    if record is None:
        yield key, "is missing"
    elif record != part:
        differing = [name for name in PartRecord.model_fields if getattr(record, name) != getattr(part, name)]
        yield key, f"says otherwise than the manifest: {', '.join(differing)}"


def _check_files(store: Store, part: PartRecord) -> Iterator[tuple[str, str]]:
    for entry in part.files:
        size_bytes = store.size_bytes(entry.key)
        if size_bytes is None:
            yield entry.key, "is missing"
        elif size_bytes != entry.size_bytes:
            yield entry.key, f"has {size_bytes:,} bytes, {entry.size_bytes:,} were committed"
        elif (found := _sha256(store, entry)) != entry.sha256:
            shown, committed = found[:SHOWN_DIGITS], entry.sha256[:SHOWN_DIGITS]
            yield entry.key, f"is damaged: its sha256 begins {shown}, that of the committed bytes {committed}"


def _sha256(store: Store, entry: FileEntry) -> str:
    hasher = hashlib.sha256()
    for start in range(0, entry.size_bytes, CHUNK_BYTES):
        hasher.update(store.read_range(entry.key, start, min(CHUNK_BYTES, entry.size_bytes - start)))
    return hasher.hexdigest()


def _check_items(artifact: Artifact, part: PartRecord) -> Iterator[tuple[str, str]]:
    """Count verdicts in every sample table of a part: they must be the part's balance."""
    if part.phase == STEPS_PHASE:
        return
    for entry in part.files:
        counted = _counted(artifact, entry) if entry.name.endswith(".parquet") else None
        if counted is not None and counted != part.items:
            yield entry.key, f"its rows count {_balance(counted)}, its part states {_balance(part.items)}"


def _counted(artifact: Artifact, entry: FileEntry) -> ItemBalance | None:
    """The balance of a sample table, or None if the table has no verdicts."""
    import pyarrow.parquet as pq

    path = artifact.local_path(entry)
    if not {"verdict", "reason"} <= set(pq.read_schema(path).names):
        return None
    return balance_of(pq.read_table(path, columns=["verdict", "reason"]))


def _balance(items: ItemBalance) -> str:
    return f"{items.kept} kept, {items.num_dropped} dropped, {items.num_failed} failed"
