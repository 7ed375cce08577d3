"""Estimates of training before it is run: parameters, GPU memory, tokens, FLOPs, days.

Owns the estimate of a training step from expected sizes (`expected_sizes.py`) and the site's layout, and the numbers
that are assumed (`Assumptions`). Parameters, memory (`stages/training/engine/memory.py` and
`neo_model/costs/activation_memory.py`, which tests compare with measurements) and FLOPs (`neo_model/costs/flops.py`)
are computed, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final, get_args

from cluster.site import GangResources, Site
from neo_model.costs.flops import Trained, Work, training_flops
from neo_model.costs.gpus import GPUS, Gpu
from pipelines.exits import BadCommandError
from pipelines.planning.expected_sizes import ExpectedRows, ExpectedSizes
from stages.contract import Recipe, StageError
from stages.train_prebuffer import TrainPrebufferRecipe
from stages.training.loading.split import RowSplit
from stages.training.recipe import TrainRecipe
from stages.training.trained_parts import PartialTrainRecipe, choose_trained

if TYPE_CHECKING:
    from neo_model.config import NeoConfig
    from neo_model.model import NeoModel
    from stages.training.engine.memory import ParameterCounts, RankMemory

SECONDS_PER_DAY: Final = 86_400


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """Numbers that are not known before training. Each can be set: `--assume mfu=0.35`."""

    mfu: float = 0.4
    """Model FLOPs utilisation: the model's FLOPs per second of wall time, pauses included, over the GPUs' peak rate."""
    fill: float = 0.98
    """Tokens of a packed row over its capacity, if the rows are not packed yet."""
    document_tokens: float = 1024.0
    """Tokens of a document, if the rows are not packed yet; the cost of attention grows with their square."""
    image_share: float = 0.5
    """Share of visual tokens among all tokens, if the rows are not packed yet."""
    supervised_share: float = 0.3
    """Share of the tokens that the loss is computed on."""

    @classmethod
    def read(cls, settings: Collection[str]) -> Assumptions:
        """The defaults with changes such as `mfu=0.35`. Raises `BadCommandError` for a wrong name or number."""
        return replace(cls(), **dict(cls._read_one(setting) for setting in settings))

    @classmethod
    def _read_one(cls, setting: str) -> tuple[str, float]:
        names = [field.name for field in fields(cls)]
        name, _, text = setting.partition("=")
        most = float("inf") if name == "document_tokens" else 1.0
        try:
            value, trouble = float(text), f"it must lie above 0, at most {most:g}"
        except ValueError:
            value, trouble = 0.0, f"{text!r} is not a number"
        if name not in names:
            trouble = f"nothing is assumed by that name; assumed are {', '.join(names)}"
        if name not in names or not 0 < value <= most:
            raise BadCommandError(f"--assume {setting}: {trouble}", then="neo estimate --help")
        return name, value


@dataclass(frozen=True, kw_only=True)
class ZeroLayout:
    """Memory of a rank under one ZeRO stage, without and with activation checkpointing."""

    zero_stage: int
    refused: str
    """Why training would refuse this layout; '' if it would not."""
    memory: RankMemory
    """Memory of a rank that saves all activations."""
    frugal: RankMemory
    """Memory of a rank with activation checkpointing."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """The estimate of one training step of a pipeline."""

    step: str
    """Name of the pipeline step."""
    stage: str
    """Name of its stage."""
    num_parameters: int
    """Parameters of the whole model."""
    num_trainable: int
    """Parameters that the step trains."""
    num_steps: int
    """Optimizer steps."""
    num_tokens: float
    """Tokens read in all optimizer steps."""
    num_rows: int
    """Packed rows read in all optimizer steps."""
    rows: tuple[ExpectedRows, ...]
    """Sizes of the rows of each span, in order."""
    flops: float
    """FLOPs of all optimizer steps, forward and backward."""
    gang: GangResources
    """The worker group that the site gives to the step."""
    gpu: Gpu | None
    """The type of GPU; None on CPUs, or if the site names no type."""
    days: float | None
    """Days of training, in which the places count that the rows of a step leave empty; None if the peak rate of the
    devices is not known."""
    split: RowSplit
    """How the ranks share the rows of a step."""
    layouts: tuple[ZeroLayout, ...]
    """Memory of a rank under each ZeRO stage."""
    largest: Estimate | None = None
    """The estimate with 16 ranks, where the site says `num_ranks = [8, 16]` and this one is with 8."""

    @property
    def sizes(self) -> tuple[Estimate, ...]:
        """This estimate, and the one with the most ranks if the site gives a choice."""
        return (self,) if self.largest is None else (self, self.largest)

    @property
    def chosen(self) -> RankMemory:
        """Memory of a rank with the site's ZeRO stage and activation checkpointing."""
        layout = next(one for one in self.layouts if one.zero_stage == self.gang.zero_stage)
        return layout.frugal if self.gang.activation_checkpointing else layout.memory

    @property
    def rows_are_measured(self) -> bool:
        """Whether all rows are committed, so that their work is measured and not assumed."""
        return all(rows.measured for rows in self.rows)

    def document(self) -> dict[str, object]:
        """The estimate as a JSON document, for `neo estimate --json`."""
        return {
            "step": self.step,
            "stage": self.stage,
            "num_parameters": self.num_parameters,
            "num_trainable": self.num_trainable,
            "num_frozen": self.num_parameters - self.num_trainable,
            "num_steps": self.num_steps,
            "num_rows": self.num_rows,
            "num_tokens": round(self.num_tokens),
            "rows_are_measured": self.rows_are_measured,
            "flops": self.flops,
            "zero_stage": self.gang.zero_stage,
            "activation_checkpointing": self.gang.activation_checkpointing,
            "gpu": self.gpu.name if self.gpu else None,
            **self._document_of_size(),
            "with_max_ranks": self.largest._document_of_size() if self.largest else None,
        }

    def _document_of_size(self) -> dict[str, object]:
        """What depends on the number of ranks."""
        return {
            "num_ranks": self.gang.num_ranks,
            "days": self.days,
            "idle_share": self.split.idle_share,
            "peak_bytes": self.chosen.peak,
            "layouts": [
                {
                    "zero_stage": one.zero_stage,
                    "refused": one.refused,
                    "memory_bytes": {**asdict(one.memory), "peak": one.memory.peak},
                    "with_checkpointing_bytes": {**asdict(one.frugal), "peak": one.frugal.peak},
                }
                for one in self.layouts
            ],
        }


