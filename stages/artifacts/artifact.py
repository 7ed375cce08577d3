"""Artifacts: folders that never change once committed, described by a manifest that is written last.

Owns the shapes of records and manifests and the reading of artifacts. `stages/commit/parts.py` writes them.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.artifacts.fingerprint import SHOWN_DIGITS, canonical_bytes
from stages.store.store import Store, StoreError

STEPS_PHASE = "steps"
"""The phase under which a training stage's committed checkpoints are recorded, one part for each."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemBalance(_Record):
    """How every item that entered ended: kept, dropped for a reason, or failed for a reason."""

    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    failed: dict[str, int] = Field(default_factory=dict)

    @property
    def num_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def num_failed(self) -> int:
        return sum(self.failed.values())

    @property
    def total(self) -> int:
        return self.kept + self.num_dropped + self.num_failed

    def __add__(self, other: ItemBalance) -> ItemBalance:
        return total((self, other))


def total(balances: Iterable[ItemBalance]) -> ItemBalance:
    """All of them together."""
    kept, dropped, failed = 0, Counter[str](), Counter[str]()
    for balance in balances:
        kept += balance.kept
        dropped.update(balance.dropped)
        failed.update(balance.failed)
    return ItemBalance(kept=kept, dropped=dict(sorted(dropped.items())), failed=dict(sorted(failed.items())))


class FileEntry(_Record):
    """One file of a part."""

    name: str
    """Path inside the part, such as `pairs.tar` or `model/config.json`."""
    key: str
    """Where the bytes lie in the store."""
    size_bytes: int
    sha256: str


class PartRecord(_Record):
    """What one part of a phase came to. Creating it, exclusively, is what makes the part true."""

    phase: str
    part: str
    files: tuple[FileEntry, ...] = ()
    items: ItemBalance = ItemBalance()
    facts: dict[str, Any] = Field(default_factory=dict)
    """What two undisturbed runs agree on: counts, widths, seeds. Hashed into the artifact's content digest."""
    made_by: dict[str, Any] = Field(default_factory=dict)
    """What they need not agree on: attempt, host, seconds, tries."""

    def file(self, name: str) -> FileEntry:
        for entry in self.files:
            if entry.name == name:
                return entry
        raise KeyError(f"part {self.phase}/{self.part} has no file {name!r}; it has {[f.name for f in self.files]}")

    @property
    def content(self) -> dict[str, Any]:
        """What the content digest is computed from: names and bytes, no times and no places.

        The number of a checkpoint is left out, because it counts interruptions; its step is among the facts.
        """
        files = {entry.name: [entry.size_bytes, entry.sha256] for entry in self.files}
        part = "" if self.phase == STEPS_PHASE else self.part
        return {"phase": self.phase, "part": part, "files": files, "facts": self.facts}


class InputRecord(_Record):
    """An input that was really read: what it is and the digest of its content at that time."""

    stage: str
    fingerprint: str
    content: str


class _ManifestFields(_Record):
    kind: str
    stage: str
    number: int
    fingerprint: str
    recipe: dict[str, Any]
    """The recipe in full, defaults included, for people and for comparison."""
    inputs: dict[str, InputRecord]
    items: ItemBalance
    content: str
    """sha256 over the parts' names, bytes and facts: equal for two runs that made the same thing."""
    versions: dict[str, str]
    provenance: dict[str, Any] = Field(default_factory=dict)


class Manifest(_ManifestFields):
    """The sidecar written last. No manifest, no artifact."""

    parts: tuple[PartRecord, ...]


class ManifestHead(_ManifestFields):
    """What a plan needs to know of an artifact: its manifest without the parts, which may be many thousand."""

    num_parts: int


def content_digest(parts: tuple[PartRecord, ...]) -> str:
    """sha256 over what the parts hold, 64 hex digits: that of the canonical bytes of their list."""
    spelled = hashlib.sha256(b"[")
    for number, part in enumerate(parts):
        spelled.update(b"," if number else b"")
        spelled.update(canonical_bytes(part.content, f"part {part.phase}/{part.part}"))
    spelled.update(b"]")
    return spelled.hexdigest()


def mended_by(ref: str) -> str:
    """What to do about damage in an artifact, as every error that meets some says it."""
    return f"`neo audit {ref} --repair` names all that is damaged, and lets the next run make it again"


def artifact_folder(stage: str, fingerprint: str) -> str:
    """The key prefix of an artifact: `artifacts/<stage>/<fingerprint>`."""
    return f"artifacts/{stage}/{fingerprint[:SHOWN_DIGITS]}"


