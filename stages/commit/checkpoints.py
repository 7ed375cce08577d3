"""Checkpoints of a training step: uploaded, committed, read back, deleted, rolled back.

Owns `records/steps/<number>.json` below an artifact's folder, one record for each committed checkpoint, and
`<record>.deleted` beside the record of one whose files were deleted. Numbers have no gap, so the newest is found by
asking for known keys and nothing depends on listing. `fork.json` holds the checkpoint of another training that one
begins from, and `<record>.held` beside the record of that keeps its files. What a checkpoint holds is decided in
`stages/training`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from stages.artifacts.fingerprint import digest
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import STEPS_PHASE, FileEntry, PartRecord, sha256_of
from stages.commit.artifact_writer import ArtifactWriter, numbered_part, unique_upload_prefix
from stages.commit.phase_records import record_key
from stages.commit.repair import DAMAGED, record_repair
from stages.contract import CheckpointCommitted, CheckpointDelayed, Fork, Post, StageError, SupersededError
from stages.store.errors import CutShortError, DamagedFileError, TornRecordError
from stages.store.fault_points import fault_point
from stages.store.local_files import copy_object
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store

CHECKPOINT_RECORD = RecordKind[PartRecord](
    PartRecord,
    "the record of a checkpoint",
    "put it back from a copy; or `neo resume --allow-rollback` continues from the checkpoint before it",
)


class ForkRecord(BaseModel):
    """The content of `fork.json`: what a training begins from."""

    model_config = ConfigDict(frozen=True)

    fork: Fork
    """The training, its step and its recipe."""
    checkpoint: PartRecord
    """The record of the checkpoint, whose files lie in the folder of that training."""


FORK_RECORD = RecordKind[ForkRecord](
    ForkRecord, "the record of the checkpoint that a training begins from", "put it back from a copy"
)


@dataclass(frozen=True)
class CheckpointRecords:
    """The committed checkpoints of one artifact, for reading."""

    store: Store
    folder: str
    """The artifact's key prefix."""

    def count(self) -> int:
        """How many checkpoints are committed, deleted ones included."""
        return first_missing(lambda number: self.store.size_bytes(self._key(number)) is not None)

    def committed(self) -> list[PartRecord]:
        """The committed checkpoints in order, without those whose records are torn."""
        records: list[PartRecord | None] = []
        for number in range(self.count()):
            with suppress(TornRecordError):
                records.append(self._read(number))
        return [record for record in records if record is not None]

    def kept(self) -> list[PartRecord]:
        """The committed checkpoints whose files were not deleted since, in order."""
        return [record for record in self.committed() if self.store.size_bytes(self.deleted_key(record)) is None]

    def latest(self) -> PartRecord | None:
        """The last committed checkpoint, or None.

        Raises `TornRecordError` where its record does not parse: an earlier one is used only if somebody asks for it.
        """
        num_committed = self.count()
        return self._read(num_committed - 1) if num_committed else None

    def keys_after(self, last: PartRecord | None) -> list[str]:
        """Keys of the records of all checkpoints after `last`, and of the marks that they were deleted.

        The highest number comes first: killed halfway through moving them, those that remain have no gap.
        """
        first = 0 if last is None else int(last.part) + 1
        records = [self._key(number) for number in range(self.count() - 1, first - 1, -1)]
        return [key for record in records for key in (f"{record}.deleted", record)]

    def deleted_key(self, record: PartRecord) -> str:
        """Key of the mark that a checkpoint's files were deleted, or are being deleted."""
        return f"{self._key(int(record.part))}.deleted"

    def held_key(self, record: PartRecord) -> str:
        """Key of the mark that a fork begins from a checkpoint, whose files are never deleted then."""
        return f"{self._key(int(record.part))}.held"

    def _key(self, number: int) -> str:
        return record_key(self.folder, STEPS_PHASE, numbered_part(number))

    def _read(self, number: int) -> PartRecord | None:
        return CHECKPOINT_RECORD.read(self.store, self._key(number))


