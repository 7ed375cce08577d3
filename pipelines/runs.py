"""Runs in the store: the frozen plan, numbered attempts, and how each attempt ended.

Owns `runs/<run>/plan.json` and `runs/<run>/attempts/`. A run is named after what it asks for, so asking again for the
same is the same run, and going on after a death is its next attempt. An attempt without an end whose process is gone
has died; whoever notices first says so.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.plan import Decision, Plan
from pipelines.request import Request
from stages.faults import fault_point
from stages.store import Store

AttemptOutcome = Literal["done", "failed", "interrupted", "superseded", "killed"]
"""`killed`: the process vanished without saying anything."""
START_TOLERANCE_SECONDS = 1.0


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttemptRecord(_Record):
    """An attempt, written when it begins."""

    number: int
    host: str
    process_id: int
    process_started_seconds: float
    """Unix time, which tells a process from a later one with the same number."""
    at_seconds: float = Field(default_factory=time.time)
    site: str = ""
    decisions: tuple[Decision, ...] = ()


class AttemptEnd(_Record):
    """How an attempt ended."""

    outcome: AttemptOutcome
    at_seconds: float = Field(default_factory=time.time)
    reason: str = ""


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
        raw = self.store.read_json(f"{self.folder}/attempts/{number}.json")
        return None if raw is None else AttemptRecord.model_validate(raw)

    def end(self, number: int) -> AttemptEnd | None:
        """How an attempt ended, or None while nobody has said so."""
        raw = self.store.read_json(f"{self.folder}/attempts/{number}.ended.json")
        return None if raw is None else AttemptEnd.model_validate(raw)

    def attempts(self) -> Iterator[AttemptRecord]:
        """The attempts in order, numbered from 1."""
        number = 1
        while (record := self.attempt(number)) is not None:
            yield record
            number += 1

    def begin_attempt(self, plan: Plan, site: str) -> int:
        """Take the next attempt number; returns it. Two commands at once take two numbers."""
        number = 1 + sum(1 for _ in self.attempts())
        while True:
            record = AttemptRecord(number=number, site=site, decisions=plan.decisions, **_this_process())
            with fault_point("attempt.begun"):
                ours = self.store.create_json(f"{self.folder}/attempts/{number}.json", record.model_dump(mode="json"))
            if ours:
                return number
            number += 1

    def end_attempt(self, number: int, outcome: AttemptOutcome, reason: str = "") -> bool:
        """Say how an attempt ended. True if this call said it first."""
        end = AttemptEnd(outcome=outcome, reason=reason)
        with fault_point("attempt.ended"):
            return self.store.create_json(f"{self.folder}/attempts/{number}.ended.json", end.model_dump(mode="json"))

    def dead_attempts(self) -> list[int]:
        """Numbers of the attempts of which nobody said that they ended, though their process is gone."""
        return [record.number for record in self.attempts() if not alive(record) and self.end(record.number) is None]

    def is_alive(self) -> bool:
        """Whether an attempt is under way."""
        return any(alive(record) and self.end(record.number) is None for record in self.attempts())

    def state(self) -> str:
        """`running`, or the outcome of the last attempt, or `planned`."""
        last = max((record.number for record in self.attempts()), default=0)
        if last == 0:
            return "planned"
        end = self.end(last)
        return "running" if end is None else end.outcome


def open_run(store: Store, request: Request) -> Run:
    """The run of a request: frozen now, or found as it was frozen before."""
    run = Run(store, request.run)
    with fault_point("run.frozen"):
        store.create_json(f"{run.folder}/plan.json", request.model_dump(mode="json"))
    return run


def all_runs(store: Store) -> list[Run]:
    """Every run in the store, by name. For showing and for clearing up after dead drivers."""
    return [Run(store, name) for name in store.folders("runs/")]


def alive(attempt: AttemptRecord) -> bool:
    """Whether an attempt's process may still be at work; of another machine's processes nothing is known, so yes."""
    if attempt.host != socket.gethostname():
        return True
    started = _started_seconds(attempt.process_id)
    return started is not None and abs(started - attempt.process_started_seconds) <= START_TOLERANCE_SECONDS


def _this_process() -> dict[str, Any]:
    process_id = os.getpid()
    return {
        "host": socket.gethostname(),
        "process_id": process_id,
        "process_started_seconds": _started_seconds(process_id) or 0.0,
    }


def _started_seconds(process_id: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(process_id)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return None
