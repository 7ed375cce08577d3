"""Forks: a training that begins from a checkpoint of another one, and what both together have read.

Owns what a fork remembers, what it may change, and where it continues in the rows. Steps keep their
numbers: a fork at step 2,000 begins with step 2,000, counted from 0, at the learning rate that its own recipe gives
that step. Rows that were being read continue after the last row that was taken, also where a step takes more or fewer
of them; other rows, or the same in the order of another seed, begin at their first. Loads no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from stages.artifacts.fingerprint import SHOWN_DIGITS, digest
from stages.artifacts.head import ManifestHead
from stages.artifacts.records import InputRecord, PartRecord
from stages.contract import Fork, ReadingSteps, Recipe, fork_of
from stages.training.checkpoints.facts import CheckpointFacts
from stages.training.loading.step_rows import Span, spans
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.recipe import TrainRecipe

BEFORE: Final = "before."
"""Begins the names of inputs that only the trainings before a fork have read (`stages/commit/inputs.py`)."""
ROWS: Final = "rows."
"""Begins the names of the inputs that a training reads rows from."""


@dataclass(frozen=True)
class ForkOrigin:
    """A training of which a checkpoint may be forked, finished or not."""

    stage: str
    fingerprint: str
    recipe: Mapping[str, Any]
    """All fields of its recipe."""
    fork: Fork | None = None
    """The checkpoint that it began from, if it is a fork itself."""

    @classmethod
    def of(cls, head: ManifestHead) -> ForkOrigin:
        """A finished training."""
        return cls(head.stage, head.fingerprint, head.recipe, fork_of(head))

    @property
    def short(self) -> str:
        """Its name in messages, such as `train_prebuffer/3f2a9c01d4e5`."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"


def forked(training: ForkOrigin, checkpoint: PartRecord, inputs: Mapping[str, InputRecord]) -> Fork:
    """The fork of a training at the checkpoint with this record. `inputs` are what it recorded that it is made of."""
    at_step = CheckpointFacts.of(checkpoint).step
    return Fork(
        stage=training.stage,
        fingerprint=training.fingerprint,
        at_step=at_step,
        content=digest(checkpoint.content),
        recipe=dict(training.recipe),
        inputs=dict(inputs),
        course=course(training.recipe, inputs, training.fork, until_step=at_step),
        begun_from=training.fork,
    )


def why_unfit(recipe: Recipe, inputs: Mapping[str, str], fork: Fork) -> str:
    """Why a recipe and the fingerprints of inputs cannot continue from a fork, as a clause; '' if they can."""
    if not isinstance(recipe, TrainRecipe):
        return f"{type(recipe).__name__} is no recipe of a training, which alone has checkpoints to begin from"
    if why := _why_steps_unfit(recipe, fork):
        return why
    fields = {"precision", *(type(recipe).model_fields.keys() - ObjectivesRecipe.model_fields.keys())}
    now = recipe.model_dump(mode="json")
    if changed := sorted(name for name in fields if now[name] != fork.recipe.get(name, now[name])):
        return f"{', '.join(changed)} cannot change: the checkpoint holds weights and moments of another kind"
    before = {name: item.fingerprint for name, item in fork.inputs.items() if not name.startswith(BEFORE)}
    names = before.keys() | inputs.keys()
    if other := sorted(name for name in names if not name.startswith(ROWS) and before.get(name) != inputs.get(name)):
        return f"{', '.join(other)} cannot be another than that of {fork.short}; only rows can"
    return ""


