"""What happened in a run, from the messages that its drivers left: when steps waited and worked, and curves.

Messages are read once, some hundred at a time: a run of a month has 500,000. What is kept is bounded: a few hundred
spans a step, and some hundred points a curve, whatever the length of the run. All times are those of records.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from pipelines.runs.feed import is_training
from pipelines.runs.outbox import Message, Outbox
from pipelines.runs.run import AttemptEnd, Run
from stages.contract import (
    MachinesAwaited,
    NumbersReported,
    PictureKept,
    StepEnded,
    StepStarted,
    StepWaiting,
    WarningPosted,
)

MESSAGES_AT_A_TIME: Final = 256
MAX_POINTS: Final = 512
"""Points that a curve keeps; of more, each second one is dropped, and from then on each second one is taken."""
MAX_CURVES: Final = 200
"""Curves of one step: a user's stage may report any number of metrics."""
MAX_SPANS: Final = 300
"""Spans of one step; later ones are counted only."""
MAX_WARNINGS: Final = 50
"""Warnings that are kept, the first ones."""
FOUND_DEAD: Final = frozenset({"killed", "superseded"})
"""Outcomes of attempts that did not tell their end: another command did, at any time later."""
Doing: TypeAlias = Literal["working", "waiting", "queued"]
"""What a step does in a span: it works, waits for another run that makes the same, or for machines."""


@dataclass
class StepSpan:
    """A stretch of time of one step in one attempt."""

    attempt: int
    doing: Doing
    begin_seconds: float
    end_seconds: float
    outcome: str = ""
    """How the step ended at its end; '' where it went on, or its attempt ended first."""
    what: str = ""
    """What was waited for, in words."""


@dataclass
class Curve:
    """A metric over optimizer steps, thinned evenly as it grows."""

    points: list[tuple[int, float]] = field(default_factory=list)
    stride: int = 1
    num_seen: int = 0
    last: tuple[int, float] | None = None
    """The newest point, which is drawn whatever the stride."""
    largest: float = -math.inf

    def add(self, at_step: int, value: float) -> None:
        """Take a point. One at a step before the last, as after a resume from a checkpoint, replaces what followed."""
        if not math.isfinite(value):
            return
        if self.last is not None and at_step <= self.last[0]:
            self.points = [point for point in self.points if point[0] < at_step]
        self.largest, self.last = max(self.largest, value), (at_step, value)
        if self.num_seen % self.stride == 0:
            self.points.append((at_step, value))
            if len(self.points) > MAX_POINTS:
                self.points, self.stride = self.points[::2], 2 * self.stride
        self.num_seen += 1

    @property
    def drawn(self) -> list[tuple[int, float]]:
        """The points to draw, by rising step."""
        ends_with = [self.last] if self.last is not None and self.points and self.points[-1] != self.last else []
        return [*self.points, *ends_with]