class Artifact:
    """A committed artifact, opened for reading. Each kind is a subclass that knows its own files."""

    kind: ClassVar[str] = "Artifact"

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"{self.kind}({self.manifest.stage}/{self.short})"

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def short(self) -> str:
        """The digits of the fingerprint that people see."""
        return self.manifest.fingerprint[:SHOWN_DIGITS]

    @property
    def folder(self) -> str:
        """The artifact's key prefix in the store."""
        return artifact_folder(self.manifest.stage, self.manifest.fingerprint)

    @property
    def parts(self) -> tuple[PartRecord, ...]:
        return self.manifest.parts

    def phase(self, name: str) -> tuple[PartRecord, ...]:
        """The parts of one phase, in their listed order."""
        return tuple(part for part in self.manifest.parts if part.phase == name)

    def part(self, name: str, phase: str | None = None) -> PartRecord:
        for record in self.manifest.parts:
            if record.part == name and phase in (None, record.phase):
                return record
        raise KeyError(f"{self!r} has no part {name!r} in phase {phase or 'any'!r}")

    def read(self, entry: FileEntry) -> bytes:
        """The bytes of one file, checked against their recorded size."""
        data = self.store.read(entry.key)
        if data is None or len(data) != entry.size_bytes:
            found = "missing" if data is None else f"{len(data)} bytes"
            raise self.damaged(entry.key, f"is {found}, {entry.size_bytes} bytes were committed")
        return data

    def damaged(self, key: str, said: str) -> StoreError:
        """What to raise where a file is not as it was committed."""
        return StoreError(f"{key} of {self!r} {said}; {mended_by(self.short)}")

    def local_path(self, entry: FileEntry) -> Path:
        """A local file with the bytes of `entry`, checked against the recorded size."""
        try:
            path = self.store.local_path(entry.key, self._cache)
        except FileNotFoundError as error:
            raise self.damaged(entry.key, "is missing") from error
        if path.stat().st_size != entry.size_bytes:
            raise self.damaged(entry.key, f"has {path.stat().st_size} bytes, {entry.size_bytes} were committed")
        return path

    def input(self, name: str, kind: type[AnyArtifact]) -> AnyArtifact:
        """The artifact that this one read under `name`, opened as `kind`."""
        record = self.manifest.inputs.get(name)
        if record is None:
            raise KeyError(f"{self!r} has no input {name!r}; it has {sorted(self.manifest.inputs)}")
        return open_artifact(self.store, record.stage, record.fingerprint, kind)

    def inputs(self, prefix: str = "") -> Iterator[tuple[str, InputRecord]]:
        """The inputs whose names begin with `prefix`, in order."""
        return ((name, ref) for name, ref in self.manifest.inputs.items() if name.startswith(prefix))

    @cached_property
    def _cache(self) -> Path:
        return Path(tempfile.gettempdir()) / "neo-cache"


AnyArtifact = TypeVar("AnyArtifact", bound=Artifact)


PARTS_BEGIN, PART_BEGIN, PARTS_END = b'\n  "parts": [', b"\n    {", b"\n  ],"
"""Where the parts stand in the bytes of a manifest: no string of JSON holds a line break."""


def manifest_bytes(manifest: Manifest) -> bytes:
    """The manifest as JSON with sorted keys, a line for each part: people read it, and parts may be many thousand."""
    fields = manifest.model_dump(mode="json", exclude={"parts"})
    spelled = {name: _spelled(value, indent=2).replace("\n", "\n  ") for name, value in fields.items()}
    lines = (_spelled(part.model_dump(mode="json")) for part in manifest.parts)
    spelled["parts"] = "[\n    {}\n  ]".format(",\n    ".join(lines))
    return "{{\n{}\n}}\n".format(",\n".join(f'  "{name}": {spelled[name]}' for name in sorted(spelled))).encode()


def _spelled(value: object, indent: int | None = None) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False, allow_nan=False)


def read_manifest(store: Store, stage: str, fingerprint: str) -> Manifest | None:
    """The manifest committed under a fingerprint, or None: then there is no such artifact."""
    key = _manifest_key(stage, fingerprint)
    data = store.read(key)
    try:
        return None if data is None else Manifest.model_validate_json(data)
    except ValidationError:
        store.read_json(key)  # raises where it does not even parse, and says why
        raise


def read_head(store: Store, stage: str, fingerprint: str) -> ManifestHead | None:
    """The head of the manifest committed under a fingerprint, or None: then there is no such artifact.

    The lines of the parts are cut out unread, so this takes little more memory than their bytes. That the last of them
    is there is seen; whether each is whole is for `read_manifest` to find.
    """
    data = store.read(_manifest_key(stage, fingerprint))
    head = None if data is None else _head_of(data)
    if data is None or head is not None:
        return head
    whole = read_manifest(store, stage, fingerprint)
    return None if whole is None else ManifestHead(num_parts=len(whole.parts), **whole.model_dump(exclude={"parts"}))


def _head_of(data: bytes) -> ManifestHead | None:
    """The head, or None where the bytes are not as `manifest_bytes` writes them."""
    first = data.find(PARTS_BEGIN)
    last = data.find(PARTS_END, first)
    try:
        fields = json.loads(data[:first] + data[last + len(PARTS_END) :]) if 0 <= first < last else None
        return fields and ManifestHead(num_parts=data.count(PART_BEGIN, first, last), **fields)
    except (TypeError, ValueError):
        return None


def _manifest_key(stage: str, fingerprint: str) -> str:
    return f"{artifact_folder(stage, fingerprint)}/manifest.json"


def open_artifact(store: Store, stage: str, fingerprint: str, kind: type[AnyArtifact]) -> AnyArtifact:
    """Open a committed artifact as `kind`. Raises `StoreError` if it is not committed or of another kind."""
    manifest = read_manifest(store, stage, fingerprint)
    if manifest is None:
        raise StoreError(
            f"{stage}/{fingerprint[:SHOWN_DIGITS]} is not committed in {store.url}; run its pipeline first"
        )
    if kind is not Artifact and manifest.kind != kind.kind:
        raise StoreError(f"{stage}/{fingerprint[:SHOWN_DIGITS]} holds {manifest.kind}, not {kind.kind}")
    return kind(store, manifest)


def describe_inputs(artifacts: Mapping[str, Artifact]) -> dict[str, InputRecord]:
    """What a manifest says of the inputs that were read."""
    return {
        name: InputRecord(
            stage=artifact.manifest.stage, fingerprint=artifact.fingerprint, content=artifact.manifest.content
        )
        for name, artifact in artifacts.items()
    }


def find_file(manifest: Manifest, name: str) -> FileEntry | None:
    """The first file of that name, whatever its part and folder."""
    entries = (entry for part in manifest.parts for entry in part.files)
    return next((entry for entry in entries if Path(entry.name).name == name), None)
