"""The outbox of a run: messages for MLflow, kept in the store.

Owns `runs/<run>/outbox/`: numbered messages, each created exclusively, and a `.sent` mark beside each that MLflow has
accepted. Steps only put events into a queue, and a thread writes them here: an unreachable MLflow costs no step time,
and a killed driver leaves its messages to the next command. Messages are never deleted: an empty MLflow can be
rebuilt from them.
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
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    StepEnded,
    StepStarted,
)
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.store import Store

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_MESSAGES = 5.0
MAX_EVENTS_PER_MESSAGE = 2000
VERDICTS = ("kept", "dropped", "failed")


class Message(BaseModel):
    """One delivery: an attempt began or ended, or what happened in between, in order."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    kind: Literal["attempt_started", "events", "attempt_ended"]
    attempt: int
    at_seconds: float = Field(default_factory=time.time)
    events: tuple[Event, ...] = ()
    non_finite: dict[str, dict[str, str]] = Field(default_factory=dict, alias="oddities")
    """Metrics that are NaN or infinite, by step and name, as words such as `nan at step 3`: MLflow stores none.
    The field's name in the store is `oddities`."""
    outcome: str = ""
    reason: str = ""


class Outbox:
    """The messages of one run: numbered from 0 without a gap, and delivered in that order.

    Counts by known keys, and from where it counted last, so that a run of months costs no more than a short one.
    """

    def __init__(self, store: Store, run: str) -> None:
        self.store = store
        self.folder = f"runs/{run}/outbox"
        self._num_kept = 0
        self._num_sent = 0

    def append(self, message: Message) -> str:
        """Keep a message durably, after all that are there; returns its key."""
        number = self._num_kept or self.num_messages()
        value = message.model_dump(mode="json", by_alias=True)
        with fault_point("outbox.appended"):
            while not self.store.create_json(key := self._key(number), value):
                number += 1
        self._num_kept = number + 1
        return key

    def kept(self, first: int = 0) -> Iterator[str]:
        """Keys of the messages from number `first` on, in order; those appended meanwhile come too."""
        keys = map(self._key, count(first))
        return takewhile(lambda key: self.store.size_bytes(key) is not None, keys)

    def pending(self) -> Iterator[str]:
        """Keys of the messages that are not delivered, in order."""
        self._num_sent = self._count(".sent", self._num_sent)
        return self.kept(self._num_sent)

    def num_pending(self) -> int:
        """How many messages are not delivered."""
        num_sent = self._count(".sent", self._num_sent)
        return self._count(known=num_sent) - num_sent

    def read(self, key: str) -> Message:
        return Message.model_validate(self.store.read_json(key))

    def num_messages(self) -> int:
        """How many messages there are. Each has a known key, so that none needs to be listed."""
        return self._count(known=self._num_kept)

    def message(self, number: int) -> Message | None:
        raw = self.store.read_json(self._key(number))
        return None if raw is None else Message.model_validate(raw)

    def mark_sent(self, key: str, refusal: str = "") -> None:
        """Mark a message as delivered, or as rejected for good with the reason `refusal`."""
        with fault_point("outbox.marked_sent", key):
            self.store.create(f"{key}.sent", refusal.encode())

    def _key(self, number: int) -> str:
        return f"{self.folder}/{number:08d}.json"

    def _count(self, ending: str = "", known: int = 0) -> int:
        """How many messages there are, or marks with this ending, where `known` of them are known to be there."""
        return known + first_missing(
            lambda number: self.store.size_bytes(self._key(known + number) + ending) is not None
        )


class EventWriter:
    """Takes events without waiting and writes them to an outbox from a thread of its own."""

    def __init__(self, outbox: Outbox, attempt: int) -> None:
        self._outbox = outbox
        self._attempt = attempt
        self._tally = PhaseCounts()
        self._queue: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)
        self._thread.start()

    def post(self, event: Event) -> None:
        """Take an event. Never blocks."""
        if not isinstance(event, PartProgress):
            self._queue.put(event)

    def close(self) -> None:
        """Write what is left and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        waiting: list[Message] = []
        open_ended = True
        while open_ended:
            events = list(self._gather())
            open_ended = not events or events[-1] is not None
            if kept := [event for event in events if event is not None]:
                waiting.append(to_message(kept, self._attempt, self._tally))
            waiting = self._keep(waiting)

    def _gather(self) -> Iterator[Event | None]:
        """The events of one message: those of a few seconds, fewer at an event that people wait for."""
        deadline_seconds = time.monotonic() + SECONDS_BETWEEN_MESSAGES
        for _ in range(MAX_EVENTS_PER_MESSAGE):
            try:
                event = self._queue.get(timeout=max(0.0, deadline_seconds - time.monotonic()))
            except queue.Empty:
                return
            yield event
            if event is None or isinstance(event, StepStarted | CheckpointCommitted | StepEnded):
                return

    def _keep(self, messages: list[Message]) -> list[Message]:
        """Append the messages; returns those that could not be written, to be retried."""
        for number, message in enumerate(messages):
            try:
                self._outbox.append(message)
            except Exception:
                logger.warning("a message for MLflow could not be written to the store; it is retried", exc_info=True)
                return messages[number:]
        return []


class PhaseCounts:
    """Running counts of phases: parts and items by verdict, for the pages of long steps."""

    def __init__(self) -> None:
        self._phases: dict[tuple[str, str], tuple[int, ItemBalance]] = {}
        self._changed: set[tuple[str, str]] = set()

    def open(self, event: PhaseOpened) -> None:
        self._phases[event.step, event.phase] = (event.num_recorded, event.items)

    def add(self, event: PartRecorded) -> None:
        num_recorded, items = self._phases.get((event.step, event.phase), (0, ItemBalance()))
        self._phases[event.step, event.phase] = (num_recorded + 1, items + event.items)
        self._changed.add((event.step, event.phase))

    def numbers(self) -> list[NumbersReported]:
        """The counts of the phases that changed since last time."""
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
    """Phase, parts recorded and items so far, if that is what these numbers are; reasons are not among them."""
    name = next((name for name in event.numbers if name.endswith("/parts")), None)
    if name is None:
        return None
    phase = name.removesuffix("/parts")
    kept, dropped, failed = (int(event.numbers.get(f"{phase}/{verdict}", 0)) for verdict in VERDICTS)
    items = ItemBalance(
        kept=kept, dropped={"any": dropped} if dropped else {}, failed={"any": failed} if failed else {}
    )
    return phase, int(event.numbers[name]), items


def to_message(events: list[Event], attempt: int, tally: PhaseCounts) -> Message:
    """A message of these events: records of parts counted together, what is not finite turned into words."""
    plain: list[Event] = []
    non_finite: dict[str, dict[str, str]] = {}
    for event in events:
        if isinstance(event, PartRecorded):
            tally.add(event)
        elif isinstance(event, NumbersReported):
            finite, odd = _finite(event)
            plain.append(finite)
            if odd:
                non_finite.setdefault(event.step, {}).update(odd)
        else:
            if isinstance(event, PhaseOpened):
                tally.open(event)
            plain.append(event)
    # A step that ends closes the message, so its counts go before its end.
    return Message(kind="events", attempt=attempt, events=(*tally.numbers(), *plain), oddities=non_finite)


def _finite(event: NumbersReported) -> tuple[NumbersReported, dict[str, str]]:
    finite = {name: number for name, number in event.numbers.items() if math.isfinite(number)}
    odd = {
        name: f"{number} at step {event.at_step}" for name, number in event.numbers.items() if not math.isfinite(number)
    }
    return event.model_copy(update={"numbers": finite}), odd
