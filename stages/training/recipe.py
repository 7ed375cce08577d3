"""What a training stage is asked for: steps, optimizer, schedule, precision, checkpoints.

Owns the fields that both training stages share and the learning rate as a pure function of the step. Ranks, ZeRO
stage, rows in a forward pass and attention backend are the site's (`GangLayout`): they change no result beyond
rounding.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping
from itertools import pairwise
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from neo_model.parts import ModelPart
from stages.contract import Recipe, StageError, conduct

Precision: TypeAlias = Literal["fp32", "bf16"]
OnDamagedRow: TypeAlias = Literal["fail", "rebuild", "skip"]


class TrainRecipe(Recipe):
    """Fields of every training stage."""

    num_steps: int = Field(ge=1)
    """Number of optimizer steps."""
    rows_per_step: int = Field(ge=1)
    """Packed rows in one optimizer step, over all ranks and all accumulation."""
    until_steps: tuple[int, ...] = ()
    """Step before which each Rows but the last is read, where there are several: 16K rows, then 36K rows."""
    seed: int = 0
    """Seed of the order of rows, of new weights, and of random numbers within a step."""

    peak_learning_rate: float = Field(gt=0)
    """AdamW learning rate after warm-up."""
    num_warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises linearly to its peak."""
    floor_ratio: float = Field(default=0.1, ge=0, le=1)
    """Learning rate at the end of the cosine, as a share of the peak."""
    learning_rate_factors: Mapping[ModelPart, Annotated[float, Field(gt=0)]] = {}
    """Part of the model to the factor of its learning rate at every step: {"vision": 0.1}; parts not named have 1."""
    weight_decay: float = Field(default=0.01, ge=0)
    """AdamW weight decay of matrices, those of LoRA adapters included, whose product decays towards no change; norm
    gains and biases have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW decay rates of the first and second moment."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW epsilon, added to the denominator of the update."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Largest global gradient norm; a longer gradient is scaled down to it."""

    precision: Precision = "bf16"
    """Precision of forward and backward; with bf16 the optimizer keeps fp32 master weights."""
    loss_weighting: Literal["token", "sample", "square"] = "square"
    """Weight of a supervised token in a document with n of them: 1, 1 / n, or 1 / sqrt(n)."""

    hand_out: int | None = Field(default=None, ge=1)
    """Step after which training ends and its weights become the model, at the learning rates of `num_steps`; None is
    `num_steps`. The best step of a training is named by `neo show`."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which is kept beside them and becomes the model."""
    average_last: int = Field(default=1, ge=1)
    """How many states the model is the mean of: the last, and those `average_every_steps` apart before it."""
    average_every_steps: int | None = Field(default=None, ge=1)
    """Steps between the states of which the model is the mean; each is committed and kept until then."""
    # The fields below are conduct: they may be changed while training goes on, from its last checkpoint.

    on_damaged_row: OnDamagedRow = conduct("fail")
    """What to do about a damaged row: stop, rebuild its part from the inputs of the rows, or skip the row. A row that
    was skipped stays on record, and every later attempt skips it, whatever stands here then."""

    checkpoint_every_steps: int = conduct(1000, ge=1)
    """Steps between committed checkpoints; a killed run loses at most these."""
    keep_last_checkpoints: int = conduct(2, ge=1)
    """How many of the newest checkpoints are kept; older ones are deleted once a newer one is committed."""
    keep_every_steps: int | None = conduct(None, ge=1)
    """Checkpoints at multiples of this many steps are kept for good."""
    keep_last_state: bool = conduct(True)
    """Whether the state after the last step is kept beside the model, with the moments of the optimizer, so that
    `--from STEP@N` can train on from the end. It takes as much of the store as any checkpoint."""

    examine_every_steps: int | None = conduct(None, ge=1)
    """Steps between examinations on held-out rows and questions, where any are bound; a multiple of
    `checkpoint_every_steps`, so that the best is a checkpoint. None examines at every checkpoint."""
    num_heldout_rows: int = conduct(64, ge=1)
    """How many of the held-out rows the loss is taken on: the first ones, which are in no order."""
    num_answers: int = conduct(10, ge=0)
    """How many held-out questions are answered in an examination, each kind in turn."""
    max_answer_tokens: int = conduct(32, ge=1)
    """Longest answer to a held-out question, in tokens."""

    @model_validator(mode="after")
    def _check_steps(self) -> TrainRecipe:
        edges = [0, *self.until_steps, self.num_steps]
        if any(first >= until for first, until in pairwise(edges)):
            raise ValueError(f"until_steps = {self.until_steps} must rise strictly between 0 and {self.num_steps}")
        if self.examine_every_steps is not None and self.examine_every_steps % self.checkpoint_every_steps:
            raise ValueError(
                f"examine_every_steps = {self.examine_every_steps} must be a multiple of checkpoint_every_steps = "
                f"{self.checkpoint_every_steps}"
            )
        if self.last_step > self.num_steps:
            raise ValueError(f"hand_out = {self.hand_out} must be a step of the {self.num_steps}")
        if (self.average_last > 1) != (self.average_every_steps is not None):
            raise ValueError(
                f"average_last = {self.average_last} and average_every_steps = {self.average_every_steps}: the mean of "
                "several states needs both, that of one neither"
            )
        if self.averaged_steps and min(self.averaged_steps) < 1:
            raise ValueError(
                f"average_last = {self.average_last} states, {self.average_every_steps} steps apart, reach back before "
                f"step 1 of {self.last_step}"
            )
        if self.averaged_steps and self.ema_decay is not None:
            raise ValueError("ema_decay and average_last are two averages; the model is one of them")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas = {self.betas} must lie in 0 <= beta < 1")
        return self

    @property
    def last_step(self) -> int:
        """Number of optimizer steps after which the model is handed out."""
        return self.hand_out or self.num_steps

    @property
    def averaged_steps(self) -> tuple[int, ...]:
        """Steps before the last whose states are averaged into the model, in order; () where it is one state."""
        every = self.average_every_steps or 0
        return tuple(self.last_step - number * every for number in range(self.average_last - 1, 0, -1))

    def is_examined(self, num_done: int) -> bool:
        """Whether training is examined after `num_done` steps; it always is after the last."""
        every = self.examine_every_steps or self.checkpoint_every_steps
        return num_done % every == 0 or num_done == self.last_step

    def is_checkpointed(self, num_done: int) -> bool:
        """Whether a checkpoint is due after `num_done` steps. The finished model is committed apart from these."""
        if num_done == self.last_step:
            return self.keep_last_state
        return num_done % self.checkpoint_every_steps == 0 or num_done in self.averaged_steps

    def check_num_rows(self, num_rows: int) -> None:
        """Raise `StageError` unless so many Rows fit `until_steps`."""
        if num_rows != len(self.until_steps) + 1:
            raise StageError(
                f"{num_rows} Rows and until_steps = {self.until_steps}; "
                "each Rows but the last needs the step until which it is read"
            )


