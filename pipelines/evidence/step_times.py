"""When the steps of a run began and ended, from the messages that its drivers left in the store.

Messages are read once, some hundred at a time, and two times are kept for each step. A run of a month has 500,000.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from pipelines.runs.outbox import Outbox
from pipelines.runs.run import Run
from stages.contract import StepEnded, StepStarted

MESSAGES_AT_A_TIME: Final = 256


@dataclass
class StepTimes:
    """What the messages say of one step."""

    began_seconds: float | None = None
    """Unix time at which an attempt first held it."""
    ended_seconds: float | None = None
    """Unix time at which the newest attempt at it ended; of a step that the run committed, when it did."""
    outcome: str = ""
    """How that ended: `committed`, `reused`, `failed`, `interrupted`, `superseded`; '' if it did not."""
    reason: str = ""
    """Why it failed; '' if it did not."""


def step_times(run: Run) -> dict[str, StepTimes]:
    """The times of each step of a run that began, by name."""
    times: dict[str, StepTimes] = {}
    outbox, first = Outbox(run.store, run.name), 0
    while True:
        messages, num_found = outbox.messages(first, first + MESSAGES_AT_A_TIME)
        for event in (event for message in messages for event in message.events):
            if isinstance(event, StepStarted):
                one = times.setdefault(event.step, StepTimes())
                one.began_seconds = one.began_seconds or event.at_seconds
            elif isinstance(event, StepEnded):
                one = times.setdefault(event.step, StepTimes())
                if (one.outcome, event.outcome) != ("committed", "reused"):  # each resume reuses what the run has made
                    one.ended_seconds, one.outcome, one.reason = event.at_seconds, event.outcome, event.reason
        if num_found < MESSAGES_AT_A_TIME:
            return times
        first += num_found


def spelled_time(seconds: float) -> str:
    """A Unix time as RFC 3339 in UTC, to the millisecond."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
