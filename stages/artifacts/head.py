"""The head of an artifact, `head.json` beside its manifest: all that plans, pages and reports show of it.

A manifest of 39,000 parts has some 40 MB; its head has a few KB, however many parts there are. The manifest is what
commits an artifact. Its head is written after it, by the attempt that created it, and decides nothing alone: a head
counts only beside a manifest of the size that it names. Where it is missing, damaged or of another manifest, it is
computed from the manifest, so readers see the same numbers, later. Stores of before have no heads.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import Field, ValidationError

from stages.artifacts.carried import CARRIED_COUNTS, MAX_CARRIED_VALUES, most_frequent
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import (
    MANIFEST,
    PARTS_BEGIN,
    PARTS_END,
    SPREAD_PART,
    ManifestFields,
    artifact_folder,
    manifest_key,
    read_manifest,
)
from stages.artifacts.merkle import MerkleTree, add_part
from stages.artifacts.records import STEPS_PHASE, FileEntry, ItemBalance, _Record
from stages.store.errors import StoreError
from stages.store.metadata import readable_json
from stages.store.record_kind import what_is_wrong
from stages.store.store import Store

HEAD_FILE: Final = "head.json"
"""Name of the head beside its manifest, and on pages."""
MISSING: Final = "is missing"
"""The problem of a head that is not there: no damage in a store of before, and after a kill right after a commit."""
NAMED_SUFFIXES: Final = (".json", ".parquet", ".png")
"""Suffixes of the files that a head names: metrics and settings, tables, pictures."""
MAX_NAMED_FILES = 256
"""Files that a head names at most, so that its size does not grow with the number of parts."""
DRAWN: Final = ("Draw", "draw")
"""The kind of artifact, and its phase, whose parts record `source` and numbers `num_<name>` of it as facts."""
PACKED: Final = "Rows"
"""The kind of artifact whose parts record `sources`: source to numbers of it."""
RULE_COUNTS: Final = "rule_counts"
"""The fact of a part that says of each rule of a filter to how many items it was applied, and how."""
MODEL_PREFIX: Final = "model/"
"""The files of a model have names that begin so."""


class PhaseSums(_Record):
    """The sums over the parts of one phase."""

    phase: str
    """Name of the phase."""
    num_parts: int
    """Parts of the phase."""
    num_files: int
    """Files of all its parts."""
    size_bytes: int
    """Bytes of all its files."""
    items: ItemBalance
    """Items of all its parts: kept, dropped and failed."""


class NamedFile(_Record):
    """The first file of its name in an artifact."""

    phase: str
    """Name of the phase whose part holds it."""
    file: FileEntry
    """The file."""


class ManifestHead(ManifestFields):
    """What a manifest says of an artifact, with sums in the place of its parts."""

    phases: tuple[PhaseSums, ...]
    """The phases, in the order of the manifest."""
    sources: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Source to the numbers that the parts of a draw or of packed rows record of it, summed; empty for other kinds."""
    rules: dict[str, dict[str, int]] = Field(default_factory=dict)
    """Rule of a filter to the number of items by how it was applied to them, summed over parts: `applied to COLUMN`,
    `null`, `no column`."""
    carried: dict[str, dict[str, dict[str, int]]] = Field(default_factory=dict)
    """Source of a draw to `licence` and `language` to the number of drawings of samples that carry each value, summed
    over parts; '' for samples that carry none. Draws of before, and sources without such columns, have no entry."""
    at_step: int | None = None
    """Optimizer step of the last checkpoint; None for what no training made."""
    num_skipped_rows: int = 0
    """Damaged rows that training left out."""
    num_skipped_steps: int = 0
    """Optimizer steps that training left out as a whole."""
    holds_model: bool
    """Whether the last part holds files of a model."""
    files: tuple[NamedFile, ...] = ()
    """The first file of each name, without its folder, of those with a suffix in `NAMED_SUFFIXES`."""
    has_more_files: bool = False
    """Whether more than `MAX_NAMED_FILES` names were found, so that `files` is cut short."""
    files_root: str = ""
    """Merkle root over name, size and sha256 of all files, 64 hex digits (`merkle.py`); '' in heads of before."""
    manifest_sha256: str
    """sha256 of the manifest, 64 hex digits."""
    manifest_bytes: int
    """Size of the manifest, in bytes."""
    problem: str = Field(default="", exclude=True)
    """Why this head was computed from the manifest instead of read; '' for one that was read. Never stored."""

    @property
    def short(self) -> str:
        """Stage and shown digits of the fingerprint, such as `pack_rows/3f2a9c01d4e5`: what people type."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"

    @property
    def num_parts(self) -> int:
        """Parts of all phases."""
        return sum(phase.num_parts for phase in self.phases)

    @property
    def size_bytes(self) -> int:
        """Bytes of all files of all parts."""
        return sum(phase.size_bytes for phase in self.phases)

    @property
    def last_phase(self) -> PhaseSums:
        """The sums of the last phase, whose items the manifest counts."""
        return self.phases[-1]

    def file(self, name: str) -> FileEntry | None:
        """The first file called `name` in any folder of any part, or None. See `has_more_files`."""
        return next((one.file for one in self.files if one.file.name.rpartition("/")[2] == name), None)


def head_key(stage: str, fingerprint: str) -> str:
    """Where the head of an artifact lies."""
    return f"{artifact_folder(stage, fingerprint)}/{HEAD_FILE}"


def head_bytes(head: ManifestHead) -> bytes:
    """The head as readable JSON."""
    return readable_json(head.model_dump(mode="json"))


def head_of(data: bytes) -> ManifestHead:
    """The head of the manifest with these bytes. Raises `ValueError` where they are no manifest.

    Each line of a part is parsed and dropped again, in about a hundredth of a millisecond.
    """
    try:
        fields, parts = _split(data)
        sums = _Sums(kind=fields["kind"])
        for part in parts:
            sums.add(part)
        return ManifestHead(
            **fields,
            **sums.fields(),
            manifest_sha256=hashlib.sha256(data).hexdigest(),
            manifest_bytes=len(data),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"these bytes are no manifest: {error!r}") from error


def read_head(store: Store, stage: str, fingerprint: str) -> ManifestHead | None:
    """The head of the artifact committed under a fingerprint; None where there is no such artifact.

    Takes two small requests, one where nothing is committed. Where `head.json` cannot be used, the manifest is read and
    `problem` says why. Raises `TornRecordError` where that cannot be read either. Damage inside a manifest whose head
    is whole is noticed by readers of its parts, and by an audit.
    """
    size_bytes = store.size_bytes(manifest_key(stage, fingerprint))
    if size_bytes is None:
        return None
    found = _stored_head(store, stage, fingerprint, size_bytes)
    if isinstance(found, ManifestHead):
        return found
    head = _computed_head(store, stage, fingerprint)
    return head and head.model_copy(update={"problem": found})


def check_head(store: Store, stage: str, fingerprint: str) -> str:
    """What is wrong with `head.json` of a committed artifact, in words such as `is missing`; '' where nothing is.

    For audits: reads the manifest, and compares its digest and every number with those of the head. `MISSING` is no
    damage. Raises like `read_head`.
    """
    head = _computed_head(store, stage, fingerprint)
    return "" if head is None else compare_head(store, head)


def compare_head(store: Store, head: ManifestHead) -> str:
    """`check_head` for a head that was computed from the manifest, which is not read again."""
    found = _stored_head(store, head.stage, head.fingerprint, head.manifest_bytes)
    if isinstance(found, str):
        return found
    if found.manifest_sha256 != head.manifest_sha256:
        return (
            f"is that of another manifest: of sha256 {found.manifest_sha256[:SHOWN_DIGITS]}, the manifest beside it "
            f"has {head.manifest_sha256[:SHOWN_DIGITS]}"
        )
    if not found.files_root:  # written by a version that computed none
        found = found.model_copy(update={"files_root": head.files_root})
    differing = [name for name in ManifestHead.model_fields if getattr(found, name) != getattr(head, name)]
    return f"differs from its manifest in: {', '.join(differing)}" if differing else ""


def files_root_of(store: Store, head: ManifestHead) -> str:
    """The Merkle root over the files of an artifact. Reads its manifest where its head is one of before, without it.

    Raises `StoreError` where that is gone, and like `read_head`.
    """
    if head.files_root:
        return head.files_root
    computed = _computed_head(store, head.stage, head.fingerprint)
    if computed is None:
        raise StoreError(f"{store.url}/{manifest_key(head.stage, head.fingerprint)} is missing")
    return computed.files_root


def _stored_head(store: Store, stage: str, fingerprint: str, manifest_size: int) -> ManifestHead | str:
    """The head as it is stored, or why it cannot be used, as a phrase that follows its name."""
    data = store.read(head_key(stage, fingerprint))
    if data is None:
        return MISSING
    try:
        head = ManifestHead.model_validate_json(data)
    except ValidationError as error:
        return f"is damaged ({what_is_wrong(error)})"
    if (head.stage, head.fingerprint[:SHOWN_DIGITS]) != (stage, fingerprint[:SHOWN_DIGITS]):
        return f"is that of {head.short}"
    if head.manifest_bytes != manifest_size:
        return (
            f"is that of another manifest: of {head.manifest_bytes:,} bytes, the manifest beside it has "
            f"{manifest_size:,}"
        )
    return head


def _computed_head(store: Store, stage: str, fingerprint: str) -> ManifestHead | None:
    key = manifest_key(stage, fingerprint)
    data = store.read(key)
    if data is None:
        return None
    try:
        return head_of(data)
    except ValueError as error:
        read_manifest(store, stage, fingerprint)  # raises, in words for what is wrong
        raise MANIFEST.unreadable(f"{store.url}/{key}", what_is_wrong(error)) from error


def _split(data: bytes) -> tuple[dict[str, Any], Iterable[dict[str, Any]]]:
    """The fields of a manifest, and its parts, parsed one by one where the bytes are as `manifest_bytes` has them."""
    first = data.find(PARTS_BEGIN)
    last = data.find(PARTS_END, first)
    if 0 <= first < last and not data.startswith(SPREAD_PART, first + len(PARTS_BEGIN)):
        fields = json.loads(data[:first] + data[last + len(PARTS_END) :])
        return fields, _parsed_lines(data, first + len(PARTS_BEGIN), last)
    fields = json.loads(data)
    return fields, fields.pop("parts")


def _parsed_lines(data: bytes, start: int, stop: int) -> Iterator[dict[str, Any]]:
    lines = io.BytesIO(data)
    lines.seek(start)
    while lines.tell() < stop:
        if line := lines.readline().strip().removesuffix(b","):
            yield json.loads(line)


@dataclass
class _PhaseTally:
    num_parts: int = 0
    num_files: int = 0
    size_bytes: int = 0
    kept: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    def add(self, part: dict[str, Any]) -> None:
        self.num_parts += 1
        self.num_files += len(part["files"])
        self.size_bytes += sum(entry["size_bytes"] for entry in part["files"])
        self.kept += part["items"]["kept"]
        self.dropped.update(part["items"]["dropped"])
        self.failed.update(part["items"]["failed"])

    def counts(self, phase: str) -> PhaseSums:
        dropped, failed = dict(sorted(self.dropped.items())), dict(sorted(self.failed.items()))
        items = ItemBalance(kept=self.kept, dropped=dropped, failed=failed)
        return PhaseSums(
            phase=phase, num_parts=self.num_parts, num_files=self.num_files, size_bytes=self.size_bytes, items=items
        )


@dataclass
class _Sums:
    """The sums over the parts of a manifest, which are added as parsed JSON."""

    kind: str
    phases: dict[str, _PhaseTally] = field(default_factory=dict)
    sources: dict[str, Counter[str]] = field(default_factory=dict)
    rules: dict[str, Counter[str]] = field(default_factory=dict)
    carried: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    files: dict[str, NamedFile] = field(default_factory=dict)
    has_more_files: bool = False
    tree: MerkleTree = field(default_factory=MerkleTree)
    last: dict[str, Any] = field(default_factory=dict)
    """The part that was added last."""

    def add(self, part: dict[str, Any]) -> None:
        self.phases.setdefault(part["phase"], _PhaseTally()).add(part)
        self._add_sources(part)
        self._add_rules(part["facts"].get(RULE_COUNTS))
        for entry in part["files"]:
            self._add_file(part["phase"], entry)
        add_part(self.tree, part)
        self.last = part

    def fields(self) -> dict[str, Any]:
        facts = self.last.get("facts", {}) if self.last.get("phase") == STEPS_PHASE else {}
        return {
            "phases": tuple(sums.counts(phase) for phase, sums in self.phases.items()),
            "sources": {source: dict(numbers) for source, numbers in sorted(self.sources.items())},
            "rules": {rule: dict(sorted(counts.items())) for rule, counts in sorted(self.rules.items())},
            "carried": {
                source: {
                    column: most_frequent(counts, MAX_CARRIED_VALUES) for column, counts in sorted(columns.items())
                }
                for source, columns in sorted(self.carried.items())
            },
            "at_step": facts.get("step"),
            "num_skipped_rows": len(facts.get("skipped", ())),
            "num_skipped_steps": len(facts.get("skipped_steps", ())),
            "holds_model": any(entry["name"].startswith(MODEL_PREFIX) for entry in self.last.get("files", ())),
            "files": tuple(self.files.values()),
            "has_more_files": self.has_more_files,
            "files_root": self.tree.root,
        }

    def _add_sources(self, part: dict[str, Any]) -> None:
        facts = part["facts"]
        if self.kind == PACKED:
            for source, numbers in facts.get("sources", {}).items():
                self.sources.setdefault(source, Counter()).update(numbers)
        elif (self.kind, part["phase"]) == DRAWN and "source" in facts:  # a stage of a user's own may record none
            numbers = {name.removeprefix("num_"): value for name, value in facts.items() if name.startswith("num_")}
            self.sources.setdefault(facts["source"], Counter()).update(numbers)
            self._add_carried(facts["source"], facts.get(CARRIED_COUNTS))

    def _add_carried(self, source: str, columns: object) -> None:
        for column, counts in columns.items() if isinstance(columns, dict) else ():
            summed = self.carried.setdefault(source, {}).setdefault(column, Counter())
            summed.update(counts)
            # 39,000 parts of a column that never repeats a value would be a million values.
            if len(summed) > 100 * MAX_CARRIED_VALUES:
                self.carried[source][column] = Counter(most_frequent(summed, MAX_CARRIED_VALUES))

    def _add_rules(self, rules: object) -> None:
        for rule, counts in rules.items() if isinstance(rules, dict) else ():
            if isinstance(counts, dict) and all(isinstance(number, int) for number in counts.values()):
                self.rules.setdefault(rule, Counter()).update(counts)

    def _add_file(self, phase: str, entry: dict[str, Any]) -> None:
        name = entry["name"].rpartition("/")[2]
        if name in self.files or not name.endswith(NAMED_SUFFIXES):
            return
        if len(self.files) < MAX_NAMED_FILES:
            self.files[name] = NamedFile(phase=phase, file=FileEntry(**entry))
        else:
            self.has_more_files = True
