"""Runs in the store: the frozen plan, numbered attempts, requests to stop one, and how each ended.

Owns `runs/<run>/plan.json`, `runs/<run>/attempts/` and `runs/<run>/cancel/`. A run is named after what it asks for, so
asking again for the same is the same run, and going on after a death is its next attempt. An attempt whose end nobody
has recorded is alive, dead, or out of contact; the first command that finds it dead records that.
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
"""How an attempt ended; `killed`: its process vanished without recording an end."""
RunState = Literal["planned", "running", "unknown", "done", "failed", "interrupted", "superseded", "killed"]
"""State of a run; `unknown`: its attempt is out of contact, neither known to be alive nor known to be dead."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttemptRecord(ProcessMark):
    """An attempt, written when it begins."""

    number: int
    at_seconds: float = Field(default_factory=time.time)
    site: str = ""
    job: str = ""
    """The Ray job that carries it, if it was submitted."""
    decisions: tuple[Decision, ...] = ()


class AttemptEnd(_Record):
    """How an attempt ended."""

    outcome: AttemptOutcome
    at_seconds: float = Field(default_factory=time.time)
    reason: str = ""


class StopRequest(ProcessMark):
    """Somebody asks an attempt to stop at its next commit."""

    at_seconds: float = Field(default_factory=time.time)


@dataclass(frozen=True)
class Observation:
    """What an observer knows of an attempt whose end nobody has said."""

    record: AttemptRecord
    life: Life
    heartbeat_age_seconds: float | None
    """Since its counter was last seen to move, on the observer's clock; None if it was never seen to."""

    @property
    def death_reason(self) -> str:
        return "its process is gone" if self.record.is_gone else f"no heartbeat for {lost_after_seconds():g} s"


@dataclass(frozen=True)
class Run:
    """One request carried out, over any number of attempts."""

    store: Store
    name: str

    @property
    def folder(self) -> str:
        return f"runs/{self.name}"

    @cached_property
    def request(self) -> Request:
        """The frozen plan. Raises KeyError if there is no such run."""
        raw = self.store.read_json(f"{self.folder}/plan.json")
        if raw is None:
            raise KeyError(self.name)
        return Request.model_validate(raw)

    def attempt(self, number: int) -> AttemptRecord | None:
        raw = self.store.read_json(self._attempt_key(number))
        return None if raw is None else AttemptRecord.model_validate(raw)

    def end(self, number: int) -> AttemptEnd | None:
        """How an attempt ended, or None while nobody has said so."""
        raw = self.store.read_json(self._ended_key(number))
        return None if raw is None else AttemptEnd.model_validate(raw)

    @property
    def num_attempts(self) -> int:
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
        """Say how an attempt ended. True if this call said it first."""
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
        """Whether somebody asked an attempt to stop."""
        return self.store.size_bytes(self._cancel_key(number)) is not None

    def open_attempts(self, observer: Observer | None = None) -> list[Observation]:
        """The attempts whose end nobody has said, in order, dead or not, as far as the observer can tell.

        An observer that was not there before has looked once: of other machines' attempts it knows nothing yet.
        """
        numbers = range(1, self.num_attempts + 1)
        ends = self.store.read_many([self._ended_key(number) for number in numbers])
        records = (self.attempt(number) for number, end in zip(numbers, ends, strict=True) if end is None)
        watching = observer or Observer(self.store)
        return [self._observed(record, watching) for record in records if record is not None]

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
        sighting = observer.look(self.heartbeat_key(record.number))
        return Observation(record, sighting.life_of(record), sighting.age_seconds)

    def _attempt_key(self, number: int) -> str:
        return f"{self.folder}/attempts/{number}.json"

    def _ended_key(self, number: int) -> str:
        return f"{self.folder}/attempts/{number}.ended.json"

    def _cancel_key(self, number: int) -> str:
        return f"{self.folder}/cancel/{number}.json"


def open_run(store: Store, request: Request) -> Run:
    """The run of a request: frozen now, or found as it was frozen before."""
    run = Run(store, request.run)
    with fault_point("run.frozen"):
        store.create_json(f"{run.folder}/plan.json", request.model_dump(mode="json"))
    return run


def all_runs(store: Store) -> list[Run]:
    """Every run in the store, by name. For showing and for clearing up after dead drivers."""
    return [Run(store, name) for name in store.folders("runs/")]
