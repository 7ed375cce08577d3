"""What one training step costs, computed: parameters, work of its rows, and memory of a rank under any layout.

Owns what of a model a recipe trains, seen on the meta device, the work of a row that is not packed yet, and memory
(`StepMemory`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Final

from cluster.site import GangResources
from neo_model.costs.flops import Trained, Work, forward_flops
from pipelines.exits import BadCommandError
from pipelines.planning.estimates.assumptions import Assumptions
from pipelines.planning.estimates.expected_sizes import ExpectedRows
from stages.contract import GangLayout, StageError
from stages.train_prebuffer import TrainPrebufferRecipe
from stages.training.objectives.fields import ObjectivesRecipe
from stages.training.recipe import Precision, TrainRecipe
from stages.training.trained_parts import PartialTrainRecipe, choose_trained

if TYPE_CHECKING:
    from neo_model.config import NeoConfig
    from neo_model.model import NeoModel
    from stages.training.engine.memory import ParameterCounts, RankMemory

FP32_BYTES: Final = 4
SCORE_BLOCK_BYTES: Final = 2**26
"""A block of scores of `objectives/info_nce.py`, which are fp32."""
NUM_SCORE_BLOCKS: Final = 3
"""Blocks of that size at a time: the scores and two shares made of them."""


@dataclass(frozen=True)
class StepMemory:
    """Memory of a rank in one training step, for any layout with the site's rows, backend and persistent parameters."""

    counts: ParameterCounts
    """Parameters: all, those that train, and those that ZeRO does not partition."""
    trained: Trained
    """How much of the model trains."""
    activation_bytes: Callable[[bool, int], int]
    """Peak of the activations of a micro-batch, with activation checkpointing or without, on so many ranks."""
    precision: Precision
    on_gpu: bool
    keeps_ema: bool = False
    """Whether the recipe keeps a moving average of the weights."""
    compared_bytes: int = 0
    """Beside the activations, to compare the pairs of a step."""

    @classmethod
    def of(cls, config: NeoConfig, recipe: TrainRecipe, gang: GangResources, work: Work) -> StepMemory:
        """`work` is the micro-batch that needs most memory. Raises `BadCommandError` where the model has not what the
        recipe trains."""
        import torch

        from neo_model.attention.backends import backend_named
        from neo_model.costs.activation_memory import TrainingSetup, activation_bytes

        counts, trained = _counts_of(config, recipe, gang)
        dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
        device = torch.device("cuda" if gang.gpus else "cpu")
        setup = partial(
            TrainingSetup,
            prepare=_prepare_shallow(recipe),
            dtype=dtype,
            backend=backend_named(gang.attention, device, dtype, config.query_key_dim),
        )

        @cache  # rehearsed once for each, and for what is asked for alone
        def saved_bytes(frugal: bool, sequence_ranks: int) -> int:
            how = setup(activation_checkpointing=frugal, sequence_ranks=sequence_ranks)
            return activation_bytes(_above_frozen(config, trained), work, how)

        return cls(counts, trained, saved_bytes, recipe.precision, gang.gpus > 0, recipe.ema_decay is not None)

    @property
    def value_bytes(self) -> int:
        """Bytes of a value in forward and backward."""
        from stages.training.engine.memory import BYTES_PER_VALUE

        return BYTES_PER_VALUE[self.precision]

    def with_layout(self, layout: GangLayout) -> RankMemory:
        """Memory of a rank under `layout`."""
        from stages.training.engine.memory import rank_memory

        saved_bytes = self.activation_bytes(layout.activation_checkpointing, layout.sequence_ranks)
        saved_bytes += self.compared_bytes
        return rank_memory(
            self.counts,
            layout,
            saved_bytes,
            precision=self.precision,
            on_gpu=self.on_gpu,
            keeps_ema=self.keeps_ema,
        )


def rows_work(rows: ExpectedRows, assumptions: Assumptions) -> Work:
    """The work of the mean row: measured if the rows are committed, else computed from the assumptions."""
    if rows.measured is not None:
        measured = rows.measured
        return replace(measured, num_supervised=round(assumptions.supervised_share * measured.num_tokens))
    num_tokens = rows.row_tokens * assumptions.fill
    # A document of n tokens has n (n + 1) / 2 causal pairs, and a row of N tokens N / n documents: N (n + 1) / 2 pairs.
    length = min(assumptions.document_tokens, num_tokens)
    return Work(
        num_tokens=round(num_tokens),
        num_pairs=round(num_tokens * (length + 1) / 2),
        num_patches=4 * round(num_tokens * assumptions.image_share),
        num_supervised=round(num_tokens * assumptions.supervised_share),
    )


