"""Notes of an audit that is under way: which files were read and found whole, so that a broken-off audit continues.

Owns `audits/<stage>/<fingerprint>/<n>/` in the store. An audit that takes longer than `SECONDS_BETWEEN_NOTES` begins a
number; the next audit of the same artifact and depth continues the newest number without an end. A note counts for a
file only if the manifest still states the same size and sha256, and the object is the same version as when it was read.
An audit that ran to its end is never continued: bits that rot change no version, so each audit reads all files once.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.lineage.file_checks import Depth, FileCheck
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import FileEntry
from stages.store.errors import DiskFullError, StoreDeniedError
from stages.store.fault_points import fault_point
from stages.store.metadata import readable_json
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store

SECONDS_BETWEEN_NOTES = 30.0
"""Reading of at most so many seconds is done again after an audit was broken off."""
MAX_SECONDS_OPEN = 7 * 24 * 3600.0
"""An audit that began longer ago, by the clocks of the two machines, is not continued."""


class _Note(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AuditBegun(_Note):
    """The beginning of an audit that keeps notes."""

    level: str
    share: float
    seed: int
    at_seconds: float


class VerifiedFile(_Note):
    """A file that was read and found whole."""

    key: str
    size_bytes: int
    sha256: str
    version: str
    """The version of the object before it was read."""


REMEDY = "move it away: the files that it names are read again"
BEGUN = RecordKind[AuditBegun](AuditBegun, "the beginning of an audit", REMEDY)
VERIFIED = RecordKind[list[VerifiedFile]](list[VerifiedFile], "the notes of an audit", REMEDY)


@dataclass
class AuditNotes:
    """The notes of one audit, read at its beginning and written while it reads."""

    store: Store
    stage: str
    fingerprint: str
    depth: Depth
    known: dict[bytes, str] = field(default_factory=dict)
    """Digest of a file's entry to its version, for each file that the audit which this one continues has read: some
    250 bytes a file."""
    is_continued: bool = False
    """Whether an unfinished audit is continued."""
    _number: int = -1
    _next: int = 0
    _unwritten: list[VerifiedFile] = field(default_factory=list)
    _written_at_seconds: float = field(default_factory=time.monotonic)
    _may_write: bool = True

    @classmethod
    def open(cls, store: Store, stage: str, fingerprint: str, depth: Depth, *, afresh: bool = False) -> AuditNotes:
        """Notes for an audit: those of the newest unfinished one of the same depth, unless it is to begin `afresh`."""
        notes = cls(store, stage, fingerprint, depth)
        if not afresh and depth.level in ("sample", "full"):
            notes._continue()
        return notes

    def noted(self, entry: FileEntry) -> str:
        """The version of a file that the unfinished audit has read; '' where it has not, or another entry stands now.

        If the object still has that version, it need not be read again.
        """
        return self.known.get(_digest(entry.key, entry.size_bytes, entry.sha256), "")

    def add(self, check: FileCheck) -> None:
        """Note a file that was read now and is whole; write what there is, if it is time."""
        if check.version and not check.problem:
            entry = check.file.entry
            self._unwritten.append(
                VerifiedFile(key=entry.key, size_bytes=entry.size_bytes, sha256=entry.sha256, version=check.version)
            )
        if time.monotonic() - self._written_at_seconds >= SECONDS_BETWEEN_NOTES:
            self.write()

    def write(self) -> None:
        """Write the notes that are not written. A store that cannot take them costs reading again, no more."""
        self._written_at_seconds = time.monotonic()
        if not self._unwritten or not self._may_write:
            return
        try:
            if self._number < 0:
                self._begin()
            notes = [note.model_dump() for note in self._unwritten]
            while not self._create(f"verified-{self._next:06d}.json", notes):
                self._next += 1
        except (StoreDeniedError, DiskFullError):
            self._may_write = False
        else:
            self._next += 1
            self._unwritten = []

    def end(self) -> None:
        """Say that the audit came to its end: it is not continued."""
        if self._number >= 0 and self._may_write:
            self._create("ended.json", {"at_seconds": time.time()})

    def _continue(self) -> None:
        number = self._num_audits() - 1
        begun = BEGUN.read_or_skip(self.store, self._key(number, "begun.json")) if number >= 0 else None
        if begun is None or self.store.size_bytes(self._key(number, "ended.json")) is not None:
            return
        is_same = (begun.level, begun.share, begun.seed) == (self.depth.level, self.depth.share, self.depth.seed)
        if not is_same or not 0 <= time.time() - begun.at_seconds < MAX_SECONDS_OPEN:
            return
        self._number, self.is_continued = number, True
        self._next = first_missing(lambda batch: self.store.size_bytes(self._batch_key(number, batch)) is not None)
        for batch in range(self._next):
            for note in VERIFIED.read_or_skip(self.store, self._batch_key(number, batch)) or ():
                self.known[_digest(note.key, note.size_bytes, note.sha256)] = note.version

    def _begin(self) -> None:
        begun = AuditBegun(
            level=self.depth.level, share=self.depth.share, seed=self.depth.seed, at_seconds=time.time()
        ).model_dump()
        self._number = self._num_audits()
        while not self._create("begun.json", begun):
            self._number += 1

    def _num_audits(self) -> int:
        return first_missing(lambda number: self.store.size_bytes(self._key(number, "begun.json")) is not None)

    def _create(self, name: str, value: Any) -> bool:
        key = self._key(self._number, name)
        with fault_point("audit.noted", key):
            return self.store.create(key, readable_json(value))

    def _batch_key(self, number: int, batch: int) -> str:
        return self._key(number, f"verified-{batch:06d}.json")

    def _key(self, number: int, name: str) -> str:
        return f"{artifact_folder(self.stage, self.fingerprint).replace('artifacts/', 'audits/', 1)}/{number}/{name}"


def _digest(key: str, size_bytes: int, sha256: str) -> bytes:
    return hashlib.blake2b(f"{key} {size_bytes} {sha256}".encode(), digest_size=16).digest()
