"""The feed of a run: its events, read from the messages that the driver leaves in the store.

For showing only: what is committed is read from the records. A run may leave a message every few seconds for a month,
so reading begins near the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeGuard

from pipelines.runs.outbox import Message, Outbox, read_phase_counts
from pipelines.runs.run import Run
from stages.contract import CheckpointCommitted, Event, NumbersReported, PhaseOpened, StepStarted

MAX_MESSAGES_BACK = 500
"""Messages read at most before the newest. At one message in 5 seconds, 500 are 42 minutes."""


class Feed:
    """The messages of a run, each read once, in order."""

    def __init__(self, run: Run) -> None:
        self._outbox = Outbox(run.store, run.name)
        self._next = max(0, self._outbox.num_messages() - MAX_MESSAGES_BACK)

    def read(self) -> Iterator[Message]:
        """The messages appended since the last call; at the first call, the newest `MAX_MESSAGES_BACK`."""
        while (message := self._outbox.message(self._next)) is not None:
            self._next += 1
            yield message


def is_training(event: Event) -> TypeGuard[NumbersReported]:
    """Whether an event reports the metrics of an optimizer step."""
    return isinstance(event, NumbersReported) and event.at_step is not None and not is_count(event)


def is_count(event: Event) -> TypeGuard[NumbersReported]:
    """Whether an event reports how many parts of a phase are recorded."""
    return isinstance(event, NumbersReported) and read_phase_counts(event) is not None


def is_commit(event: Event) -> bool:
    """Whether work after an event is the work since a commit: a step or phase began, or a commit was recorded."""
    return isinstance(event, StepStarted | PhaseOpened | CheckpointCommitted) or is_count(event)