def with_captions(work: Work, recipe: TrainRecipe, assumptions: Assumptions) -> Work:
    """The work of a row of which captions are read once more, where the recipe compares them with pictures.

    As if each supervised token stood in the caption of a pair, which is the most that there can be.
    """
    if not isinstance(recipe, ObjectivesRecipe) or not recipe.compares_pairs:
        return work
    num_added = work.num_supervised
    return replace(
        work,
        num_tokens=work.num_tokens + num_added,
        num_pairs=work.num_pairs + round(num_added * (_caption_tokens(assumptions) + 1) / 2),
    )


def pooling_flops(config: NeoConfig, work: Work, recipe: TrainRecipe, num_micro_batches: int) -> float:
    """FLOPs of the pass that pools a row before the passes of its step: forward, without the head. None where a rank
    has one micro-batch a step, or pairs are not compared."""
    if num_micro_batches == 1 or not isinstance(recipe, ObjectivesRecipe) or not recipe.compares_pairs:
        return 0.0
    return forward_flops(config, replace(work, num_supervised=0))


def compared_bytes(config: NeoConfig, work: Work, recipe: TrainRecipe, assumptions: Assumptions) -> int:
    """Bytes that a rank holds to compare the pairs of a step; `work` is that of the mean row, without more captions.

    Pooled states of all ranks, pictures and captions, once as they come and once end to end, and blocks of scores.
    """
    if not isinstance(recipe, ObjectivesRecipe) or not recipe.compares_pairs:
        return 0
    num_pairs = recipe.rows_per_step * work.num_supervised / _caption_tokens(assumptions)
    return round(2 * FP32_BYTES * (2 * num_pairs * config.hidden) + NUM_SCORE_BLOCKS * SCORE_BLOCK_BYTES)


def _caption_tokens(assumptions: Assumptions) -> float:
    return max(1.0, assumptions.document_tokens * assumptions.supervised_share)


def fullest_micro_batch(rows: Sequence[ExpectedRows], works: Sequence[Work], micro_rows: int) -> Work:
    """The work of the micro-batch that needs most memory: `micro_rows` full rows of the longest kind.

    Of rows of 1,024 and of 4,096 tokens, the second filled to 4,000, and `micro_rows` 2, it has 8,192 tokens.
    """
    longest, work = max(zip(rows, works, strict=True), key=lambda pair: pair[0].row_tokens)
    scale = micro_rows * longest.row_tokens / work.num_tokens
    return Work(**{name: round(number * scale) for name, number in asdict(work).items()})


def _counts_of(config: NeoConfig, recipe: TrainRecipe, gang: GangResources) -> tuple[ParameterCounts, Trained]:
    """Counts of the model's parameters, and how much of it trains."""
    import torch

    from neo_model.costs.trained import trained_of
    from neo_model.model import NeoModel
    from stages.training.engine.memory import ParameterCounts

    with torch.device("meta"):
        model = NeoModel(config)
    try:
        _prepare(recipe)(model)
    except StageError as error:
        raise BadCommandError(str(error), then="neo estimate --help") from error
    return ParameterCounts.of(model, gang.persistent_parameter_values), trained_of(model)


def _prepare(recipe: TrainRecipe) -> Callable[[NeoModel], None]:
    """The function that freezes what a training step does not train, and adds adapters, in a model of any depth."""
    from neo_model.weights.partition import freeze_for_stage1

    if isinstance(recipe, TrainPrebufferRecipe):
        return freeze_for_stage1
    assert isinstance(recipe, PartialTrainRecipe), f"it is not known what a {type(recipe).__name__} trains"
    return partial(choose_trained, recipe=recipe)


def _prepare_shallow(recipe: TrainRecipe) -> Callable[[NeoModel], None]:
    """The same for a model with fewer layers than the real one, all of which train where so many last ones do."""

    def prepare(model: NeoModel) -> None:
        top = recipe.trained_top_layers if isinstance(recipe, PartialTrainRecipe) else None
        fewer = {} if top is None else {"trained_top_layers": min(top, len(model.layers))}
        _prepare(recipe.model_copy(update=fewer))(model)

    return prepare


def _above_frozen(config: NeoConfig, trained: Trained) -> NeoConfig:
    """The layers that the backward pass runs through, as a model: those below keep nothing for it."""
    num_prebuffer = max(0, trained.num_layers - config.num_post_llm_layers)
    return replace(config, num_layers=max(1, trained.num_layers), num_prebuffer_layers=num_prebuffer)
