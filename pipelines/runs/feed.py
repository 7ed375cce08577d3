"""What people are shown of a run: its events, and how each of its steps went. Read from anywhere, deciding nothing.

Owns `runs/<run>/steps/<attempt>/<step>.json`, which the driver writes when a step has ended: when, how long, and the
first and last loss of a training. The events are in the messages that the driver leaves in the store. A run may leave
one every few seconds for a month, so reading begins near the end, and what is known of ended steps is not sought there.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import TypeGuard

from pydantic import BaseModel, ConfigDict, Field

from pipelines.runs.outbox import Message, Outbox, read_phase_counts
from pipelines.runs.run import Run
from pipelines.screen.progress import StepState
from stages.commit.attempt import AttemptId
from stages.contract import CheckpointCommitted, Event, NumbersReported, PhaseOpened, StepStarted
from stages.store.errors import StoreError
from stages.store.fault_points import fault_point
from stages.store.record_kind import RecordKind
from stages.store.store import Store

logger = logging.getLogger(__name__)

MAX_MESSAGES_BACK = 500
"""Messages read at most before the newest. At one message in 5 seconds, 500 are 42 minutes."""
MESSAGES_AT_A_TIME = 32
"""Messages read at first, all at once; each further reading doubles what was read."""


class Feed:
    """The messages of a run, each read once, in order; those that cannot be read are left out with a warning."""

    def __init__(self, run: Run, is_enough: Callable[[Sequence[Message]], bool] = lambda _: False) -> None:
        """`is_enough` is asked whether these newest messages will do, or earlier ones are wanted as well."""
        self._outbox = Outbox(run.store, run.name)
        self._is_enough = is_enough
        self._next: int | None = None

    def read(self) -> list[Message]:
        """The messages appended since the last call; at the first call the newest: backwards, as far as wanted."""
        if self._next is None:
            messages, self._next = self._newest()
            return messages
        messages, num_read = [], 0
        while True:
            batch, num_found = self._outbox.messages(self._next, self._next + 1 + num_read)
            if not num_found:
                return messages
            messages += batch
            num_read += num_found
            self._next += num_found

    def _newest(self) -> tuple[list[Message], int]:
        """The newest messages, and how many there are in all."""
        num_messages = first = self._outbox.num_messages()
        least = max(0, num_messages - MAX_MESSAGES_BACK)
        messages: list[Message] = []
        while first > least and not (messages and self._is_enough(messages)):
            start = max(least, first - max(MESSAGES_AT_A_TIME, num_messages - first))
            messages[:0], _ = self._outbox.messages(start, first)
            first = start
        return messages, num_messages


def is_training(event: Event) -> TypeGuard[NumbersReported]:
    """Whether an event reports the metrics of an optimizer step."""
    return isinstance(event, NumbersReported) and event.at_step is not None and not is_count(event)


def is_count(event: Event) -> TypeGuard[NumbersReported]:
    """Whether an event reports how many parts of a phase are recorded."""
    return isinstance(event, NumbersReported) and read_phase_counts(event) is not None


def is_commit(event: Event) -> bool:
    """Whether work after an event is the work since a commit: a step or phase began, or a commit was recorded."""
    return isinstance(event, StepStarted | PhaseOpened | CheckpointCommitted) or is_count(event)


class LossAt(BaseModel):
    """A training loss, and the optimizer step whose report had it."""

    model_config = ConfigDict(frozen=True)

    at_step: int
    loss: float


class StepRecord(BaseModel):
    """How a step went in one attempt."""

    model_config = ConfigDict(frozen=True)

    outcome: str
    """How it ended: `committed`, `failed`, `interrupted`, `superseded`."""
    seconds: float
    """How long it worked, in seconds."""
    ended_at_seconds: float = Field(default_factory=time.time)
    """Unix time at which it ended."""
    first_loss: LossAt | None = None
    """The first loss that it reported in this attempt; None for what trains nothing."""
    last_loss: LossAt | None = None
    """The last one."""


STEP_RECORD = RecordKind[StepRecord](
    StepRecord, "how a step went in an attempt", "delete it: only its times and losses are shown no more"
)


def keep_step_record(run: Run, attempt: int, state: StepState) -> None:
    """Record how a step went that has just ended. A store that refuses costs a line of `neo show`, and no run."""
    first, last = (
        None if one is None else LossAt(at_step=one[0], loss=one[1]) for one in (state.first_loss, state.last_loss)
    )
    record = StepRecord(outcome=state.status, seconds=round(state.seconds, 3), first_loss=first, last_loss=last)
    key = _step_key(AttemptId(run.name, attempt), state.name)
    try:
        with fault_point("step.noted", key):
            run.store.create_json(key, record.model_dump(mode="json"))
    except StoreError as error:
        logger.warning("how step %s went is not kept: %s", state.name, error)


def read_step_records(store: Store, names: Sequence[tuple[AttemptId, str]]) -> list[StepRecord | None]:
    """The records of these steps in these attempts; None where there is none that can be read."""
    found = STEP_RECORD.read_many(store, [_step_key(attempt, step) for attempt, step in names])
    return [STEP_RECORD.readable(one) for one in found]


def step_history(store: Store, last: AttemptId, step: str) -> list[StepRecord]:
    """How a step went in every attempt up to this one, in order, without those that have no record."""
    names = [(AttemptId(last.run, number), step) for number in range(1, last.number + 1)]
    return [one for one in read_step_records(store, names) if one is not None]


def _step_key(attempt: AttemptId, step: str) -> str:
    return f"runs/{attempt.run}/steps/{attempt.number}/{step}.json"