@dataclass
class CheckpointWriter:
    """The checkpoints of a training step, as one rank reads and writes them: `rank.checkpoints`.

    Fulfils `stages.contract.ranks.RankCheckpoints`.
    """

    writer: ArtifactWriter
    post: Post
    num_ranks: int
    next_number: int = 0
    """Number of the checkpoint that is committed next: one after the last that this rank read or committed."""

    @property
    def allows_rollback(self) -> bool:
        """Whether training may continue from an earlier checkpoint if the newest is damaged."""
        return self.writer.allows_rollback

    @property
    def records(self) -> CheckpointRecords:
        """The same checkpoints, for reading."""
        return CheckpointRecords(self.writer.store, self.writer.folder)

    def latest(self) -> PartRecord | None:
        """The last committed checkpoint, or None; the next one committed follows it."""
        latest = self.records.latest()
        self.next_number = 0 if latest is None else int(latest.part) + 1
        return latest

    def origin(self) -> PartRecord | None:
        """The checkpoint of another training that this one begins from; None where it begins at step 0."""
        if self.writer.fork is None:
            return None
        return FORK_RECORD.read_existing(self.writer.store, _fork_key(self.writer.folder)).checkpoint

    def kept(self) -> list[PartRecord]:
        """The committed checkpoints whose files were not deleted since, in order."""
        return self.records.kept()

    def fetch(self, record: PartRecord, folder: Path, prefix: str = "") -> None:
        """Copy a checkpoint's files whose names begin with `prefix` into `folder`, verified."""
        fetch_files(self.writer.store, record, folder, prefix)

    def read(self, entry: FileEntry) -> bytes:
        """A small file of a checkpoint, verified. Raises `DamagedFileError` like `fetch`."""
        data = self.writer.store.read(entry.key)
        if data is None:
            raise DamagedFileError(f"{entry.key} is missing")
        _check_digest(entry, hashlib.sha256(data).hexdigest())
        return data

    def read_range(self, entry: FileEntry, start: int, length: int) -> bytes:
        """`length` bytes of a file of a checkpoint, from offset `start`, which the caller verifies. From any thread.

        Raises `DamagedFileError` where they are not there.
        """
        try:
            return self.writer.store.read_range(entry.key, start, length)
        except FileNotFoundError as error:
            raise DamagedFileError(f"{entry.key} is missing") from error
        except CutShortError as error:
            raise DamagedFileError(f"{entry.key} is damaged: {error}") from error

    def upload(self, folder: Path, step: int) -> tuple[FileEntry, ...]:
        """Upload all files under `folder`, which this rank holds of the checkpoint at `step`. From any thread."""
        prefix = unique_upload_prefix(f"step-{step:08d}")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return tuple(
            self.writer.upload(path, path.relative_to(folder).as_posix(), prefix, "checkpoint.uploaded")
            for path in paths
        )

    def commit(self, files: Sequence[FileEntry], step: int, facts: Mapping[str, Any]) -> PartRecord:
        """Commit the files that all ranks have uploaded as one checkpoint. On one rank, from any thread.

        Its number is one more than that of the checkpoint from which training continued, so an attempt that was
        overtaken finds the number taken. Raises `SupersededError` then.
        """
        record = PartRecord(
            phase=STEPS_PHASE,
            part=numbered_part(self.next_number),
            files=tuple(sorted(files, key=lambda entry: entry.name)),
            facts={**facts, "step": step},
            made_by={**self.writer.made_by, "num_ranks": self.num_ranks},
        )
        self.writer.check_claim()
        winner = self.writer.create_record(record, "checkpoint.recorded")
        if winner.made_by["attempt"] != str(self.writer.attempt) or winner.content != record.content:
            raise SupersededError(
                f"step {self.writer.step!r}: checkpoint {self.next_number} was committed by "
                f"{winner.made_by['attempt']}; attempt {self.writer.attempt} stops here and changes nothing"
            )
        self.next_number += 1
        self.post(CheckpointCommitted(step=self.writer.step, at_step=step))
        return winner

    def delayed(self, step: int, why: str, since_seconds: float) -> None:
        """Tell people that the store does not take the checkpoint at `step`, since a Unix time; it is tried again."""
        self.post(CheckpointDelayed(step=self.writer.step, at_step=step, why=why, at_seconds=since_seconds))

    def delete(self, record: PartRecord) -> None:
        """Delete the files of a checkpoint. Its record stays; a mark beside it, written first, says not to read it.

        The files stay where a fork begins from the checkpoint. A fork that holds it just now finds the mark and is
        refused, or is found here.
        """
        self.writer.check_claim()
        key, held = self.records.deleted_key(record), self.records.held_key(record)
        if self.writer.store.size_bytes(held) is not None:
            return
        with fault_point("checkpoint.retired", key):
            self.writer.store.create_json(key, {"attempt": str(self.writer.attempt)})
        if self.writer.store.size_bytes(held) is not None:
            return
        for entry in record.files:
            with fault_point("checkpoint.deleted", entry.key):
                self.writer.store.delete(entry.key)

    def roll_back(self, to: PartRecord, why: str) -> None:
        """Quarantine the records of all checkpoints after `to`, the last of which is damaged."""
        self.writer.check_claim()
        store, keys = self.writer.store, self.records.keys_after(to)
        newest_record = keys[1]  # each record's key follows that of its mark
        record_repair(store, self.writer.folder, {newest_record: why})
        for key in keys:
            if store.size_bytes(key) is not None:
                with fault_point("record.quarantined", key):
                    store.quarantine(key, DAMAGED)


