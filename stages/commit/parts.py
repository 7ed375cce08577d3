"""Making one artifact: phases, parts, checkpoints and the commit at the end.

Owns the order in which things become true. A part is written on local scratch, hashed, uploaded to the attempt's
private place, and then recorded by one exclusive create; whoever wins defines the part. When every listed part has a
record, they are folded into the manifest. Any of it may be killed at any instant and run again.
"""

from __future__ import annotations

import itertools
import json
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.artifacts.records import STEPS_PHASE, FileEntry, ItemBalance, PartRecord, sha256_of, total
from stages.commit.claims import Claim
from stages.commit.phase_records import PhaseRecords, read_record, record_key
from stages.commit.repair import DAMAGED, check_same_again, record_repair
from stages.contract import (
    CheckpointCommitted,
    Part,
    PartProgress,
    PartRecorded,
    PartWork,
    PhaseOpened,
    Post,
    StageError,
    SupersededError,
)
from stages.store.errors import DamagedFileError, TornRecordError, local_disk_errors
from stages.store.fault_points import fault_point
from stages.store.store import Store, first_missing

SECONDS_BETWEEN_PROGRESS = 0.5


@dataclass(frozen=True)
class Making:
    """The making of one artifact by one attempt. Small, and pickles: every worker and rank gets a copy."""

    store: Store
    folder: str
    """The artifact's key prefix."""
    step: str
    """Name of the step in its pipeline, for events."""
    attempt: str
    """Run and attempt number: names the private place for data that no record names yet."""
    claim: Claim | None = None
    """Under which it is made: asked before each commit. None where nobody else can make it."""
    is_repaired: bool = False
    """Whether damaged parts were moved aside: what is made in their place must be the same."""
    allows_rollback: bool = False
    """Whether training may go on from an earlier checkpoint where the newest is damaged."""

    def open_phase(self, phase: str, parts: Sequence[Part], post: Post) -> PhaseRecords:
        """List the parts of a phase, create-exclusively; returns what is recorded of them.

        Raises `StageError` if the list differs from the one committed before: parts are a pure function of the
        recipe and the inputs, so a difference is a fault of the stage.
        """
        listed = _a_line_each(parts)
        key = f"{self.folder}/phases/{phase}/parts.json"
        with fault_point("phase.listed", key):
            is_new = self.store.create(key, listed)
        if not is_new and self.store.read(key) != listed and self.store.read_json(key) != json.loads(listed):
            raise StageError(
                f"step {self.step!r}: the parts of phase {phase!r} are not those listed in {key}; "
                "the stage's code changed without raising its number, or its parts depend on chance"
            )
        records = PhaseRecords(self.store, self.folder, phase, [part.name for part in parts], self._is_held)
        if not is_new:
            records.read()
        done = records.found.values()
        items = total(record.items for record in done)
        post(PhaseOpened(step=self.step, phase=phase, num_parts=len(parts), num_recorded=len(done), items=items))
        return records

    def record(self, phase: str, part: str) -> PartRecord | None:
        """The record of a part, or None. A record that does not parse is moved aside and its part made again."""
        return read_record(self.store, self._record_key(phase, part))

    def make_part(self, work: PartWork, phase: str, part: Part, post: Post) -> PartRecord:
        """Do the work on one part and record it, unless it is recorded; returns the record that counts."""
        record = self.record(phase, part.name) or self._make_part(work, phase, part, post)
        post(PartRecorded(step=self.step, phase=phase, part=part.name, items=record.items))
        return record

    def _make_part(self, work: PartWork, phase: str, part: Part, post: Post) -> PartRecord:
        with scratch_folder(f"{self.step}-{part.name}") as scratch:
            draft = Draft(scratch=scratch, report=self._reporter(phase, part, post))
            started = time.monotonic()
            with fault_point("part.files_written", self._record_key(phase, part.name)):
                work(part, draft)
            _check_balance(self.step, phase, part, draft.items)
            place = _place_of_one_try(f"{phase}/{part.name}")
            files = [self._upload(path, name, place, "part.uploaded") for name, path in draft.files()]
            made_by = {"attempt": self.attempt, "host": socket.gethostname(), **draft.annotations}
            record = PartRecord(
                phase=phase,
                part=part.name,
                files=tuple(files),
                items=draft.items,
                facts=draft.facts,
                made_by={**made_by, "seconds": round(time.monotonic() - started, 3)},
            )
        self.check_claim()
        if self.is_repaired:
            check_same_again(self.store, self._record_key(phase, part.name), record)
        return self._create_record(self._record_key(phase, part.name), record, "part.recorded")

    def check_claim(self) -> None:
        """Raises `SupersededError` where another attempt took over the making of this artifact."""
        if self.claim is not None:
            self.claim.check(self.step)

    def _is_held(self) -> bool:
        return self.claim is None or not self.claim.superseded_by()

    def num_checkpoints(self) -> int:
        """How many checkpoints are committed. Each has a known key, so nothing depends on listing."""
        return first_missing(lambda number: self.store.size_bytes(self._checkpoint_key(number)) is not None)

    def checkpoints(self) -> list[PartRecord]:
        """The committed checkpoints in order, but for those whose records are torn."""
        found = []
        for number in range(self.num_checkpoints()):
            with suppress(TornRecordError):
                found.append(self._checkpoint(number))
        return [record for record in found if record is not None]

    def latest_checkpoint(self) -> PartRecord | None:
        """The last committed checkpoint, or None. Raises `TornRecordError` where its record does not parse: nobody
        goes back unasked."""
        number = self.num_checkpoints()
        return self._checkpoint(number - 1) if number else None

    def _checkpoint(self, number: int) -> PartRecord | None:
        key = self._checkpoint_key(number)
        try:
            raw = self.store.read_json(key)
            return None if raw is None else PartRecord.model_validate(raw)
        except ValidationError as error:
            raise TornRecordError(f"{key} is no record of a checkpoint: {error}") from error

    def standing_checkpoints(self) -> list[PartRecord]:
        """The committed checkpoints whose files were not deleted since, in order."""
        return [record for record in self.checkpoints() if self.store.size_bytes(self._deleted_key(record)) is None]

    def delete_checkpoint(self, record: PartRecord) -> None:
        """Delete the files of a checkpoint. Its record stays; beside it stands, from before the first deletion on,
        that it is not to be read any more."""
        self.check_claim()
        key = self._deleted_key(record)
        with fault_point("checkpoint.retired", key):
            self.store.create_json(key, {"attempt": self.attempt})
        for entry in record.files:
            with fault_point("checkpoint.deleted", entry.key):
                self.store.delete(entry.key)

    def keys_behind(self, last: PartRecord | None) -> list[str]:
        """Keys of the records of all checkpoints behind `last`, and of the marks that they were deleted; the last
        first, so that whatever is left has no gap while they are moved."""
        first = 0 if last is None else int(last.part) + 1
        records = [self._checkpoint_key(number) for number in range(self.num_checkpoints() - 1, first - 1, -1)]
        return [key for record in records for key in (f"{record}.deleted", record)]

    def roll_back(self, to: PartRecord, why: str) -> None:
        """Move aside the records of all checkpoints behind `to`, of which the last is damaged."""
        self.check_claim()
        keys = self.keys_behind(to)
        record_repair(self.store, self.folder, {keys[1]: why})
        for key in keys:
            if self.store.size_bytes(key) is not None:
                with fault_point("record.quarantined", key):
                    self.store.quarantine(key, DAMAGED)

    def upload_checkpoint(self, folder: Path, step: int) -> tuple[FileEntry, ...]:
        """Bring what one rank holds of a checkpoint, all files under `folder`, to a private place: nothing of it exists
        yet. From any thread."""
        place = _place_of_one_try(f"step-{step:08d}")
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        return tuple(
            self._upload(path, path.relative_to(folder).as_posix(), place, "checkpoint.uploaded") for path in paths
        )

    def record_checkpoint(
        self, files: Sequence[FileEntry], facts: Mapping[str, Any], *, number: int, num_ranks: int, post: Post
    ) -> PartRecord:
        """Commit what all ranks have uploaded as checkpoint `number`. On one rank, from any thread.

        `number` is one more than that of the checkpoint which training went on from, so that an attempt that was
        overtaken loses. `facts["step"]` is the step.
        """
        record = PartRecord(
            phase=STEPS_PHASE,
            part=_numbered(number),
            files=tuple(sorted(files, key=lambda entry: entry.name)),
            facts=dict(facts),
            made_by={"attempt": self.attempt, "num_ranks": num_ranks},
        )
        self.check_claim()
        winner = self._create_record(self._checkpoint_key(number), record, "checkpoint.recorded")
        if winner.made_by["attempt"] != self.attempt or winner.content != record.content:
            raise SupersededError(
                f"step {self.step!r}: checkpoint {number} was committed by {winner.made_by['attempt']}; "
                f"attempt {self.attempt} stops here and changes nothing"
            )
        post(CheckpointCommitted(step=self.step, at_step=int(facts["step"])))
        return winner

    def note(self, phase: str, facts: Mapping[str, Any]) -> None:
        """Record, under the next number of `phase`, what later attempts must go by."""
        self.check_claim()
        for number in itertools.count(self._num_noted(phase)):
            record = PartRecord(
                phase=phase, part=_numbered(number), facts=dict(facts), made_by={"attempt": self.attempt}
            )
            key = self._record_key(phase, record.part)
            with fault_point("part.recorded", key):
                if self.store.create_json(key, record.model_dump()):
                    return

    def noted(self, phase: str) -> list[PartRecord]:
        """What was recorded by `note`, in order. Raises `TornRecordError` where one does not parse."""
        keys = [self._record_key(phase, _numbered(number)) for number in range(self._num_noted(phase))]
        return [PartRecord.model_validate(self.store.read_json(key)) for key in keys]

    def _num_noted(self, phase: str) -> int:
        return first_missing(
            lambda number: self.store.size_bytes(self._record_key(phase, _numbered(number))) is not None
        )

    def keep_log(self, name: str, text: str) -> None:
        """Keep a text for people beside the logs of this attempt: `runs/<run>/logs/<attempt>/<step>.<name>.<n>.txt`."""
        run, _, number = self.attempt.rpartition("-")
        for again in itertools.count():
            key = f"runs/{run}/logs/{number}/{self.step}.{name}.{again}.txt"
            with fault_point("log.kept", key):
                if self.store.create(key, text.encode()):
                    return

    def keep_picture(self, name: str, png: bytes) -> str:
        """Keep a picture for people beside this attempt's logs; returns its key. Made again, it is the same."""
        run, _, number = self.attempt.rpartition("-")
        key = f"runs/{run}/pictures/{number}/{self.step}.{name}.png"
        with fault_point("log.kept", key):
            self.store.create(key, png)
        return key

    def fetch(self, record: PartRecord, folder: Path, prefix: str = "") -> None:
        """Copy a record's files whose names begin with `prefix` into `folder`. Raises `DamagedFileError`."""
        for entry in record.files:
            if entry.name.startswith(prefix):
                target = folder / entry.name
                target.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shutil.copyfile(self.store.local_path(entry.key, folder / ".fetched"), target)
                except FileNotFoundError as error:
                    raise self._damaged(entry, "is missing") from error
                if sha256_of(target) != entry.sha256:
                    raise self._damaged(entry, f"is damaged: its sha256 is not the committed {entry.sha256[:12]}...")
        shutil.rmtree(folder / ".fetched", ignore_errors=True)

    def _damaged(self, entry: FileEntry, said: str) -> DamagedFileError:
        return DamagedFileError(f"{entry.key} {said}")

    def _upload(self, path: Path, name: str, place: str, point: str) -> FileEntry:
        key = f"{self.folder}/attempts/{self.attempt}/{place}/{name}"
        with fault_point(point, key):
            self.store.upload(path, key)
        return FileEntry(name=name, key=key, size_bytes=path.stat().st_size, sha256=sha256_of(path))

    def _create_record(self, key: str, record: PartRecord, point: str) -> PartRecord:
        with fault_point(point, key):
            ours = self.store.create_json(key, record.model_dump())
        if ours:
            return record
        return PartRecord.model_validate(self.store.read_json(key))

    def _record_key(self, phase: str, part: str) -> str:
        return record_key(self.folder, phase, part)

    def _checkpoint_key(self, number: int) -> str:
        return self._record_key(STEPS_PHASE, _numbered(number))

    def _deleted_key(self, record: PartRecord) -> str:
        return f"{self._record_key(STEPS_PHASE, record.part)}.deleted"

    def _reporter(self, phase: str, part: Part, post: Post) -> Callable[[int], None]:
        last_seconds = 0.0

        def report(num_done: int) -> None:
            nonlocal last_seconds
            now_seconds = time.monotonic()
            if now_seconds - last_seconds >= SECONDS_BETWEEN_PROGRESS:
                last_seconds = now_seconds
                post(PartProgress(step=self.step, phase=phase, part=part.name, num_done=num_done))

        return report


