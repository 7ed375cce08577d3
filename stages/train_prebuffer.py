"""Train the new parameters that let a language model see: patch embedding, pre-Buffer, height/width queries and keys.

Reads  Rows (several, in the order of training), BaseLlm
       Rows, Conversations   `heldout_rows` and `questions`, if any: the held-out set, which training never sees
       PreBuffer             `start`, if any: the weights to begin with
Makes  PreBuffer   the last checkpoint: model/prebuffer.safetensors, model/prebuffer.json

The language model is frozen: embedding, head and all inherited layers are bit-identical at the end, which the last
checkpoint's facts record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field, field_validator

from neo_model.parts import PREBUFFER_PARTS, ModelPart
from stages.artifacts.kinds import PREBUFFER_WEIGHTS_FILE, BaseLlm, Conversations, PreBuffer, Rows
from stages.contract import GangLayout, Rank, StageContext, StageError, stage
from stages.formats.packed_rows.row_map import mapped_rows
from stages.formats.prebuffer import check_fit, write_prebuffer
from stages.formats.tokenizer import check_same_tokenizer
from stages.training.held_out import HeldOut
from stages.training.recipe import TrainRecipe

if TYPE_CHECKING:
    from neo_model.model import NeoModel


CONFIG_FILE: Final = "config.json"


class TrainPrebufferRecipe(TrainRecipe):
    """Pre-Buffer pre-training; the defaults are those of the NEO paper (arXiv 2510.14979, table 5)."""

    num_prebuffer_layers: int = Field(default=12, ge=1, le=1_000)
    """New layers in front of the language model's."""
    patch_hidden: int = Field(default=1024, ge=4, le=1_000_000)
    """Channels between the two convolutions of the patch embedding."""
    peak_learning_rate: float = Field(default=8e-4, gt=0)
    """AdamW learning rate after warm-up."""
    num_warmup_steps: int = Field(default=2000, ge=0)
    """Steps over which the learning rate rises linearly to its peak."""
    floor_ratio: float = Field(default=0.05, ge=0, le=1)
    """Learning rate at the end of the cosine, as a share of the peak."""
    rebase: bool = False
    """Accept a `start` that was trained against another language model of the same widths."""

    @field_validator("learning_rate_factors")
    @classmethod
    def _check_factors(cls, factors: Mapping[ModelPart, float]) -> Mapping[ModelPart, float]:
        frozen = sorted(set(factors) - set(PREBUFFER_PARTS))
        if frozen:
            raise ValueError(
                f"{', '.join(frozen)} does not train here; the parts that do: {', '.join(PREBUFFER_PARTS)}"
            )
        return factors


def untrained_model(llm_folder: Path, recipe: TrainPrebufferRecipe) -> NeoModel:
    """The model before the first step: it computes what the language model does, with new weights drawn by the seed.

    Its weights are mapped from files that the ranks of a host share. Only parameters that this stage trains require a
    gradient.
    """
    import torch

    from neo_model.config import NeoConfig
    from neo_model.inputs.conversation import load_tokenizer, special_ids
    from neo_model.model import NeoModel
    from neo_model.weights.partition import freeze_for_stage1
    from neo_model.weights.released import read_config_json
    from stages.training.first_weights import first_weights

    qwen3 = read_config_json(llm_folder)
    ids = special_ids(load_tokenizer(llm_folder, vocab_size=qwen3["vocab_size"]))
    config = NeoConfig.from_qwen3(
        qwen3,
        num_prebuffer_layers=recipe.num_prebuffer_layers,
        image_start_id=ids.image_start,
        image_context_id=ids.image_context,
        image_end_id=ids.image_end,
        patch_hidden=recipe.patch_hidden,
    )
    with torch.device("meta"):
        model = NeoModel(config)
    model.load_state_dict(first_weights(llm_folder, config, recipe.seed), assign=True)
    freeze_for_stage1(model)
    return model


def load_prebuffer(model: NeoModel, prebuffer_folder: Path) -> None:
    """Load the weights of a pre-Buffer into `model`. Raises TensorMismatchError where it has other layers."""
    from safetensors.torch import load_file

    from neo_model.weights.partition import parameter_shapes, prebuffer_keys
    from neo_model.weights.tensor_report import check_tensors

    tensors, wanted = load_file(prebuffer_folder / PREBUFFER_WEIGHTS_FILE), prebuffer_keys(model.config)
    shapes = {name: shape for name, shape in parameter_shapes(model.config).items() if name in wanted}
    check_tensors(tensors, shapes, what="the pre-Buffer to begin with")
    model.load_state_dict(tensors, strict=False, assign=True)


def train_rank(
    rank: Rank,
    recipe: TrainPrebufferRecipe,
    rows: Sequence[Rows],
    llm: BaseLlm,
    *,
    held_out: HeldOut,
    start: PreBuffer | None,
) -> None:
    """Train on one rank of the worker group."""
    from stages.training.examination import examiner_of
    from stages.training.loop import train

    rank.busy("reading the model")
    with ExitStack() as used:
        folder = used.enter_context(llm.linked_in(rank.scratch / "llm"))
        model = untrained_model(folder, recipe)
        if start is not None:
            load_prebuffer(model, used.enter_context(start.linked_in(rank.scratch / "start")))
        examiner = examiner_of(held_out, rank, recipe, rows, config=model.config, tokenizer_folder=folder)
        write_model = partial(write_prebuffer, against=llm, taken_over=start)
        train(rank, recipe, rows, model, write_model=write_model, held_out=examiner)


def check_ranks(layout: GangLayout, recipe: TrainPrebufferRecipe, llm: BaseLlm) -> None:
    """Raise `StageError` for a layout in which the ranks would refuse to train, before machines are asked for."""
    from neo_model.config import NeoConfig
    from stages.training.engine.execution import check_layout

    entry = llm.find_file(CONFIG_FILE)
    if entry is None:
        raise StageError(f"{llm!r} has no {CONFIG_FILE}, so how its heads are shared cannot be checked")
    ids = {"image_start_id": 0, "image_context_id": 1, "image_end_id": 2}  # any will do where heads are counted
    config = NeoConfig.from_qwen3(llm.read_json(entry), num_prebuffer_layers=recipe.num_prebuffer_layers, **ids)
    check_layout(layout, config, recipe)


@stage(number=1, recipe=TrainPrebufferRecipe, makes=PreBuffer, phases=(), conduct_inputs=("heldout_rows", "questions"))
def train_prebuffer(  # noqa: PLR0917 - a stage names what it reads
    recipe: TrainPrebufferRecipe,
    rows: Sequence[Rows],
    llm: BaseLlm,
    heldout_rows: Rows | None,
    questions: Conversations | None,
    start: PreBuffer | None,
    *,
    ctx: StageContext,
) -> None:
    recipe.check_num_rows(len(rows))
    check_same_tokenizer(rows, llm)
    if start is not None:
        check_fit(start, llm, rebase=recipe.rebase)
    held_out = HeldOut(heldout_rows, questions)
    held_out.check(rows)
    work = partial(
        train_rank,
        recipe=recipe,
        rows=tuple(map(mapped_rows, rows)),
        llm=llm,
        held_out=held_out.for_ranks(),
        start=start,
    )
    ctx.gang(work, rows_per_step=recipe.rows_per_step, check=partial(check_ranks, recipe=recipe, llm=llm))
