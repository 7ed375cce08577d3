"""The progress of a run's steps, updated by events, and its texts.

Owns state alone: `console.py` draws it, `plain_lines.py` prints it.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from stages.artifacts.records import ItemBalance
from stages.contract import (
    CheckpointCommitted,
    CheckpointDelayed,
    Event,
    MachinesAwaited,
    NumbersReported,
    PartProgress,
    PartRecorded,
    PhaseOpened,
    StepBusy,
    StepEnded,
    StepStarted,
    StepWaiting,
)

SHOWN_NUMBERS: Mapping[str, Callable[[float], str]] = {
    "loss": lambda loss: f"loss {loss:.4g}",
    "heldout/loss": lambda loss: f"held out {loss:.4g}",
    "heldout/accuracy": lambda share: f"{share:.0%} right",
    "accuracy": lambda share: f"accuracy {share:.4g}",
    "gradient_norm": lambda norm: f"gradient {norm:.3g}",
    "tokens_per_second": lambda rate: f"{rate:,.0f} tokens/s",
    "mfu": lambda share: f"MFU {share:.0%}",
    "data_wait": lambda share: f"{share:.0%} waits for data",
    "memory_bytes": lambda size_bytes: f"{size_bytes / 2**30:.1f} GiB",
}
"""Numbers shown on the line of a step, in this order, with their format; MLflow has all of them."""


UNFINISHED = ("failed", "interrupted", "superseded")
"""Statuses of a step that ended without its artifact."""


@dataclass
class StepState:
    """The progress of one step."""

    name: str
    num_steps: int | None = None
    """Optimizer steps in all, for training."""
    status: str = "waiting"
    started_seconds: float | None = None
    seconds: float = 0.0
    phase: str = ""
    num_parts: int = 0
    num_recorded: int = 0
    items: ItemBalance = field(default_factory=ItemBalance)
    under_way: dict[str, int] = field(default_factory=dict)
    """Items processed so far, by part."""
    at_step: int | None = None
    first_step: int = 0
    committed_step: int | None = None
    committed_at_seconds: float | None = None
    """Time of the last commit of a part or checkpoint."""
    numbers: dict[str, float] = field(default_factory=dict)
    first_loss: tuple[int, float] | None = None
    """The first training loss that was reported, with its optimizer step; None before one."""
    last_loss: tuple[int, float] | None = None
    """The last one."""
    reason: str = ""
    waits_for: str = ""
    """Holder of the claim on the same artifact, while the step waits for it."""
    busy: str = ""
    """What it is busy with while it has nothing to count; '' once it has."""
    queued: str = ""
    """What waits for machines, since when, and what machines there are; '' while nothing does."""
    unsaved: str = ""
    """Which checkpoint the store does not take, since when and why; '' where it took the last."""
    _items_before: int = 0
    _recorded_before: int = 0
    _phase_began_seconds: float = 0.0

    @property
    def num_items(self) -> int:
        """Items processed, in recorded parts and in parts under way."""
        return self.items.total + sum(self.under_way.values())

    def share_done(self) -> float | None:
        """Share of the step that is done, from 0 to 1; None if it is not known."""
        if self.status in ("committed", "reused"):
            return 1.0
        if self.at_step is not None and self.num_steps:
            return min(1.0, self.at_step / self.num_steps)
        return self.num_recorded / self.num_parts if self.num_parts else None

    def rate(self, now_seconds: float) -> tuple[float, str] | None:
        """Rate since the phase began, and its unit: optimizer steps or items a second. None where it is not known."""
        elapsed_seconds = now_seconds - self._phase_began_seconds
        if self.status != "running" or elapsed_seconds <= 0:
            return None
        if self.at_step is not None:
            return (self.at_step - self.first_step) / elapsed_seconds, "steps"
        num_done = self.num_items - self._items_before
        return (num_done / elapsed_seconds, "items") if num_done > 0 else None

    def seconds_left(self, now_seconds: float) -> float | None:
        """Seconds until the phase or the training ends, at the rate so far; None if that is not known."""
        elapsed_seconds = now_seconds - self._phase_began_seconds
        if self.at_step is not None:
            num_done, num_left = self.at_step - self.first_step, (self.num_steps or 0) - self.at_step
        else:
            num_done, num_left = self.num_recorded - self._recorded_before, self.num_parts - self.num_recorded
        is_known = self.status == "running" and num_done > 0 and num_left >= 0
        return num_left * elapsed_seconds / num_done if is_known else None

    def open_phase(self, event: PhaseOpened, now_seconds: float) -> None:
        """Begin a phase, of which earlier attempts may have recorded parts; the rate counts from here."""
        self.phase, self.num_parts, self.num_recorded = event.phase, event.num_parts, event.num_recorded
        self.items, self.under_way = event.items, {}
        self._items_before, self._recorded_before = event.items.total, event.num_recorded
        self._phase_began_seconds, self.busy = now_seconds, ""

    def take_numbers(self, event: NumbersReported, now_seconds: float) -> None:
        """Keep the newest value of each metric, and the optimizer step that they are of."""
        self.numbers |= event.numbers
        if event.at_step is not None:
            if self.at_step is None:
                self.first_step, self._phase_began_seconds = event.at_step, now_seconds
            self.at_step, self.busy = event.at_step, ""
            if math.isfinite(loss := event.numbers.get("loss", math.nan)):
                self.last_loss = event.at_step, loss
                self.first_loss = self.first_loss or self.last_loss

    def pause(self) -> None:
        """Show the step as interrupted if it was running, since no attempt executes it."""
        self.status = "interrupted" if self.status == "running" else self.status
        self.at_step, self.under_way, self.waits_for, self.queued, self.unsaved, self.busy = None, {}, "", "", "", ""


class Scoreboard:
    """The progress of all steps of a run, in the order of its plan."""

    def __init__(self, steps: Mapping[str, int | None], clock: Callable[[], float] = time.monotonic) -> None:
        """`steps` has the names and, for training, the optimizer steps in all."""
        self._clock = clock
        self.lock = threading.RLock()
        """Held while an event is taken, and while another thread reads a step."""
        self.steps = {name: StepState(name, num_steps) for name, num_steps in steps.items()}

    def take(self, event: Event) -> None:
        """Update the step of an event."""
        with self.lock:
            self._take(event)

    def _take(self, event: Event) -> None:
        state, now_seconds = self.steps[event.step], self._clock()
        match event:
            case StepWaiting():
                state.waits_for = f"{event.holder} on {event.host}"
            case MachinesAwaited():
                state.queued, state.busy = queued_words(event), ""
            case StepStarted():
                state.status, state.started_seconds, state.waits_for, state.busy = "running", now_seconds, "", ""
            case StepBusy():
                state.busy = event.doing
            case PhaseOpened():
                state.open_phase(event, now_seconds)
            case PartProgress():
                state.under_way[event.part], state.busy = event.num_done, ""
            case PartRecorded():
                state.under_way.pop(event.part, None)
                state.num_recorded += 1
                state.items, state.busy = state.items + event.items, ""
                state.committed_at_seconds = now_seconds
            case NumbersReported():
                state.take_numbers(event, now_seconds)
            case CheckpointCommitted():
                state.committed_step, state.committed_at_seconds, state.unsaved = event.at_step, now_seconds, ""
            case CheckpointDelayed():
                state.unsaved = unsaved_words(event)
            case StepEnded():
                state.seconds = event.seconds or self.elapsed_seconds(state)
                state.status, state.reason, state.waits_for = event.outcome, event.reason, ""
                state.queued = state.unsaved = state.busy = ""
                state.items = event.items if event.items.total else state.items

    def elapsed_seconds(self, state: StepState) -> float:
        """Seconds a step has run, or ran."""
        running = state.status == "running" and state.started_seconds is not None
        return self._clock() - (state.started_seconds or 0.0) if running else state.seconds

    def seconds_left(self, state: StepState) -> float | None:
        """Seconds until a step's phase or training ends; None where that is not known."""
        return state.seconds_left(self._clock())

    def commit_age_seconds(self, state: StepState) -> float | None:
        """Seconds since the last commit of a step; None where that is not known."""
        return None if state.committed_at_seconds is None else self._clock() - state.committed_at_seconds

    def line(self, state: StepState) -> str:
        """The progress of a step in words: phase, parts, rate, item counts."""
        told = (
            progress(state),
            state.busy,
            state.queued,
            state.unsaved,
            self.rate(state),
            balance(state),
            _numbers(state),
        )
        words = [words for words in told if words]
        why = state.reason.partition("\n")[0]
        return ", ".join([*words, why] if words and state.status == "failed" else words or [why])

    def rate(self, state: StepState) -> str:
        """The rate of a step in words, or ''."""
        rate = state.rate(self._clock())
        return f"{rate[0]:,.3g} {rate[1]}/s" if rate else ""


