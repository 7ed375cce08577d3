"""Train a whole NEO: every parameter, from a merged or an earlier checkpoint.

Reads  Checkpoint, Rows (several, in the order of training)
       Rows, Conversations   `heldout_rows` and `questions`, if any: the held-out set, which training never sees
Makes  Checkpoint   the last checkpoint: model/ in the released layout, tokenizer and settings of the one read
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from stages.artifacts.kinds import Checkpoint, Conversations, Rows
from stages.contract import Rank, StageContext, stage
from stages.formats.tokenizer import check_same_tokenizer
from stages.training.held_out import HeldOut
from stages.training.recipe import TrainRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from neo_model.config import NeoConfig


class TuneRecipe(TrainRecipe):
    """End-to-end tuning; the defaults are those of NEO's mid-training (arXiv 2510.14979, table 5)."""

    peak_learning_rate: float = Field(default=4e-5, gt=0)
    """AdamW learning rate after warm-up."""
    num_warmup_steps: int = Field(default=200, ge=0)
    """Steps over which the learning rate rises linearly to its peak."""


def write_checkpoint(
    folder: Path, parameters: Iterable[tuple[str, Tensor]], config: NeoConfig, sidecars: Mapping[str, bytes]
) -> None:
    """Write the whole model as a released folder."""
    from neo_model.weights.released import write_released

    write_released(folder, config, {name: value.cpu().clone() for name, value in parameters}, sidecars)


def tune_rank(rank: Rank, recipe: TuneRecipe, start: Checkpoint, rows: Sequence[Rows], held_out: HeldOut) -> None:
    """Train on one rank of the worker group."""
    from neo_model.weights.released import load_model, read_sidecars
    from stages.training.examination import examiner_of
    from stages.training.loop import train

    folder = start.copy_to(rank.scratch / "start")
    model, write_model = load_model(folder), partial(write_checkpoint, sidecars=read_sidecars(folder))
    examiner = examiner_of(held_out, rank, recipe, rows, config=model.config, tokenizer_folder=folder)
    train(rank, recipe, rows, model, write_model=write_model, held_out=examiner)


@stage(number=1, recipe=TuneRecipe, makes=Checkpoint, phases=(), conduct_inputs=("heldout_rows", "questions"))
def tune_end_to_end(
    recipe: TuneRecipe,
    start: Checkpoint,
    rows: Sequence[Rows],
    heldout_rows: Rows | None,
    questions: Conversations | None,
    *,
    ctx: StageContext,
) -> None:
    recipe.check_num_rows(len(rows))
    check_same_tokenizer(rows, start)
    held_out = HeldOut(heldout_rows, questions)
    held_out.check(rows)
    work = partial(tune_rank, recipe=recipe, start=start, rows=tuple(rows), held_out=held_out)
    ctx.gang(work, rows_per_step=recipe.rows_per_step)
