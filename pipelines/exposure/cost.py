"""What it costs to train again from a clean checkpoint: steps, rows, tokens, and hours of all ranks.

Owns where each number comes from, and says it. Steps and rows follow from the recipe, tokens from the mean row, hours
from step times in the messages of the run, of which at most `MAX_MESSAGES` are read, spread over all of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from pipelines.exposure.packed_documents import PackedDocuments
from pipelines.exposure.trainings import KnownTraining
from pipelines.runs.outbox import Outbox
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import Rows
from stages.contract import NumbersReported
from stages.store.errors import StoreError

MAX_MESSAGES: Final = 256
"""Messages of a run that are read for step times, at most."""
SECONDS: Final = "seconds_per_step"
"""The number of an optimizer step that training reports as its time."""


@dataclass(frozen=True)
class Cost:
    """What some steps of a training cost."""

    num_steps: int
    """Optimizer steps."""
    num_rows: int
    """Packed rows that they read."""
    num_tokens: float | None
    """Tokens of these rows; None where rows cannot be read."""
    rank_hours: float | None = None
    """Hours, times the number of ranks (GPUs, or processes on CPUs); None where nobody knows."""
    hours_from: str = "no step times are recorded"
    """Where the hours come from, or why there are none."""

    @property
    def document(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "num_steps": self.num_steps,
            "num_rows": self.num_rows,
            "num_tokens": None if self.num_tokens is None else round(self.num_tokens),
            "tokens_from": "the mean row of each list of rows, times the rows that are read",
            "rank_hours": self.rank_hours,
            "hours_from": self.hours_from,
        }


def cost_of(training: KnownTraining, from_step: int) -> Cost:
    """What the committed steps of a training after `from_step` cost."""
    rows, tokens = 0, 0.0
    is_known = True
    for stretch in training.course:
        first, until = max(stretch.first_step, from_step), min(stretch.until_step, training.num_taken)
        num_rows = max(0, until - first) * stretch.rows_per_step
        rows += num_rows
        if num_rows:
            try:
                packed = open_artifact(training.store, stretch.rows.stage, stretch.rows.fingerprint, Rows)
                tokens += num_rows * PackedDocuments(packed).mean_row_tokens
            except StoreError:
                is_known = False
    num_steps = max(0, training.num_taken - from_step)
    cost = Cost(num_steps, rows, tokens if is_known and (tokens or not rows) else None)
    seconds = list(step_seconds(training))
    if not seconds or not num_steps:
        return cost
    ranks = num_ranks(training)
    said = (
        f"recorded: {median(seconds):,.3g} s a step, the median of {len(seconds):,}, on {ranks} rank{'s'[: ranks > 1]}"
    )
    return Cost(cost.num_steps, cost.num_rows, cost.num_tokens, num_steps * median(seconds) * ranks / 3600, said)


def num_ranks(training: KnownTraining) -> int:
    """On how many ranks the last checkpoint was trained."""
    committed = training.records.committed()
    return int(committed[-1].made_by.get("num_ranks", 1)) if committed else 1


def step_seconds(training: KnownTraining) -> Iterator[float]:
    """Recorded times of some optimizer steps, spread over the run."""
    if not training.run:
        return
    outbox = Outbox(training.store, training.run)
    num_messages = outbox.num_messages()
    if num_messages <= MAX_MESSAGES:
        stretches = [(0, num_messages)]
    else:
        starts = [number * num_messages // MAX_MESSAGES for number in range(MAX_MESSAGES)]
        stretches = [(start, start + 1) for start in starts]
    for found, _ in training.store.each(lambda stretch: outbox.messages(*stretch), stretches):
        for event in (event for message in found for event in message.events):
            if isinstance(event, NumbersReported) and event.step == training.step and SECONDS in event.numbers:
                yield event.numbers[SECONDS]