@dataclass
class StepHistory:
    """What the messages say of one step."""

    spans: list[StepSpan] = field(default_factory=list)
    num_more_spans: int = 0
    curves: dict[str, Curve] = field(default_factory=dict)
    outcome: str = ""
    """How its last attempt ended; '' if it did not."""
    reason: str = ""
    numbers: dict[str, float] = field(default_factory=dict)
    """Numbers that a stage reported of itself, without an optimizer step."""
    pictures: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Series of pictures that were drawn while it trained, to optimizer step and key of the last one."""

    @property
    def working_seconds(self) -> float:
        """Time that it worked in all attempts."""
        return sum(span.end_seconds - span.begin_seconds for span in self.spans if span.doing == "working")

    @property
    def waiting_seconds(self) -> float:
        """Time that it waited in all attempts."""
        return sum(span.end_seconds - span.begin_seconds for span in self.spans if span.doing != "working")


@dataclass
class History:
    """What happened in a run."""

    steps: dict[str, StepHistory] = field(default_factory=dict)
    attempts: dict[int, tuple[float, float]] = field(default_factory=dict)
    """Attempt to when it began, and when it ended or was heard of last."""
    ends: dict[int, AttemptEnd] = field(default_factory=dict)
    """Attempt to its end, as its last message tells it: it is sent before the record of the end is written."""
    warnings: list[tuple[float, str, str]] = field(default_factory=list)
    """(time, step, message) of the first warnings."""
    num_warnings: int = 0
    num_messages: int = 0


def read_history(run: Run) -> History:
    """The history of a run, from all its messages."""
    reader = _Reader()
    for message in _messages(run):
        reader.take(message)
    reader.close_open_spans()
    return reader.history


def _messages(run: Run) -> Iterator[Message]:
    outbox, first = Outbox(run.store, run.name), 0
    while True:
        messages, num_found = outbox.messages(first, first + MESSAGES_AT_A_TIME)
        yield from messages
        if num_found < MESSAGES_AT_A_TIME:
            return
        first += num_found


class _Reader:
    """Takes messages in order. At most one span of a step is open."""

    def __init__(self) -> None:
        self.history = History()
        self._open: dict[str, StepSpan] = {}

    def take(self, message: Message) -> None:
        """Take one message."""
        self.history.num_messages += 1
        began, heard = self.history.attempts.get(message.attempt, (message.at_seconds, message.at_seconds))
        found_dead = message.kind == "attempt_ended" and message.outcome in FOUND_DEAD
        heard = heard if found_dead else max(heard, message.at_seconds)
        self.history.attempts[message.attempt] = began, heard
        for event in message.events:
            self._take_event(event, message.attempt)
        if message.kind == "attempt_ended":
            end = {"outcome": message.outcome, "at_seconds": message.at_seconds, "reason": message.reason}
            self.history.ends[message.attempt] = AttemptEnd.model_validate(end)
            for step in [name for name, span in self._open.items() if span.attempt == message.attempt]:
                self._close(step, heard, message.outcome)

    def _take_event(self, event: object, attempt: int) -> None:
        match event:
            case StepWaiting():
                self._begin(
                    event.step, StepSpan(attempt, "waiting", event.at_seconds, event.at_seconds, what=event.holder)
                )
            case MachinesAwaited():
                doing: Doing = "queued" if event.asked else "working"
                if event.step not in self._open or self._open[event.step].doing != doing:
                    span = StepSpan(attempt, doing, event.at_seconds, event.at_seconds, what=event.asked)
                    self._begin(event.step, span)
            case StepStarted():
                self._begin(event.step, StepSpan(attempt, "working", event.at_seconds, event.at_seconds))
            case StepEnded():
                self._end_step(event)
            case WarningPosted():
                self.history.num_warnings += 1
                if len(self.history.warnings) < MAX_WARNINGS:
                    self.history.warnings.append((event.at_seconds, event.step, event.message))
            case PictureKept():
                self._of(event.step).pictures[event.name] = event.at_step, event.key
            case NumbersReported() if is_training(event) or event.at_step is None:
                self._take_numbers(event)
            case _:
                pass
        step = getattr(event, "step", "")
        if step in self._open:
            span = self._open[step]
            span.end_seconds = max(span.end_seconds, getattr(event, "at_seconds", 0.0))

    def _end_step(self, event: StepEnded) -> None:
        known = self._of(event.step)
        self._close(event.step, event.at_seconds, event.outcome)
        if (known.outcome, event.outcome) != ("committed", "reused"):  # each resume reuses what the run has made
            known.outcome, known.reason = event.outcome, event.reason

    def _take_numbers(self, event: NumbersReported) -> None:
        known = self._of(event.step)
        if event.at_step is None:
            known.numbers |= dict(list(event.numbers.items())[:MAX_CURVES])
            return
        for name, value in event.numbers.items():
            if name in known.curves or len(known.curves) < MAX_CURVES:
                known.curves.setdefault(name, Curve()).add(event.at_step, value)

    def close_open_spans(self) -> None:
        """End the spans of attempts whose end no message tells, where they were heard of last."""
        for step, span in list(self._open.items()):
            self._close(step, max(span.end_seconds, span.begin_seconds), "")

    def _of(self, step: str) -> StepHistory:
        return self.history.steps.setdefault(step, StepHistory())

    def _begin(self, step: str, span: StepSpan) -> None:
        self._close(step, span.begin_seconds, "")
        known = self._of(step)
        self._open[step] = span
        if len(known.spans) < MAX_SPANS:
            known.spans.append(span)
        else:
            known.num_more_spans += 1

    def _close(self, step: str, at_seconds: float, outcome: str) -> None:
        span = self._open.pop(step, None)
        if span is not None:
            span.end_seconds, span.outcome = max(span.begin_seconds, at_seconds), outcome