@dataclass(frozen=True)
class Estimator:
    """Estimates the training steps of a plan on a site."""

    sizes: ExpectedSizes
    site: Site
    assumptions: Assumptions
    gpu_name: str = ""
    """A type of GPU that replaces the site's; '' for the site's own."""

    def steps(self) -> Iterator[Estimate]:
        """An estimate for each training step, in the order of the plan."""
        for step in self.sizes.plan.request.steps:
            if not step.used and isinstance(self._recipe(step.name), TrainRecipe):
                yield self.step(step.name)

    def step(self, name: str) -> Estimate:
        """The estimate of one training step. Raises `CommandError` if its sizes or the GPU are not known."""
        gang = self._gang(name)
        least = self._with(name, gang.of_size(gang.num_ranks))
        if gang.max_ranks is None or gang.max_ranks == gang.num_ranks:
            return least
        return replace(least, largest=self._with(name, gang.of_size(gang.max_ranks)))

    def _with(self, name: str, gang: GangResources) -> Estimate:
        """The estimate of one training step with exactly the ranks of `gang`."""
        recipe = self._recipe(name)
        assert isinstance(recipe, TrainRecipe), f"{name} is no training step"
        config, rows, gpu = self.sizes.config(name), self.sizes.rows(name), _gpu(gang, self.gpu_name)
        counts, trained = counts_of(config, recipe, gang)
        works = [rows_work(one, self.assumptions) for one in rows]
        edges = [0, *(min(step, recipe.last_step) for step in (*recipe.until_steps, recipe.num_steps))]
        num_rows = [recipe.rows_per_step * (until - first) for first, until in pairwise(edges)]
        pairs = list(zip(num_rows, works, strict=True))
        flops = sum(number * training_flops(config, work, trained) for number, work in pairs)
        split = RowSplit.of(recipe.rows_per_step, gang.layout, 0, gang.num_ranks)
        rate = gpu.bf16_flops * self.assumptions.mfu * gang.num_ranks * (1 - split.idle_share) if gpu else None
        return Estimate(
            step=name,
            stage=self.sizes.plan.request.step(name).stage,
            num_parameters=counts.num_values,
            num_trainable=counts.num_trainable,
            num_steps=recipe.last_step,
            num_tokens=sum(number * work.num_tokens for number, work in pairs),
            num_rows=sum(num_rows),
            rows=tuple(rows),
            flops=flops,
            gang=gang,
            gpu=gpu,
            days=flops / rate / SECONDS_PER_DAY if rate else None,
            split=split,
            layouts=tuple(_layouts(config, recipe, gang, fullest_micro_batch(rows, works, gang.micro_rows))),
        )

    def _recipe(self, name: str) -> Recipe:
        return self.sizes.plan.request.load_step(name)[1]

    def _gang(self, name: str) -> GangResources:
        return self.site.resources(stage=self.sizes.plan.request.step(name).stage, step=name).gang


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