def _why_steps_unfit(recipe: TrainRecipe, fork: Fork) -> str:
    """Why the steps of a recipe, or what it averages over them, cannot begin at a fork; '' if they can.

    A fork may take no step at all: with `hand_out` at its own step it hands out the weights that it begins from.
    """
    hands_out_here = recipe.hand_out == fork.at_step < recipe.num_steps
    if recipe.last_step <= fork.at_step and not hands_out_here:
        ends = f"hand_out = {recipe.hand_out:,}" if recipe.hand_out else f"num_steps = {recipe.num_steps:,}"
        return f"{ends} leaves no step after {fork.at_step:,}; raise it"
    if recipe.averaged_steps and recipe.averaged_steps[0] <= fork.at_step:
        first = f"{recipe.averaged_steps[0]:,}"
        states = f"average_last = {recipe.average_last} states"
        return f"{states} reach back to step {first}, which is not after {fork.at_step:,}"
    if (recipe.ema_decay is None) != (fork.recipe.get("ema_decay") is None):
        return "ema_decay cannot be added or left out, since checkpoints hold the moving average only where it is set"
    return ""


def spans_of(recipe: TrainRecipe, rows: Sequence[str], fork: Fork | None) -> tuple[Span, ...]:
    """Which steps read which of the Rows with these fingerprints; of a fork, from its first step on."""
    own = spans(recipe.num_steps, recipe.until_steps)
    return own if fork is None else _spans_after(fork, own, rows, recipe.seed)


def course(
    recipe: Mapping[str, Any], inputs: Mapping[str, InputRecord], fork: Fork | None, until_step: int
) -> tuple[ReadingSteps, ...]:
    """What the first `until_step` steps of a training read, those before a fork included, in order."""
    own = spans(recipe["num_steps"], recipe["until_steps"])
    rows = [inputs[f"{ROWS}{number}"] for number in range(len(own))]
    if fork is not None:
        own = _spans_after(fork, own, [item.fingerprint for item in rows], recipe["seed"])
    stretches = [] if fork is None else list(fork.course)
    for span in own:
        stretch = ReadingSteps(
            name=f"{ROWS}{span.rows}",
            rows=rows[span.rows],
            seed=recipe["seed"],
            rows_per_step=recipe["rows_per_step"],
            first_step=span.first_step,
            until_step=span.until_step,
            first_row=span.first_row,
        )
        if stretches and _continues(stretches[-1], stretch):
            stretch = stretch.model_copy(
                update={"first_step": stretches[-1].first_step, "first_row": stretches.pop().first_row}
            )
        stretches.append(stretch)
    cut = (one.model_copy(update={"until_step": min(one.until_step, until_step)}) for one in stretches)
    return tuple(one for one in cut if one.first_step < one.until_step)


def course_of(head: ManifestHead, until_step: int) -> tuple[ReadingSteps, ...]:
    """What the first `until_step` steps of a finished training read."""
    return course(head.recipe, head.inputs, fork_of(head), until_step)


def has_same_probe(recipe: TrainRecipe, first_rows: str, fork: Fork) -> bool:
    """Whether the probe row of checkpoints, and its loss, are those of the training that a fork begins from."""
    same = (fork.inputs[f"{ROWS}0"].fingerprint, fork.recipe["seed"], fork.recipe["loss_weighting"])
    return same == (first_rows, recipe.seed, recipe.loss_weighting)


def _spans_after(fork: Fork, own: Sequence[Span], rows: Sequence[str], seed: int) -> tuple[Span, ...]:
    """The spans from the step of the fork on.

    Forked at step 40 with 8 rows a step, a span of steps 0 to 100 becomes that of 40 to 100, from place 320 on, where
    the same rows were read before; from place 0 where other rows were.
    """
    last, left = fork.course[-1], [span for span in own if span.until_step > fork.at_step]
    under_way = left[0]
    if under_way.first_step < fork.at_step:
        is_same = (rows[under_way.rows], seed) == (last.rows.fingerprint, last.seed)
        left[0] = replace(under_way, first_step=fork.at_step, first_row=last.next_row if is_same else 0)
    return tuple(left)


def _continues(one: ReadingSteps, other: ReadingSteps) -> bool:
    """Whether `other` is more of the same."""
    same = [(each.rows, each.seed, each.rows_per_step) for each in (one, other)]
    return same[0] == same[1] and (one.until_step, one.next_row) == (other.first_step, other.first_row)
