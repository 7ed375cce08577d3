"""Which weights become the model of a finished training: those of its last step, or an average.

Owns the check, before a step is paid for, that what will be averaged is there, and the fact that says what was done.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from stages.contract import PartRecord, StageError
from stages.training.checkpoints.checkpoint import Checkpoints
from stages.training.checkpoints.facts import CheckpointFacts
from stages.training.collectives import gather_values
from stages.training.engine.weight_average import Fill
from stages.training.engine.zero_slices import ParameterSlice


def check_averaged(checkpoints: Checkpoints, num_done: int) -> None:
    """Raise `StageError` where a state that will be averaged was passed and is not kept. Collective."""
    kept = _kept(checkpoints)
    lost = [step for step in checkpoints.recipe.averaged_steps if step <= num_done and step not in kept]
    if lost:
        raise StageError(
            f"the model is to be the mean of states that are not kept any more: those of steps {lost}; kept are "
            f"{sorted(kept)}. Set average_last = 1, or a smaller one with an average_every_steps that meets these"
        )


def hand_out(checkpoints: Checkpoints) -> dict[str, Any]:
    """Give the engine the weights that become the model; the fact that says which, {} for the last state. Collective.

    Raises `StageError` where a state that is averaged cannot be read.
    """
    recipe, engine = checkpoints.recipe, checkpoints.engine
    if recipe.ema_decay is not None:
        engine.take_average()
        return {"handed_out": {"ema_decay": recipe.ema_decay}}
    if recipe.averaged_steps:
        checkpoints.finish()
        engine.take_mean(_states(checkpoints))
        return {"handed_out": {"mean_of_steps": [*recipe.averaged_steps, recipe.last_step]}}
    return {}


def _states(checkpoints: Checkpoints) -> Iterator[Fill]:
    """The averaged states before the last, in order."""
    kept = _kept(checkpoints)
    return (partial(_fill, checkpoints, kept[step]) for step in checkpoints.recipe.averaged_steps)


def _fill(checkpoints: Checkpoints, record: PartRecord, slices: Sequence[ParameterSlice]) -> None:
    """Fill slices from a state that is averaged. Collective."""
    if damage := checkpoints.read(record, slices):
        raise StageError(
            f"the checkpoint at step {CheckpointFacts.of(record).step}, of which the model is to be a mean, is "
            f"damaged: {damage}. Put the file back from a copy, or set average_last = 1"
        )


def _kept(checkpoints: Checkpoints) -> dict[int, PartRecord]:
    """Step to the record of each kept checkpoint, as rank 0 finds them."""
    rank = checkpoints.rank
    found: list[PartRecord] = gather_values(rank.checkpoints.kept() if rank.rank == 0 else None)[0]
    return {CheckpointFacts.of(record).step: record for record in found}
