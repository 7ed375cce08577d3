"""Settled runs: every attempt has ended and MLflow has every message, so no command has anything left to do for them.

Owns `settled/<run>/`: empty marks, whose names hold what was found, such as `2.failed.57.1764480000123`: 2 attempts,
the last one failed, 57 messages, and when the last attempt began. All marks are read by one listing. A mark is a cache
and decides nothing: it counts for as long as the store has no later attempt than it names, which is asked for by key,
one request a run. A run without a mark is read in full.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from stages.store.fault_points import fault_point
from stages.store.store import Store

FOLDER = "settled"
NAME = re.compile(r"(?P<attempts>\d+)\.(?P<outcome>[a-z]+)\.(?P<messages>\d+)\.(?P<begun>\d+)(?P<late>\.late)?")


@dataclass(frozen=True, order=True)
class Settled:
    """What a mark says of a run. Of two marks of a run, the greater one is the newer one."""

    num_attempts: int
    num_messages: int
    outcome: str
    """How the last attempt ended."""
    begun_milliseconds: int
    """Unix time at which the last attempt began."""
    may_be_late: bool
    """Whether an end was recorded by another process than the attempt's driver, which may live and leave messages yet:
    that there are no more than `num_messages` is then asked as well."""

    @property
    def name(self) -> str:
        """The last part of the mark's key."""
        late = ".late" if self.may_be_late else ""
        return f"{self.num_attempts}.{self.outcome}.{self.num_messages}.{self.begun_milliseconds}{late}"

    @classmethod
    def parse(cls, name: str) -> Settled | None:
        """Read `name` back; None where it is no name of a mark."""
        match = NAME.fullmatch(name)
        if match is None:
            return None
        return cls(
            num_attempts=int(match["attempts"]),
            num_messages=int(match["messages"]),
            outcome=match["outcome"],
            begun_milliseconds=int(match["begun"]),
            may_be_late=bool(match["late"]),
        )

    def keys_that_refute(self, run: str) -> list[str]:
        """Keys of which the store has none while the mark is true: those of the next attempt, and message."""
        late = [f"runs/{run}/outbox/{self.num_messages:08d}.json"] if self.may_be_late else []
        return [f"runs/{run}/attempts/{self.num_attempts + 1}.json", *late]


def settled_runs(store: Store) -> dict[str, Settled]:
    """The runs that are settled now, by name: one listing for all, and a request or two for each, many at a time."""
    newest: dict[str, Settled] = {}
    for key in store.keys(f"{FOLDER}/"):
        _, run, name = key.split("/", 2)
        mark = Settled.parse(name)
        if mark is not None:
            newest[run] = max(mark, newest.get(run, mark))
    keys = [(run, key) for run, mark in newest.items() for key in mark.keys_that_refute(run)]
    found = store.read_many([key for _, key in keys])
    refuted = {run for (run, _), data in zip(keys, found, strict=True) if data is not None}
    return {run: mark for run, mark in newest.items() if run not in refuted}


def mark_settled(store: Store, run: str, mark: Settled) -> None:
    """Record that a run is settled."""
    key = f"{FOLDER}/{run}/{mark.name}"
    with fault_point("run.settled", key):
        store.create(key, b"")


def forget_settled(store: Store, run: str) -> None:
    """Delete the marks of an earlier run of this name, whose folder somebody has deleted."""
    for key in store.keys(f"{FOLDER}/{run}/"):
        with fault_point("run.settled", key):
            store.delete(key)