def learning_rate(step: int, recipe: TrainRecipe) -> float:
    """The learning rate of step `step`, counted from 0: linear warm-up, then a cosine down to the floor.

    A function of the step alone, so a checkpoint holds no scheduler.
    """
    if step < recipe.num_warmup_steps:
        return recipe.peak_learning_rate * (step + 1) / recipe.num_warmup_steps
    share_done = (step - recipe.num_warmup_steps) / max(1, recipe.num_steps - 1 - recipe.num_warmup_steps)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, share_done)))
    return recipe.peak_learning_rate * (recipe.floor_ratio + (1 - recipe.floor_ratio) * cosine)


def retired_steps(committed: Iterable[int], best: Container[int | None], recipe: TrainRecipe) -> list[int]:
    """Which of the committed checkpoints, given by step, the recipe no longer keeps; never one of `best`, nor one
    that is to be averaged."""
    every = recipe.keep_every_steps
    old = sorted(committed)[: -recipe.keep_last_checkpoints]
    needed = recipe.averaged_steps
    return [step for step in old if step not in {*needed} and step not in best and (every is None or step % every)]


def best_step(losses: Mapping[int, float | None]) -> int | None:
    """The step with the least held-out loss, the earliest of equals; None where nothing was examined."""
    examined = {step: loss for step, loss in sorted(losses.items()) if loss is not None}
    return min(examined, key=lambda step: examined[step]) if examined else None
