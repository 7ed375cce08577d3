"""The outbox of a run: messages for MLflow, queued in the store.

Owns `runs/<run>/outbox/`: numbered messages, each created exclusively, and beside each message that MLflow accepted, or
rejected for good, a `.sent` mark. Steps put events into a queue in memory and a thread writes them here, so MLflow
never delays a step. The next command delivers what a killed driver left. Messages are never deleted: `neo mirror`
rebuilds an empty MLflow from them.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Iterator
from itertools import count, takewhile
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stages.artifacts.records import ItemBalance
from stages.contract import (
    CheckpointCommitted,
    Event,
    MachinesAwaited,
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    ReasonText,
    StepEnded,
    StepStarted,
)
from stages.store.fault_points import fault_point
from stages.store.numbering import num_keys
from stages.store.record_kind import RecordKind
from stages.store.store import Store

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_MESSAGES = 5.0
"""Time over which the events of one message are collected."""
MAX_EVENTS_PER_MESSAGE = 2000
MESSAGES_BETWEEN_REMINDERS = 16
"""Messages after which those read alone, as by `neo status`, show again what waits for machines."""
VERDICTS = ("kept", "dropped", "failed")
"""Endings of the metrics that count items by verdict, such as `write/kept`."""


class Message(BaseModel):
    """One delivery to MLflow: the start or the end of an attempt, or events in between, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: Literal["attempt_started", "events", "attempt_ended"]
    attempt: int
    """Number of the attempt that the message is about."""
    at_seconds: float = Field(default_factory=time.time)
    events: tuple[Event, ...] = ()
    non_finite: dict[str, dict[str, str]] = Field(default_factory=dict, alias="oddities")
    """Metrics that are NaN or infinite, by pipeline step and metric, as texts such as `nan at step 3`. They become
    tags, since MLflow stores no such metric. The field's name in the store is `oddities`."""
    outcome: str = ""
    """Outcome of the attempt, for `attempt_ended`."""
    reason: ReasonText = ""
    """Why the attempt ended, for `attempt_ended`; '' if it was done."""


MESSAGE = RecordKind[Message](
    Message,
    "a message for MLflow",
    "put it back from a copy; without one, only a page of MLflow lacks what it said",
)


class Outbox:
    """The messages of one run: numbered from 0 without a gap, and delivered in that order.

    Messages are counted by testing keys, from the last count on: a run of months costs no more than a short one.
    """

    def __init__(self, store: Store, run: str) -> None:
        self.store = store
        self.folder = f"runs/{run}/outbox"
        self._num_kept = 0
        self._num_sent = 0

    def append(self, message: Message) -> str:
        """Write a message to the store under the next free number; returns its key."""
        number = self._num_kept or self.num_messages()
        value = message.model_dump(mode="json", by_alias=True)
        with fault_point("outbox.appended"):
            while not self.store.create_json(key := self._key(number), value):
                number += 1
        self._num_kept = number + 1
        return key

    def kept(self, first: int = 0) -> Iterator[str]:
        """Keys of the messages from number `first` on, in order, including those appended during the iteration."""
        keys = map(self._key, count(first))
        return takewhile(lambda key: self.store.size_bytes(key) is not None, keys)

    def pending(self) -> Iterator[str]:
        """Keys of the messages that are not delivered, in order."""
        self._num_sent = self._count(".sent", self._num_sent)
        return self.kept(self._num_sent)

    def has_pending(self) -> bool:
        """Whether any message is not delivered."""
        return next(self.pending(), None) is not None

    def num_pending(self) -> int:
        """How many messages are not delivered."""
        num_sent = self._count(".sent", self._num_sent)
        return self._count(known=num_sent) - num_sent

    def read(self, key: str) -> Message:
        """The message under a key."""
        return MESSAGE.read_existing(self.store, key)

    def num_messages(self) -> int:
        """How many messages there are, delivered or not."""
        return self._count(known=self._num_kept)

    def messages(self, first: int, end: int) -> tuple[list[Message], int]:
        """The messages from number `first` up to, and without, number `end`, and how many of these there are yet.

        Those that cannot be read are left out, with a warning, and counted.
        """
        found = MESSAGE.read_many(self.store, [self._key(number) for number in range(first, end)])
        written = list(takewhile(lambda one: one is not None, found))
        return [message for message in map(MESSAGE.readable, written) if message is not None], len(written)

    def mark_sent(self, key: str, refusal: str = "") -> None:
        """Mark a message as delivered, or as rejected for good with the reason `refusal`."""
        with fault_point("outbox.marked_sent", key):
            self.store.create(f"{key}.sent", refusal.encode())

    def _key(self, number: int) -> str:
        return f"{self.folder}/{number:08d}.json"

    def _count(self, ending: str = "", known: int = 0) -> int:
        """How many messages, or marks with this ending, there are; at least the first `known` are there."""
        return known + num_keys(self.store, lambda number: self._key(known + number) + ending)