def queued_words(event: MachinesAwaited) -> str:
    """What waits for machines: `waits since 12:04:31 for 8 ranks of 1 GPU; the cluster has 4 GPUs`; or ''."""
    if not event.asked:
        return ""
    since = time.strftime("%H:%M:%S", time.localtime(event.at_seconds))
    return f"waits since {since} for {event.asked}" + (f"; {event.has}" if event.has else "")


def unsaved_words(event: CheckpointDelayed) -> str:
    """`keeps the checkpoint at step 4,000 in memory since 12:04:31 and tries again to store it: rank 3: ...`."""
    since = time.strftime("%H:%M:%S", time.localtime(event.at_seconds))
    what = f"keeps the checkpoint at step {event.at_step:,} in memory since {since} and tries again to store it"
    return f"{what}: {event.why}"


def progress(state: StepState) -> str:
    """How far a step is, in parts or in optimizer steps, or which run it waits for."""
    if state.waits_for:
        return f"waits for {state.waits_for}"
    if state.status in ("committed", "reused"):
        return ""
    if state.status in UNFINISHED:
        return holds(state)
    at_step = state.committed_step if state.at_step is None else state.at_step
    if at_step is not None:
        total = f" of {state.num_steps:,}" if state.num_steps else ""
        return f"step {at_step:,}{total}"
    return f"{state.phase} {state.num_recorded:,}/{state.num_parts:,} parts".lstrip() if state.num_parts else ""


def holds(state: StepState) -> str:
    """What a step that ended without its artifact has committed, from which it continues; '' for nothing.

    Such as `holds step 40 of 100` and `holds 2 of 3 parts of fetch`.
    """
    if state.committed_step is not None:
        total = f" of {state.num_steps:,}" if state.num_steps else ""
        return f"holds step {state.committed_step:,}{total}"
    phase = f" of {state.phase}" if state.phase else ""
    return f"holds {state.num_recorded:,} of {state.num_parts:,} parts{phase}" if state.num_recorded else ""


def balance(state: StepState) -> str:
    """The items kept, dropped and failed so far, in words."""
    if not state.items.total:
        return ""
    words = f"{state.items.kept:,} kept"
    words += f", {state.items.num_dropped:,} dropped" if state.items.num_dropped else ""
    return words + (f", {state.items.num_failed:,} failed" if state.items.num_failed else "")


def _numbers(state: StepState) -> str:
    return ", ".join(say(state.numbers[name]) for name, say in SHOWN_NUMBERS.items() if name in state.numbers)


def clock_time(seconds: float) -> str:
    """A duration as `4:07` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