def fullest_micro_batch(rows: Sequence[ExpectedRows], works: Sequence[Work], micro_rows: int) -> Work:
    """The work of the micro-batch that needs most memory: `micro_rows` full rows of the longest kind.

    Of rows of 1,024 and of 4,096 tokens, the second filled to 4,000, and `micro_rows` 2, it has 8,192 tokens.
    """
    longest, work = max(zip(rows, works, strict=True), key=lambda pair: pair[0].row_tokens)
    scale = micro_rows * longest.row_tokens / work.num_tokens
    return Work(**{name: round(number * scale) for name, number in asdict(work).items()})


def counts_of(config: NeoConfig, recipe: TrainRecipe, gang: GangResources) -> tuple[ParameterCounts, Trained]:
    """Counts of the model's parameters: all, those that the step trains, and those that ZeRO does not partition; and
    how much of it trains. Raises `BadCommandError` where the recipe trains what the model has not."""
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


def _layouts(config: NeoConfig, recipe: TrainRecipe, gang: GangResources, work: Work) -> Iterator[ZeroLayout]:
    """Memory of a rank under each ZeRO stage; `work` is the micro-batch that needs most memory."""
    import torch

    from neo_model.attention.backends import backend_named
    from neo_model.costs.activation_memory import TrainingSetup, activation_bytes
    from stages.training.engine.memory import ZeroStage, rank_memory

    dtype = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    device = torch.device("cuda" if gang.gpus else "cpu")
    counts, trained = counts_of(config, recipe, gang)
    saved_bytes = {
        frugal: activation_bytes(
            _above_frozen(config, trained),
            work,
            TrainingSetup(
                prepare=_prepare_shallow(recipe),
                dtype=dtype,
                backend=backend_named(gang.attention, device, dtype, config.query_key_dim),
                activation_checkpointing=frugal,
            ),
        )
        for frugal in (False, True)
    }
    for zero_stage in get_args(ZeroStage):
        plain, frugal = (
            rank_memory(
                counts,
                gang.layout.model_copy(update={"zero_stage": zero_stage, "activation_checkpointing": frugal}),
                saved_bytes[frugal],
                precision=recipe.precision,
                on_gpu=gang.gpus > 0,
                keeps_ema=recipe.ema_decay is not None,
            )
            for frugal in (False, True)
        )
        refused = _why_refused(recipe, gang, zero_stage)
        yield ZeroLayout(zero_stage=zero_stage, refused=refused, memory=plain, frugal=frugal)


def _why_refused(recipe: TrainRecipe, gang: GangResources, zero_stage: int) -> str:
    """The error with which the training stage would refuse this layout; '' if it would not."""
    from stages.training.engine.deepspeed_config import deepspeed_config

    layout = gang.layout.model_copy(update={"zero_stage": zero_stage})
    try:
        deepspeed_config(recipe, layout, 1, "cuda:0" if gang.gpus else "cpu")
    except StageError as error:
        return str(error)
    return ""


def _gpu(gang: GangResources, asked: str) -> Gpu | None:
    """The GPU named `asked`, else the site's; None if ranks have no GPU, or the site names no type."""
    name = asked or (gang.gpu if gang.gpus else "")
    if name and name not in GPUS:
        raise BadCommandError(
            f"{name!r} is no GPU whose peak rate is known here; known are {', '.join(GPUS)}", then="neo estimate --help"
        )
    return GPUS[name] if name else None