def forkable(records: CheckpointRecords) -> list[PartRecord]:
    """The checkpoints from which a fork can begin, in order: those kept that hold the state of the optimizer."""
    return [record for record in records.kept() if record.facts.get("layout") is not None]


def begin_fork(writer: ArtifactWriter) -> None:
    """Record the checkpoint that a training begins from in `fork.json`, and hold its files; once, at its beginning.

    From then on nothing depends on the records of the other training. Raises `StageError` where the checkpoint is not
    kept any more, or was trained again since.
    """
    fork, key = writer.fork, _fork_key(writer.folder)
    if fork is None or writer.store.size_bytes(key) is not None:
        return
    records = CheckpointRecords(writer.store, artifact_folder(fork.stage, fork.fingerprint))
    kept = forkable(records)
    found = [one for one in kept if one.facts["step"] == fork.at_step and digest(one.content) == fork.content]
    if not found:
        steps = ", ".join(f"{one.facts['step']:,}" for one in kept) or "none"
        raise StageError(
            f"step {writer.step!r} {fork}, and that checkpoint is not there any more: it was deleted, or trained again "
            f"with other bits. Kept are those of steps {steps}; begin from one of them"
        )
    writer.check_claim()
    with fault_point("fork.held", records.held_key(found[0])):
        writer.store.create_json(records.held_key(found[0]), {"by": writer.folder})
    if writer.store.size_bytes(records.deleted_key(found[0])) is not None:
        raise StageError(f"step {writer.step!r} {fork}, and that checkpoint was deleted just now; plan it again")
    with fault_point("fork.recorded", key):
        writer.store.create_json(key, ForkRecord(fork=fork, checkpoint=found[0]).model_dump(mode="json"))


def _fork_key(folder: str) -> str:
    return f"{folder}/fork.json"


def fetch_files(store: Store, record: PartRecord, folder: Path, prefix: str = "") -> None:
    """Copy a record's files whose names begin with `prefix` into `folder`.

    Raises `DamagedFileError` where one is missing or has another sha256 than was committed.
    """
    for entry in record.files:
        if not entry.name.startswith(prefix):
            continue
        target = folder / entry.name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            copy_object(store, entry.key, target)
        except FileNotFoundError as error:
            raise DamagedFileError(f"{entry.key} is missing") from error
        _check_digest(entry, sha256_of(target))


def _check_digest(entry: FileEntry, sha256: str) -> None:
    if sha256 != entry.sha256:
        raise DamagedFileError(f"{entry.key} is damaged: its sha256 is not the committed {entry.sha256[:12]}...")
