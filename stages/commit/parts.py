"""Phases and parts: list the parts of a phase, make one, record it.

Owns the order in which parts become true. A part is written to local scratch, hashed, uploaded to the attempt's private
prefix, and then recorded by one exclusive create; the first record defines the part. A part that is taken over by
reference (`stages/artifacts/taken_over.py`) is recorded alone. A process may be killed at any instant of this and run
it again.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from stages.artifacts.records import ItemBalance, PartRecord, total
from stages.artifacts.taken_over import taken_over
from stages.commit.artifact_writer import ArtifactWriter, unique_upload_prefix
from stages.commit.draft import Draft
from stages.commit.phase_records import PARTS_PER_BUNDLE, PhaseRecords, parts_key, read_record
from stages.commit.repair import check_same_again
from stages.commit.scratch import scratch_folder
from stages.contract import Part, PartProgress, PartRecorded, PartWork, PhaseOpened, Post, StageError, StepBusy
from stages.store.fault_points import fault_point

NUM_RECORDED_AT_ONCE = 16
"""Parts taken over by reference that are recorded side by side."""
SECONDS_BETWEEN_PROGRESS = 0.5
"""A part reports progress at most this often, however often its work does."""


@dataclass(frozen=True)
class PartWriter:
    """Makes and records the parts of one artifact."""

    writer: ArtifactWriter
    post: Post

    def open_phase(self, phase: str, parts: Sequence[Part], taken: Sequence[PartRecord] = ()) -> PhaseRecords:
        """List the parts of a phase, create-exclusively; returns what is recorded of them.

        Those of which `taken` has the record, by the name of the part, are recorded now unless they are already.
        Raises `StageError` if the list differs from the one committed before: parts are a pure function of the
        recipe and the inputs, so a difference is a fault of the stage.
        """
        writer, listed = self.writer, _as_json_lines(parts)
        key = parts_key(writer.folder, phase)
        with fault_point("phase.listed", key):
            is_new = writer.store.create(key, listed)
        if not is_new and writer.store.read(key) != listed and writer.store.read_json(key) != json.loads(listed):
            raise StageError(
                f"step {writer.step!r}: the parts of phase {phase!r} are not those listed in {key}; "
                "the stage's code changed without raising its number, or its parts depend on chance"
            )
        records = PhaseRecords(writer.store, writer.folder, phase, [part.name for part in parts], writer.holds_claim)
        if not is_new:
            records.read()
        self._take_over(phase, parts, taken, records)
        done = records.by_part.values()
        items = total(record.items for record in done)
        self.post(PhaseOpened(step=writer.step, phase=phase, num_parts=len(parts), num_recorded=len(done), items=items))
        return records

    def _take_over(self, phase: str, parts: Sequence[Part], taken: Sequence[PartRecord], records: PhaseRecords) -> None:
        """Record the parts that are taken over by reference, `NUM_RECORDED_AT_ONCE` at a time.

        One create for each, like any record; of 39,000 parts, those of a bundle share a read at the next resume. Names
        are made durable for a bundle of records at once, before any of these counts.
        """
        by_name = {record.part: record for record in taken}
        wanted = [part for part in parts if part.name in by_name and part.name not in records.by_part]
        if not wanted:
            return
        self.writer.check_claim()

        def take(part: Part) -> PartRecord:
            record = taken_over(by_name[part.name], self.writer.made_by).model_copy(update={"phase": phase})
            _check_balance(self.writer.step, phase, part, record.items)
            if self.writer.is_repaired:
                check_same_again(self.writer.store, self.writer.record_key(phase, part.name), record)
            return self.writer.create_record(record, "part.taken_over", syncs_name=False)

        names = self.writer.record_key(phase, "").rpartition("/")[0]
        with ThreadPoolExecutor(NUM_RECORDED_AT_ONCE) as pool:
            for first in range(0, len(wanted), PARTS_PER_BUNDLE):
                created = list(pool.map(take, wanted[first : first + PARTS_PER_BUNDLE]))
                self.writer.store.sync_names(names)
                for record in created:
                    records.add(record)

    def record(self, phase: str, part: str) -> PartRecord | None:
        """The record of a part, or None. A record that does not parse is quarantined, and its part made again."""
        return read_record(self.writer.store, self.writer.record_key(phase, part))

    def make_part(self, work: PartWork, phase: str, part: Part) -> PartRecord:
        """Do the work on one part and record it, unless it is recorded; returns the record that counts."""
        record = self.record(phase, part.name) or self._make_part(work, phase, part)
        self.post(PartRecorded(step=self.writer.step, phase=phase, part=part.name, items=record.items))
        return record

    def _make_part(self, work: PartWork, phase: str, part: Part) -> PartRecord:
        writer = self.writer
        key = writer.record_key(phase, part.name)
        with scratch_folder(f"{writer.step}-{part.name}") as scratch:
            draft = Draft(scratch=scratch, report=self._reporter(phase, part), say_busy=self._say_busy)
            started = time.monotonic()
            with fault_point("part.files_written", key):
                work(part, draft)
            _check_balance(writer.step, phase, part, draft.items)
            prefix = unique_upload_prefix(f"{phase}/{part.name}")
            files = [writer.upload(path, name, prefix, "part.uploaded") for name, path in draft.files()]
            made_by = {**writer.made_by, "host": socket.gethostname(), **draft.annotations}
            record = PartRecord(
                phase=phase,
                part=part.name,
                files=tuple(files),
                items=draft.items,
                facts=draft.facts,
                made_by={**made_by, "seconds": round(time.monotonic() - started, 3)},
            )
        writer.check_claim()
        if writer.is_repaired:
            check_same_again(writer.store, key, record)
        if draft.profile is not None:
            writer.keep_profile(phase, part.name, draft.profile)
        return writer.create_record(record, "part.recorded")

    def _say_busy(self, doing: str) -> None:
        self.post(StepBusy(step=self.writer.step, doing=doing))

    def _reporter(self, phase: str, part: Part) -> Callable[[int], None]:
        last_seconds = 0.0

        def report(num_done: int) -> None:
            nonlocal last_seconds
            now_seconds = time.monotonic()
            if now_seconds - last_seconds >= SECONDS_BETWEEN_PROGRESS:
                last_seconds = now_seconds
                self.post(PartProgress(step=self.writer.step, phase=phase, part=part.name, num_done=num_done))

        return report


def _as_json_lines(parts: Sequence[Part]) -> bytes:
    """The list of parts as JSON with one line a part, readable for many thousand of them."""
    lines = (json.dumps(part.model_dump(), sort_keys=True, ensure_ascii=False, allow_nan=False) for part in parts)
    return "[\n{}\n]\n".format(",\n".join(lines)).encode()


def _check_balance(step: str, phase: str, part: Part, items: ItemBalance) -> None:
    if part.num_items is not None and items.total != part.num_items:
        raise StageError(
            f"step {step!r}: part {phase}/{part.name} was given {part.num_items} items and accounts for {items.total} "
            f"({items.kept} kept, {items.num_dropped} dropped, {items.num_failed} failed); none may disappear"
        )
