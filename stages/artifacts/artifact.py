"""Artifacts: folders that never change once committed, described by a manifest that is written last.

Owns the reading of artifacts. `manifest.py` and `records.py` describe what is read, `stages/commit/` writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self, TypeVar

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import NAMED_SUFFIXES, ManifestHead, head_of, read_head
from stages.artifacts.manifest import (
    Manifest,
    artifact_folder,
    find_file,
    manifest_bytes,
    owner_of,
    read_manifest,
    read_parts,
)
from stages.artifacts.records import FileEntry, InputRecord, PartRecord
from stages.store.errors import StoreError, TornRecordError
from stages.store.local_files import local_file
from stages.store.range_stream import buffered_ranges
from stages.store.record_kind import what_is_wrong
from stages.store.store import Store

RANGE_BYTES = 256 * 1024
"""Bytes of a file that are read at a time, where it is opened as a stream."""


def mended_by(ref: str) -> str:
    """What to do about damage in the artifact `ref`: the end of every message about a damaged file."""
    return f"`neo audit {ref} --repair` names all that is damaged, and lets the next run make it again"


_DERIVED = frozenset({"manifest", "_parts_by_name", "_keys_taken_over"})
"""What an artifact keeps of its manifest, and does not pickle."""


class CommittedArtifact:
    """A committed artifact by its head, with the records of its parts read when somebody first asks for them, and kept.

    It pickles with its manifest: one process reads it for all workers that the artifact travels to. `without_parts`
    pickles by its head, for those that seldom ask for parts.
    """

    kind: ClassVar[str] = "Artifact"
    """Name of the kind, as manifests record it: the name of the class."""
    _has_parts: bool = True
    """Whether it pickles with its manifest."""

    def __init_subclass__(cls) -> None:
        cls.kind = cls.__name__

    def __init__(self, store: Store, known: Manifest | ManifestHead) -> None:
        self.store = store
        self.__dict__["head" if isinstance(known, ManifestHead) else "manifest"] = known
        self._named = (known.stage, known.fingerprint)

    @cached_property
    def head(self) -> ManifestHead:
        """Everything about the artifact but its parts."""
        return head_of(manifest_bytes(self.manifest))

    @cached_property
    def manifest(self) -> Manifest:
        """The whole manifest, with the record of each part. Raises `StoreError` where it is damaged or gone."""
        key, head = f"{self.folder}/manifest.json", self.head
        try:
            manifest = read_manifest(self.store, *self._named)
        except TornRecordError as error:
            raise self.damaged(key, "cannot be read as a manifest") from error
        if manifest is None:
            raise self.damaged(key, "is missing")
        if manifest.content != head.content:
            raise self.damaged(key, f"and its head.json disagree about what it holds: {manifest.content} here")
        return manifest

    def __getstate__(self) -> dict[str, object]:
        state = {name: value for name, value in self.__dict__.items() if name not in _DERIVED}
        return {"manifest": self.manifest, **state} if self._has_parts else state

    def without_parts(self) -> Self:
        """The same by its head: each process that it travels to reads the manifest itself if it asks for parts."""
        light = type(self)(self.store, self.head)
        light._has_parts = False
        return light

    def __repr__(self) -> str:
        return f"{self.kind}({self.stage}/{self.short})"

    @property
    def stage(self) -> str:
        """Name of the stage that made it."""
        return self._named[0]

    @property
    def fingerprint(self) -> str:
        """Fingerprint, 64 hex digits."""
        return self._named[1]

    @property
    def short(self) -> str:
        """The first `SHOWN_DIGITS` digits of the fingerprint, by which people refer to the artifact."""
        return self.fingerprint[:SHOWN_DIGITS]

    @property
    def folder(self) -> str:
        """The artifact's key prefix in the store."""
        return artifact_folder(self.stage, self.fingerprint)

    @property
    def parts(self) -> tuple[PartRecord, ...]:
        """The records of all parts, phase after phase, kept in memory. `each_part` reads them one at a time."""
        return self.manifest.parts

    def each_part(self) -> Iterator[PartRecord]:
        """The records of `parts`, one at a time and not kept, unless the manifest was read already."""
        if "manifest" in self.__dict__:
            return iter(self.parts)
        return read_parts(self.store, *self._named)

    def phase(self, name: str) -> tuple[PartRecord, ...]:
        """The records of one phase, in the order of the manifest; () where there is no such phase."""
        return tuple(part for part in self.manifest.parts if part.phase == name)

    def part(self, name: str, phase: str | None = None) -> PartRecord:
        """The record of the part `name` of one phase, or of the first phase that has it. Raises `KeyError`."""
        record = self._parts_by_name.get((phase, name))
        if record is None:
            raise KeyError(f"{self!r} has no part {name!r} in phase {phase or 'any'!r}")
        return record

    @cached_property
    def _parts_by_name(self) -> dict[tuple[str | None, str], PartRecord]:
        """Phase and name of each part to its record; without a phase (None), the first of its name."""
        found: dict[tuple[str | None, str], PartRecord] = {}
        for record in reversed(self.manifest.parts):
            found[record.phase, record.part] = found[None, record.part] = record
        return found

    def damaged(self, key: str, damage: str) -> StoreError:
        """The error for a file that is not as it was committed; `damage` follows the name of the artifact.

        A file of a part that was taken over lies in the folder of the artifact that made it, which is then named too.
        """
        origin = "" if key.startswith(f"{self.folder}/") else f", which took it over from {owner_of(key)},"
        return StoreError(f"{key} of {self!r}{origin} {damage}; {mended_by(self.short)}")

    @cached_property
    def _keys_taken_over(self) -> frozenset[str]:
        """Keys of the files that lie in the folders of other artifacts, which made them."""
        own = f"{self.folder}/"
        keys = (entry.key for part in self.manifest.parts for entry in part.files)
        return frozenset(key for key in keys if not key.startswith(own))