@dataclass
class Draft:
    """The results of one part before it is recorded: files on local scratch, counts and facts."""

    scratch: Path
    report: Callable[[int], None]
    items: ItemBalance = field(default_factory=ItemBalance)
    facts: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, Any] = field(default_factory=dict)
    _promised: set[str] = field(default_factory=set)

    def path(self, name: str) -> Path:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._promised.add(name)
        return path

    def count(self, items: ItemBalance) -> None:
        self.items = self.items + items

    def fact(self, **facts: Any) -> None:
        self.facts |= facts

    def annotate(self, **annotations: Any) -> None:
        self.annotations |= annotations

    def progress(self, num_done: int) -> None:
        self.report(num_done)

    def files(self) -> list[tuple[str, Path]]:
        """Name and path of every file, in order: those that `path` promised and those written beside them.

        Raises `StageError` if a promised one was not written.
        """
        written = {
            path.relative_to(self._folder).as_posix(): path for path in self._folder.rglob("*") if path.is_file()
        }
        missing = sorted(self._promised - set(written))
        if missing:
            raise StageError(f"the part promised {missing} and did not write it")
        return sorted(written.items())

    @property
    def _folder(self) -> Path:
        return self.scratch / "files"


@contextmanager
def scratch_folder(label: str) -> Iterator[Path]:
    """A private local folder that is removed afterwards, whatever happens. Where its disk is full, says so."""
    with local_disk_errors(Path(tempfile.gettempdir())):
        folder = Path(tempfile.mkdtemp(prefix=f"neo-{label}-"))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _a_line_each(parts: Sequence[Part]) -> bytes:
    """The list of parts as JSON that people can read, however many there are."""
    lines = (json.dumps(part.model_dump(), sort_keys=True, ensure_ascii=False, allow_nan=False) for part in parts)
    return "[\n{}\n]\n".format(",\n".join(lines)).encode()


def _numbered(number: int) -> str:
    return f"{number:06d}"


def _place_of_one_try(label: str) -> str:
    """A private place that no other try writes to, not even one of this attempt that is believed dead and is not."""
    return f"{label}-{uuid.uuid4().hex[:8]}"


def _check_balance(step: str, phase: str, part: Part, items: ItemBalance) -> None:
    if part.num_items is not None and items.total != part.num_items:
        raise StageError(
            f"step {step!r}: part {phase}/{part.name} was given {part.num_items} items and accounts for {items.total} "
            f"({items.kept} kept, {items.num_dropped} dropped, {items.num_failed} failed); none may disappear"
        )
