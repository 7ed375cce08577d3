"""Runs in the store: the frozen plan, numbered attempts, requests to stop an attempt, and the end of each.

Owns `runs/<run>/plan.json`, `runs/<run>/attempts/` and `runs/<run>/cancel/`. A run is named after its steps and
fingerprints: the same request is the same run, and a resume is its next attempt. An attempt without a recorded end is
open: alive, dead, or out of contact. The first command that finds it dead records its end.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.planning.plan import Decision, Plan
from pipelines.planning.request import Request
from stages.commit.heartbeat import Life, Observer, ProcessMark, lost_after_seconds
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.store import Store

AttemptOutcome = Literal["done", "failed", "interrupted", "superseded", "killed"]
"""How an attempt ended. `killed`: its process died without recording it. `superseded`: the next attempt took over."""
RunState = Literal["planned", "running", "unknown", "done", "failed", "interrupted", "superseded", "killed"]
"""State of a run. `planned`: it has no attempt. `unknown`: its attempt is out of contact, and may be alive or dead."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttemptRecord(ProcessMark):
    """An attempt, written when it begins."""

    number: int
    """Number of the attempt within its run, from 1."""
    at_seconds: float = Field(default_factory=time.time)
    site: str = ""
    """Name of the site that the attempt runs on."""
    job: str = ""
    """Name of the Ray job that the driver runs in; '' if the run was not submitted."""
    decisions: tuple[Decision, ...] = ()
    """The action and reason for each step when the attempt began."""


class AttemptEnd(_Record):
    """The end of an attempt, written once: by its driver, or by the command that finds it dead or supersedes it."""

    outcome: AttemptOutcome
    at_seconds: float = Field(default_factory=time.time)
    reason: str = ""
    """Why the attempt ended, for people; '' if it is done."""


class StopRequest(ProcessMark):
    """A request that an attempt stop at its next commit, with the process that asked."""

    at_seconds: float = Field(default_factory=time.time)


@dataclass(frozen=True)
class Observation:
    """What an observer knows of an open attempt."""

    record: AttemptRecord
    life: Life
    heartbeat_age_seconds: float | None
    """Seconds since the heartbeat was last seen to move, on the observer's clock; None if it was never seen to move."""

    @property
    def death_reason(self) -> str:
        """Why a dead attempt counts as dead, as a phrase."""
        return "its process is gone" if self.record.is_gone else f"no heartbeat for {lost_after_seconds():g} s"


@dataclass(frozen=True)
class Run:
    """One request, executed in any number of attempts."""

    store: Store
    name: str

    @property
    def folder(self) -> str:
        """Prefix of the run's keys in the store."""
        return f"runs/{self.name}"

    @cached_property
    def request(self) -> Request:
        """The frozen pipeline. Raises KeyError if the store has no such run."""
        raw = self.store.read_json(f"{self.folder}/plan.json")
        if raw is None:
            raise KeyError(self.name)
        return Request.model_validate(raw)

    def attempt(self, number: int) -> AttemptRecord | None:
        """The attempt of this number, or None."""
        raw = self.store.read_json(self._attempt_key(number))
        return None if raw is None else AttemptRecord.model_validate(raw)

    def end(self, number: int) -> AttemptEnd | None:
        """The end of an attempt, or None while it is open."""
        raw = self.store.read_json(self._ended_key(number))
        return None if raw is None else AttemptEnd.model_validate(raw)

    @property
    def num_attempts(self) -> int:
        """How many attempts the run has; also the number of the last one."""
        return first_missing(lambda index: self.store.size_bytes(self._attempt_key(index + 1)) is not None)

    def attempts(self) -> Iterator[AttemptRecord]:
        """The attempts in order, numbered from 1."""
        number = 1
        while (record := self.attempt(number)) is not None:
            yield record
            number += 1

    def begin_attempt(self, plan: Plan, site: str, job: str = "") -> int:
        """Take the next attempt number; returns it. Two commands at once take two numbers."""
        number = self.num_attempts + 1
        while True:
            record = AttemptRecord(number=number, site=site, job=job, decisions=plan.decisions, **ProcessMark.here())
            with fault_point("attempt.begun"):
                ours = self.store.create_json(self._attempt_key(number), record.model_dump(mode="json"))
            if ours:
                return number
            number += 1

    def end_attempt(self, number: int, outcome: AttemptOutcome, reason: str = "") -> bool:
        """Record the end of an attempt. True if this call recorded it; an end recorded earlier stays."""
        end = AttemptEnd(outcome=outcome, reason=reason)
        with fault_point("attempt.ended"):
            return self.store.create_json(self._ended_key(number), end.model_dump(mode="json"))

    def heartbeat_key(self, number: int) -> str:
        """Key of the heartbeat counter of an attempt's driver."""
        return f"{self.folder}/attempts/{number}.beat"

    def request_stop(self, number: int) -> bool:
        """Ask an attempt to stop at its next commit. True if this call asked first; asking again changes nothing."""
        request = StopRequest(**ProcessMark.here())
        with fault_point("cancel.asked"):
            return self.store.create_json(self._cancel_key(number), request.model_dump(mode="json"))

    def is_stop_requested(self, number: int) -> bool:
        """Whether an attempt was asked to stop."""
        return self.store.size_bytes(self._cancel_key(number)) is not None

    def open_attempts(self, observer: Observer | None = None) -> list[Observation]:
        """The attempts without a recorded end, in order, each with whether it is alive, dead or out of contact.

        Without an `observer`, a new one looks once: an attempt on another machine is then `unknown`.
        """
        numbers = range(1, self.num_attempts + 1)
        ends = self.store.read_many([self._ended_key(number) for number in numbers])
        records = (self.attempt(number) for number, end in zip(numbers, ends, strict=True) if end is None)
        observer = observer or Observer(self.store)
        return [self._observed(record, observer) for record in records if record is not None]

    def state(self, observer: Observer | None = None) -> RunState:
        """The state of the run: running if any attempt is alive, else how its last attempt ended."""
        lives = {observation.life for observation in self.open_attempts(observer)}
        if lives - {"dead"}:
            return "running" if "alive" in lives else "unknown"
        last = self.num_attempts
        if last == 0:
            return "planned"
        end = self.end(last)
        return "killed" if end is None else end.outcome

    def _observed(self, record: AttemptRecord, observer: Observer) -> Observation:
        reading = observer.look(self.heartbeat_key(record.number))
        return Observation(record, reading.life_of(record), reading.age_seconds)

    def _attempt_key(self, number: int) -> str:
        return f"{self.folder}/attempts/{number}.json"

    def _ended_key(self, number: int) -> str:
        return f"{self.folder}/attempts/{number}.ended.json"

    def _cancel_key(self, number: int) -> str:
        return f"{self.folder}/cancel/{number}.json"


def open_run(store: Store, request: Request) -> Run:
    """The run of a request. Writes its frozen plan, unless the store has it already."""
    run = Run(store, request.run)
    with fault_point("run.frozen"):
        store.create_json(f"{run.folder}/plan.json", request.model_dump(mode="json"))
    return run


def all_runs(store: Store) -> list[Run]:
    """Every run in the store, by name, from one listing."""
    return [Run(store, name) for name in store.folders("runs/")]
