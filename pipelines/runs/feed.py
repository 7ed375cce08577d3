"""The feed of a run: its events, read from the messages that the driver leaves in the store.

For showing only: what is committed is read from the records. A run may leave a message every few seconds for a month,
so reading begins near the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

from pipelines.runs.outbox import Message, Outbox, read_phase_counts
from pipelines.runs.run import Run
from stages.contract import CheckpointCommitted, Event, NumbersReported, PhaseOpened, StepStarted

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
