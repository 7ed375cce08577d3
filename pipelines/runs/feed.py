"""Following a run from anywhere: its events, as the driver leaves them in the store.

Decides nothing: what is committed is read from the records. A run may leave a message every few seconds for a month,
so reading begins near their end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from pipelines.runs.outbox import Message, Outbox, read_phase_counts
from pipelines.runs.run import Run
from stages.contract import CheckpointCommitted, Event, NumbersReported, PhaseOpened, StepStarted

MAX_MESSAGES_BACK = 500
"""How far back reading begins: three quarters of an hour and more of a busy run."""


class Feed:
    """The messages of a run, each read once, in order."""

    def __init__(self, run: Run) -> None:
        self._outbox = Outbox(run.store, run.name)
        self._next = max(0, self._outbox.num_messages() - MAX_MESSAGES_BACK)

    def read(self) -> Iterator[Message]:
        """What came since the last call."""
        while (message := self._outbox.message(self._next)) is not None:
            self._next += 1
            yield message


def is_training(event: Event) -> TypeGuard[NumbersReported]:
    """Whether it tells of an optimizer step."""
    return isinstance(event, NumbersReported) and event.at_step is not None and not is_count(event)


def is_count(event: Event) -> TypeGuard[NumbersReported]:
    """Whether it tells how many parts of a phase are recorded."""
    return isinstance(event, NumbersReported) and read_phase_counts(event) is not None


def is_commit(event: Event) -> bool:
    """Whether something was committed, or begun, when it happened."""
    return isinstance(event, StepStarted | PhaseOpened | CheckpointCommitted) or is_count(event)
