"""Artifacts: folders that never change once committed, described by a manifest that is written last.

Owns the reading of artifacts. `manifest.py` and `records.py` describe what is read, `stages/commit/` writes it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import ClassVar, TypeVar

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import Manifest, artifact_folder, read_manifest
from stages.artifacts.records import FileEntry, InputRecord, PartRecord
from stages.store.errors import StoreError
from stages.store.store import Store


def mended_by(ref: str) -> str:
    """What to do about damage in the artifact `ref`: the end of every message about a damaged file."""
    return f"`neo audit {ref} --repair` names all that is damaged, and lets the next run make it again"


class Artifact:
    """A committed artifact, opened for reading. Each kind is a subclass that knows its own files."""

    kind: ClassVar[str] = "Artifact"
    """Name of the kind, as manifests record it: the name of the class."""

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__

    def __init__(self, store: Store, manifest: Manifest) -> None:
        self.store = store
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"{self.kind}({self.manifest.stage}/{self.short})"

    @property
    def fingerprint(self) -> str:
        """Fingerprint, 64 hex digits."""
        return self.manifest.fingerprint

    @property
    def short(self) -> str:
        """The first `SHOWN_DIGITS` digits of the fingerprint, by which people refer to the artifact."""
        return self.manifest.fingerprint[:SHOWN_DIGITS]

    @property
    def folder(self) -> str:
        """The artifact's key prefix in the store."""
        return artifact_folder(self.manifest.stage, self.manifest.fingerprint)

    @property
    def parts(self) -> tuple[PartRecord, ...]:
        """The records of all parts, phase after phase."""
        return self.manifest.parts

    def phase(self, name: str) -> tuple[PartRecord, ...]:
        """The records of one phase, in the order of the manifest; () where there is no such phase."""
        return tuple(part for part in self.manifest.parts if part.phase == name)

    def part(self, name: str, phase: str | None = None) -> PartRecord:
        """The record of the part `name` of one phase, or of the first phase that has it. Raises `KeyError`."""
        for record in self.manifest.parts:
            if record.part == name and phase in (None, record.phase):
                return record
        raise KeyError(f"{self!r} has no part {name!r} in phase {phase or 'any'!r}")

    def read(self, entry: FileEntry) -> bytes:
        """The bytes of one file. Raises `StoreError` where it is missing, has another size, or is not this artifact's.

        The size is checked, the digest is not: `neo audit` compares digests.
        """
        self._check_is_own(entry)
        data = self.store.read(entry.key)
        if data is None or len(data) != entry.size_bytes:
            actual = "missing" if data is None else f"{len(data)} bytes"
            raise self.damaged(entry.key, f"is {actual}, {entry.size_bytes} bytes were committed")
        return data

    def damaged(self, key: str, damage: str) -> StoreError:
        """The error for a file that is not as it was committed; `damage` follows the name of the artifact."""
        return StoreError(f"{key} of {self!r} {damage}; {mended_by(self.short)}")

    def local_path(self, entry: FileEntry) -> Path:
        """A local file with the bytes of `entry`: the file itself, or a cached copy. Raises like `read`."""
        self._check_is_own(entry)
        try:
            path = self.store.local_path(entry.key, self._cache)
        except FileNotFoundError as error:
            raise self.damaged(entry.key, "is missing") from error
        if path.stat().st_size != entry.size_bytes:
            raise self.damaged(entry.key, f"has {path.stat().st_size} bytes, {entry.size_bytes} were committed")
        return path

    def _check_is_own(self, entry: FileEntry) -> None:
        """Raise `StoreError` for a file of another artifact: the error would name the wrong one to repair."""
        if not entry.key.startswith(f"{self.folder}/"):
            raise StoreError(f"{entry.key} is not a file of {self!r}; its files are below {self.folder}")

    def input(self, name: str, kind: type[AnyArtifact]) -> AnyArtifact:
        """The artifact that this one read under `name`, opened as `kind`. Raises `KeyError` if it read none."""
        record = self.manifest.inputs.get(name)
        if record is None:
            raise KeyError(f"{self!r} has no input {name!r}; it has {sorted(self.manifest.inputs)}")
        return open_artifact(self.store, record.stage, record.fingerprint, kind)

    def inputs(self, prefix: str = "") -> Iterator[tuple[str, InputRecord]]:
        """Name and record of each input whose name begins with `prefix`, in the order of the manifest."""
        return ((name, ref) for name, ref in self.manifest.inputs.items() if name.startswith(prefix))

    @cached_property
    def _cache(self) -> Path:
        return Path(tempfile.gettempdir()) / "neo-cache"


AnyArtifact = TypeVar("AnyArtifact", bound=Artifact)


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
    """The records of inputs, by name, as a manifest holds them."""
    return {
        name: InputRecord(
            stage=artifact.manifest.stage, fingerprint=artifact.fingerprint, content=artifact.manifest.content
        )
        for name, artifact in artifacts.items()
    }
