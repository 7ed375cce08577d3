"""Runs in the store: the frozen plan, numbered attempts, requests to stop an attempt, and the end of each.

Owns `runs/<run>/plan.json`, `runs/<run>/attempts/` and `runs/<run>/cancel/`. A run is named after its steps and
fingerprints: the same request is the same run, and a resume is its next attempt. An attempt without a recorded end is
open: alive, dead, or out of contact. The first command that finds it dead records its end.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.machines.origin import Origin
from pipelines.planning.code_diff import code_texts
from pipelines.planning.plan import Decision, Plan
from pipelines.planning.request import FROZEN_PLAN, Request
from pipelines.runs.settled import forget_settled
from pipelines.takedowns.naming import keep_held
from stages.commit.attempt import AttemptId
from stages.commit.heartbeat import Life, Observer, ProcessMark, lost_after_seconds
from stages.commit.inputs import keep_pin
from stages.contract import ReasonText
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store

AttemptOutcome = Literal["done", "failed", "interrupted", "superseded", "killed"]
"""How an attempt ended. `killed`: its process died without recording it. `superseded`: the next attempt took over."""
ATTEMPTS_AT_ONCE = 3
"""Attempts that are asked for side by side, before it is known how many there are: most runs have fewer."""
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
    origin: Origin | None = None
    """Who began it, with which code, on what machine; None in records of before."""


class AttemptEnd(_Record):
    """The end of an attempt, written once: by its driver, or by the command that finds it dead or supersedes it."""

    outcome: AttemptOutcome
    at_seconds: float = Field(default_factory=time.time)
    reason: ReasonText = ""
    """Why the attempt ended, for people; '' if it is done."""
    last_sign_seconds: float | None = None
    """When its driver lived last, by its heartbeats, where another command recorded the end, maybe days later; None
    where the driver did."""

    @property
    def stopped_at_seconds(self) -> float:
        """When the attempt stopped working, as far as that is known."""
        return self.at_seconds if self.last_sign_seconds is None else min(self.at_seconds, self.last_sign_seconds)


class StopRequest(ProcessMark):
    """A request that an attempt stop at its next commit, with the process that asked."""

    at_seconds: float = Field(default_factory=time.time)


PLAN_DIGEST = "plan_sha256"
"""Field of a manifest's provenance: the sha256 of the frozen plan that its step was executed from."""
ATTEMPT = RecordKind[AttemptRecord](
    AttemptRecord, "the beginning of an attempt", "put it back from a copy; artifacts do not depend on it"
)
ATTEMPT_END = RecordKind[AttemptEnd](
    AttemptEnd,
    "the end of an attempt",
    "put it back from a copy; without one, move it away: the next command records the end anew",
)


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
class Standing:
    """How a run stands, as one reading of its attempts shows it. What is not asked for is not read."""

    run: Run
    num_attempts: int
    """How many attempts the run has; also the number of the last one."""
    open: tuple[Observation, ...]
    """The attempts without a recorded end, in order."""
    has_ended: bool
    """Whether every attempt has a recorded end, readable or not."""
    last_end: bytes | None
    """The bytes of the end of the last attempt; None if it is open."""

    @cached_property
    def last(self) -> AttemptRecord | None:
        """The last attempt; None if there is none, or it cannot be read."""
        known = (one.record for one in self.open if one.record.number == self.num_attempts)
        return next(known, None) or (self.run.attempt(self.num_attempts) if self.num_attempts else None)

    @cached_property
    def end(self) -> AttemptEnd | None:
        """The end of the last attempt; None if it is open, or cannot be read."""
        store, key = self.run.store, self.run.end_key(self.num_attempts)
        return ATTEMPT_END.readable(ATTEMPT_END.of_bytes(store, key, self.last_end))

    @property
    def state(self) -> RunState:
        """The state of the run: running if any attempt is alive, else how its last attempt ended."""
        lives = {observation.life for observation in self.open}
        if lives - {"dead"}:
            return "running" if "alive" in lives else "unknown"
        if self.num_attempts == 0:
            return "planned"
        return "killed" if self.end is None else self.end.outcome


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
        """The frozen pipeline. Raises `MissingRecordError` if there is none, `TornRecordError` if it is damaged."""
        return FROZEN_PLAN.read_existing(self.store, f"{self.folder}/plan.json")

    @property
    def plan_sha256(self) -> str:
        """sha256 of the bytes of the frozen plan, 64 hex digits; of none, if there is none."""
        return hashlib.sha256(self.store.read(f"{self.folder}/plan.json") or b"").hexdigest()

    def attempt(self, number: int) -> AttemptRecord | None:
        """The attempt of this number, or None. One that cannot be read counts as none, with a warning."""
        return ATTEMPT.read_or_skip(self.store, self._attempt_key(number))

    def end(self, number: int) -> AttemptEnd | None:
        """The end of an attempt, or None while it is open. One that cannot be read counts as none, with a warning."""
        return ATTEMPT_END.read_or_skip(self.store, self.end_key(number))

    def ends(self, num_attempts: int) -> list[AttemptEnd | None]:
        """The ends of the first `num_attempts` attempts; None for one that is open, or cannot be read."""
        keys = [self.end_key(index + 1) for index in range(num_attempts)]
        return [ATTEMPT_END.readable(one) for one in ATTEMPT_END.read_many(self.store, keys)]

    def ended_attempts(self, num_attempts: int) -> frozenset[str]:
        """Names of those of the first `num_attempts` attempts that have ended, whose claims have lapsed."""
        ends = enumerate(self.ends(num_attempts), start=1)
        return frozenset(str(AttemptId(self.name, number)) for number, end in ends if end is not None)

    @property
    def num_attempts(self) -> int:
        """How many attempts the run has; also the number of the last one."""
        return first_missing(lambda index: self.store.size_bytes(self._attempt_key(index + 1)) is not None)

    def attempts(self) -> list[AttemptRecord]:
        """The attempts in order, numbered from 1, without those whose record cannot be read."""
        return self.first_attempts(self.num_attempts)

    def first_attempts(self, num_attempts: int) -> list[AttemptRecord]:
        """The first `num_attempts` attempts in order, without those whose record cannot be read."""
        records = self._records(range(1, num_attempts + 1))
        return [records[number] for number in sorted(records)]

    def begin_attempt(self, plan: Plan, site: str, job: str = "") -> int:
        """Take the next attempt number; returns it. Two commands at once take two numbers."""
        number = self.num_attempts + 1
        began: dict[str, Any] = {
            "site": site,
            "job": job,
            "decisions": plan.decisions,
            "origin": origin_here(plan.request),
        }
        while True:
            record = AttemptRecord(number=number, **began, **ProcessMark.here())
            with fault_point("attempt.begun"):
                ours = self.store.create_json(self._attempt_key(number), record.model_dump(mode="json"))
            if ours:
                return number
            number += 1

    def end_attempt(
        self, number: int, outcome: AttemptOutcome, reason: str = "", last_sign_seconds: float | None = None
    ) -> bool:
        """Record the end of an attempt. True if this call recorded it; an end recorded earlier stays."""
        end = AttemptEnd(outcome=outcome, reason=reason, last_sign_seconds=last_sign_seconds)
        with fault_point("attempt.ended"):
            return self.store.create_json(self.end_key(number), end.model_dump(mode="json"))

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

    def standing(self, observer: Observer | None = None) -> Standing:
        """How the run stands, from one reading of its attempts, in a few requests.

        Without an `observer`, a new one looks once: an attempt on another machine is then `unknown`.
        """
        found = self.store.read_many([self._attempt_key(index + 1) for index in range(ATTEMPTS_AT_ONCE)])
        num_attempts = sum(data is not None for data in found)
        if num_attempts == ATTEMPTS_AT_ONCE:  # there may be more
            num_attempts = self.num_attempts
        ends = self.store.read_many([self.end_key(index + 1) for index in range(num_attempts)])
        records = self._records([number for number, end in enumerate(ends, start=1) if end is None])
        observer = observer or Observer(self.store)
        return Standing(
            run=self,
            num_attempts=num_attempts,
            open=tuple(self._observed(record, observer) for record in records.values()),
            has_ended=None not in ends,
            last_end=ends[-1] if ends else None,
        )

    def _records(self, numbers: Sequence[int]) -> dict[int, AttemptRecord]:
        """The attempts of these numbers, by number, without those whose record is missing or cannot be read."""
        found = ATTEMPT.read_many(self.store, [self._attempt_key(number) for number in numbers])
        readable = zip(numbers, map(ATTEMPT.readable, found), strict=True)
        return {number: record for number, record in readable if record is not None}

    def open_attempts(self, observer: Observer | None = None) -> list[Observation]:
        """The attempts without a recorded end, in order, each with whether it is alive, dead or out of contact."""
        return list(self.standing(observer).open)

    def state(self, observer: Observer | None = None) -> RunState:
        """The state of the run: running if any attempt is alive, else how its last attempt ended."""
        return self.standing(observer).state

    def _observed(self, record: AttemptRecord, observer: Observer) -> Observation:
        reading = observer.look(self.heartbeat_key(record.number))
        return Observation(record, reading.life_of(record), reading.age_seconds)

    def _attempt_key(self, number: int) -> str:
        return f"{self.folder}/attempts/{number}.json"

    def end_key(self, number: int) -> str:
        """Key of the end of an attempt."""
        return f"{self.folder}/attempts/{number}.ended.json"

    def _cancel_key(self, number: int) -> str:
        return f"{self.folder}/cancel/{number}.json"


def open_run(store: Store, request: Request) -> Run:
    """The run of a request.

    Writes the lists of its sources' files, what is to be forgotten of artifacts that parts are taken over from, the
    code of a user's stages, and the frozen plan, unless the store has them.
    """
    run = Run(store, request.run)
    if store.size_bytes(f"{run.folder}/plan.json") is None:
        forget_settled(store, run.name)
    for source in request.sources.values():
        if source.pin is not None:
            keep_pin(store, source.key, source.pin.files)
    for step in request.steps:
        keep_held(store, step.stage, step.recipe, step.remade_of)
    file = request.user_file if any(step.code for step in request.steps) else None
    with fault_point("run.frozen"):
        for key, text in code_texts(file).items() if file else ():
            store.create(key, text.encode())
        store.create_json(f"{run.folder}/plan.json", request.model_dump(mode="json"))
    return run


def origin_here(request: Request) -> Origin:
    """Who asks for a request now, on this machine, with which commit of the code that its pipeline came from."""
    return Origin.here(Path(request.user_file.path) if request.user_file else None)


def all_runs(store: Store) -> list[Run]:
    """Every run in the store, by name, from one listing."""
    return [Run(store, name) for name in store.folders("runs/")]