class EventWriter:
    """Writes events to an outbox from a thread of its own; `post` never waits."""

    def __init__(self, outbox: Outbox, attempt: int) -> None:
        self._outbox = outbox
        self._attempt = attempt
        self._counts = PhaseCounts()
        self._awaited = AwaitedMachines()
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def post(self, event: Event) -> None:
        """Queue an event. Never blocks. Progress within a part is left out: it is for the console alone."""
        if not isinstance(event, PartProgress):
            self._queue.put(event)

    def close(self) -> None:
        """Write the queued events and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        unwritten: list[Message] = []
        is_open = True
        while is_open:
            events = list(self._gather())
            is_open = not events or events[-1] is not None  # `close` queues None
            if posted := [event for event in events if event is not None]:
                unwritten.append(to_message(self._awaited.told_again(posted), self._attempt, self._counts))
            unwritten = self._write(unwritten)

    def _gather(self) -> Iterator[Event | None]:
        """The events of one message: those of 5 seconds, or up to the first start, checkpoint or end of a step."""
        deadline_seconds = time.monotonic() + SECONDS_BETWEEN_MESSAGES
        for _ in range(MAX_EVENTS_PER_MESSAGE):
            try:
                event = self._queue.get(timeout=max(0.0, deadline_seconds - time.monotonic()))
            except queue.Empty:
                return
            yield event
            if event is None or isinstance(event, StepStarted | CheckpointCommitted | StepEnded):
                return

    def _write(self, messages: list[Message]) -> list[Message]:
        """Append the messages; returns those that could not be written, to be retried."""
        for number, message in enumerate(messages):
            try:
                self._outbox.append(message)
            except Exception:
                logger.warning("a message for MLflow could not be written to the store; it is retried", exc_info=True)
                return messages[number:]
        return []


class AwaitedMachines:
    """The steps that wait for machines. They are told again every few messages: a wait may last for hours, and who asks
    for the status of a run reads its newest messages alone."""

    def __init__(self) -> None:
        self._of_step: dict[str, MachinesAwaited] = {}
        self._num_messages = 0

    def told_again(self, events: list[Event]) -> list[Event]:
        """The events of a message; in each `MESSAGES_BETWEEN_REMINDERS`th also those of steps that wait since before,
        with the time at which the waiting began."""
        for event in events:
            if isinstance(event, MachinesAwaited | StepEnded):
                self._of_step.pop(event.step, None)
            if isinstance(event, MachinesAwaited) and event.asked:
                self._of_step[event.step] = event
        self._num_messages += 1
        is_due = self._num_messages % MESSAGES_BETWEEN_REMINDERS == 0
        return [*events, *(one for one in self._of_step.values() if one not in events)] if is_due else events


class PhaseCounts:
    """Running counts of each phase: recorded parts, and items by verdict. A long phase shows them on its page."""

    def __init__(self) -> None:
        self._phases: dict[tuple[str, str], tuple[int, ItemBalance]] = {}
        self._changed: set[tuple[str, str]] = set()

    def open(self, event: PhaseOpened) -> None:
        """Begin to count a phase, from the parts that earlier attempts recorded."""
        self._phases[event.step, event.phase] = (event.num_recorded, event.items)

    def add(self, event: PartRecorded) -> None:
        """Count a part that was recorded."""
        num_recorded, items = self._phases.get((event.step, event.phase), (0, ItemBalance()))
        self._phases[event.step, event.phase] = (num_recorded + 1, items + event.items)
        self._changed.add((event.step, event.phase))

    def numbers(self) -> list[NumbersReported]:
        """The counts of the phases that changed since the last call, as metrics such as `write/parts`."""
        changed = [(key, self._phases[key]) for key in sorted(self._changed)]
        self._changed.clear()
        return [
            NumbersReported(
                step=step,
                at_step=num_recorded,
                numbers={
                    f"{phase}/parts": num_recorded,
                    f"{phase}/kept": items.kept,
                    f"{phase}/dropped": items.num_dropped,
                    f"{phase}/failed": items.num_failed,
                },
            )
            for (step, phase), (num_recorded, items) in changed
        ]


def read_phase_counts(event: NumbersReported) -> tuple[str, int, ItemBalance] | None:
    """The inverse of `PhaseCounts.numbers`: (phase, parts recorded, items so far), or None for other metrics.

    The reasons of drops and failures are not among the metrics: all count as `any`.
    """
    name = next((name for name in event.numbers if name.endswith("/parts")), None)
    if name is None:
        return None
    phase = name.removesuffix("/parts")
    kept, dropped, failed = (int(event.numbers.get(f"{phase}/{verdict}", 0)) for verdict in VERDICTS)
    items = ItemBalance(
        kept=kept, dropped={"any": dropped} if dropped else {}, failed={"any": failed} if failed else {}
    )
    return phase, int(event.numbers[name]), items


def to_message(events: list[Event], attempt: int, counts: PhaseCounts) -> Message:
    """A message of these events: recorded parts as counts of their phase, and NaN and infinity as texts.

    2,000 events `PartRecorded` of phase `write` become one event with the metrics `write/parts`, `write/kept`, ...
    """
    plain: list[Event] = []
    non_finite: dict[str, dict[str, str]] = {}
    for event in events:
        if isinstance(event, PartRecorded):
            counts.add(event)
        elif isinstance(event, NumbersReported):
            finite, as_texts = _split_non_finite(event)
            plain.append(finite)
            if as_texts:
                non_finite.setdefault(event.step, {}).update(as_texts)
        else:
            if isinstance(event, PhaseOpened):
                counts.open(event)
            plain.append(event)
    # The end of a step is the last event of its message, so the counts of its phases go first.
    return Message(kind="events", attempt=attempt, events=(*counts.numbers(), *plain), oddities=non_finite)


def _split_non_finite(event: NumbersReported) -> tuple[NumbersReported, dict[str, str]]:
    """The event with its finite metrics alone, and the others as texts by name: `{"loss": "nan at step 3"}`."""
    finite = {name: number for name, number in event.numbers.items() if math.isfinite(number)}
    as_texts = {
        name: f"{number} at step {event.at_step}" for name, number in event.numbers.items() if not math.isfinite(number)
    }
    return event.model_copy(update={"numbers": finite}), as_texts
