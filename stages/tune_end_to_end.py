"""Train a whole NEO, or named parts of it, or adapters beside its weights, from a merged or an earlier checkpoint.

Reads  Checkpoint, Rows (several, in the order of training)
       Rows, Conversations   `heldout_rows` and `questions`, if any: the held-out set, which training never sees
Makes  Checkpoint   the last checkpoint: model/ in the released layout, tokenizer and settings of the one read

Where less than everything trains, frozen weights are those of the checkpoint read, bit for bit, and every tensor keeps
its precision. Adapters are added to their weights: summed in fp32, then rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from stages.artifacts.kinds import Checkpoint, Conversations, Rows
from stages.contract import GangLayout, Rank, StageContext, StageError, stage
from stages.formats.packed_rows.row_map import mapped_rows
from stages.formats.tokenizer import check_same_tokenizer, tokenizer_of
from stages.training.held_out import HeldOut
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.trained_parts import (
    PartialTrainRecipe,
    choose_trained,
    factors_of_parameters,
    merged_weights,
)

if TYPE_CHECKING:
    from torch import Tensor

    from neo_model.config import NeoConfig
    from neo_model.model import NeoModel
    from stages.training.objectives.masking import Masking


CONFIG_FILE: Final = "config.json"


class TuneRecipe(PartialTrainRecipe, ObjectivesRecipe):
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


def write_partly_trained(  # noqa: PLR0917 - the last three are given by training
    model: NeoModel,
    recipe: TuneRecipe,
    start: Path,
    folder: Path,
    parameters: Iterable[tuple[str, Tensor]],
    config: NeoConfig,
) -> None:
    """Write the whole model as a released folder, with adapters merged and frozen weights as in the folder `start`."""
    from neo_model.weights.released import read_checkpoint, read_sidecars, write_released

    originals = read_checkpoint(start)[1]
    tensors = dict(merged_weights(parameters, originals, model, recipe))
    write_released(folder, config, tensors, read_sidecars(start))


def tune_rank(  # noqa: PLR0917 - a gang gives the first, the stage the others
    rank: Rank, recipe: TuneRecipe, start: Checkpoint, rows: Sequence[Rows], held_out: HeldOut, masking: Masking | None
) -> None:
    """Train on one rank of the worker group."""
    from neo_model.weights.released import load_model, read_sidecars
    from stages.training.examination import examiner_of
    from stages.training.loop import train

    rank.busy("reading the model")
    with start.linked_in(rank.scratch / "start") as folder:
        model = load_model(folder)
        choose_trained(model, recipe)
        examiner = examiner_of(held_out, rank, recipe, rows, config=model.config, tokenizer_folder=folder)
        if recipe.trains_all:
            write_model = partial(write_checkpoint, sidecars=read_sidecars(folder))
        else:
            write_model = partial(write_partly_trained, model, recipe, folder)
        train(rank, recipe, rows, model, write_model=write_model, held_out=examiner, masking=masking)


def check_trained(recipe: TuneRecipe, start: Checkpoint) -> None:
    """Raise `StageError` where the model of `start` has not what `recipe` trains, before machines are asked for."""
    import torch

    from neo_model.config import NeoConfig
    from neo_model.model import NeoModel

    if recipe.trains_all and not recipe.learning_rate_factors:
        return
    entry = start.find_file(CONFIG_FILE)
    if entry is None:
        raise StageError(f"{start!r} has no {CONFIG_FILE}, so what of it trains cannot be checked")
    config = NeoConfig.from_released(start.read_json(entry))
    with torch.device("meta"):
        model = NeoModel(config)
    choose_trained(model, recipe)
    factors_of_parameters(model, recipe.learning_rate_factors)


def masking_of(recipe: TuneRecipe, start: Checkpoint) -> Masking | None:
    """How documents are masked. Raises `StageError` where the tokenizer of `start` has not the recipe's mask token."""
    if not recipe.masked_share:
        return None
    from stages.training.objectives.masking import Masking

    return Masking.of(recipe, tokenizer_of(start))


def check_ranks(layout: GangLayout, recipe: TuneRecipe, start: Checkpoint) -> None:
    """Raise `StageError` for a layout in which the ranks would refuse to train, before machines are asked for."""
    from neo_model.config import NeoConfig
    from stages.training.engine.execution import check_layout

    entry = start.find_file(CONFIG_FILE)
    if entry is None:
        raise StageError(f"{start!r} has no {CONFIG_FILE}, so how its heads are shared cannot be checked")
    check_layout(layout, NeoConfig.from_released(start.read_json(entry)), recipe)


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
    check_trained(recipe, start)
    held_out = HeldOut(heldout_rows, questions)
    held_out.check(rows)
    work = partial(
        tune_rank,
        recipe=recipe,
        start=start,
        rows=tuple(map(mapped_rows, rows)),
        held_out=held_out.for_ranks(),
        masking=masking_of(recipe, start),
    )
    ctx.gang(work, rows_per_step=recipe.rows_per_step, check=partial(check_ranks, recipe=recipe, start=start))