class Artifact(CommittedArtifact):
    """A committed artifact, opened for reading. Each kind is a subclass that knows its own files."""

    def find_file(self, name: str) -> FileEntry | None:
        """The first file called `name`, in any part and any folder of it, or None: `a.json` finds `model/a.json`."""
        found = self.head.file(name)
        if found is not None or (name.endswith(NAMED_SUFFIXES) and not self.head.has_more_files):
            return found
        return find_file(self.manifest, name)

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

    def read_json(self, entry: FileEntry) -> Any:
        """One file parsed as JSON. Raises `StoreError` like `read`, and where it does not parse."""
        try:
            return json.loads(self.read(entry))
        except ValueError as error:
            raise self.damaged(entry.key, f"does not parse as JSON ({what_is_wrong(error)})") from error

    @contextmanager
    def local_file(self, entry: FileEntry) -> Iterator[Path]:
        """A local file with the bytes of `entry`, within this context: the file itself, or a cached copy, which no
        process removes meanwhile. Raises like `read`.
        """
        self._check_is_own(entry)
        with ExitStack() as used:
            try:
                path = used.enter_context(local_file(self.store, entry.key, entry.size_bytes))
            except FileNotFoundError as error:
                raise self.damaged(entry.key, "is missing") from error
            if path.stat().st_size != entry.size_bytes:
                raise self.damaged(entry.key, f"has {path.stat().st_size} bytes, {entry.size_bytes} were committed")
            yield path

    def open(self, entry: FileEntry) -> BinaryIO:
        """A file as a stream that is read by ranges, as far as it is asked for. Raises like `read`."""
        self._check_is_own(entry)
        size_bytes = self.store.size_bytes(entry.key)
        if size_bytes != entry.size_bytes:
            actual = "missing" if size_bytes is None else f"{size_bytes} bytes"
            raise self.damaged(entry.key, f"is {actual}, {entry.size_bytes} bytes were committed")
        return buffered_ranges(entry.size_bytes, partial(self.store.read_range, entry.key), RANGE_BYTES)

    def _check_is_own(self, entry: FileEntry) -> None:
        """Raise `StoreError` for a file of another artifact that this one did not take over: the error would name the
        wrong one to repair."""
        if not entry.key.startswith(f"{self.folder}/") and entry.key not in self._keys_taken_over:
            raise StoreError(f"{entry.key} is not a file of {self!r}; its files are below {self.folder}")

    def as_kind(self, kind: type[AnyArtifact]) -> AnyArtifact:
        """The same artifact opened as `kind`, with what was read of it so far."""
        opened = kind(self.store, self.__dict__.get("manifest") or self.head)
        opened.__dict__.update({name: self.__dict__[name] for name in ("head", "manifest") if name in self.__dict__})
        return opened

    def input(self, name: str, kind: type[AnyArtifact]) -> AnyArtifact:
        """The artifact that this one read under `name`, opened as `kind`. Raises `KeyError` if it read none."""
        record = self.head.inputs.get(name)
        if record is None:
            raise KeyError(f"{self!r} has no input {name!r}; it has {sorted(self.head.inputs)}")
        return open_artifact(self.store, record.stage, record.fingerprint, kind)

    def inputs(self, prefix: str = "") -> Iterator[tuple[str, InputRecord]]:
        """Name and record of each input whose name begins with `prefix`, in the order of the manifest."""
        return ((name, ref) for name, ref in self.head.inputs.items() if name.startswith(prefix))


class TabledArtifact(Artifact):
    """An artifact with sample tables in the parts of its last phase; those of earlier phases read what comes in."""

    @property
    def parts(self) -> tuple[PartRecord, ...]:
        """The records of the parts that hold sample tables."""
        return self.phase(self.manifest.parts[-1].phase) if self.manifest.parts else ()

    def each_part(self) -> Iterator[PartRecord]:
        """The records of `parts`, one at a time and not kept, unless the manifest was read already."""
        if "manifest" in self.__dict__:
            return iter(self.parts)
        last = self.head.last_phase.phase if self.head.phases else ""
        return (part for part in read_parts(self.store, *self._named) if part.phase == last)


AnyArtifact = TypeVar("AnyArtifact", bound=Artifact)


def open_artifact(store: Store, stage: str, fingerprint: str, kind: type[AnyArtifact]) -> AnyArtifact:
    """Open a committed artifact as `kind`, by its head. Raises `StoreError` if there is none, or of another kind."""
    head = read_head(store, stage, fingerprint)
    if head is None:
        raise StoreError(
            f"{stage}/{fingerprint[:SHOWN_DIGITS]} is not committed in {store.url}; run its pipeline first"
        )
    if kind is not Artifact and head.kind != kind.kind:
        raise StoreError(f"{stage}/{fingerprint[:SHOWN_DIGITS]} holds {head.kind}, not {kind.kind}")
    return kind(store, head)


def describe_inputs(artifacts: Mapping[str, Artifact]) -> dict[str, InputRecord]:
    """The records of inputs, by name, as a manifest holds them."""
    return {
        name: InputRecord(stage=artifact.stage, fingerprint=artifact.fingerprint, content=artifact.head.content)
        for name, artifact in artifacts.items()
    }
