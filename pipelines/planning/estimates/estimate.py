"""Estimates of training before it is run: parameters, GPU and host memory, tokens, FLOPs, days, price.

Owns the estimate of a training step from expected sizes (`expected_sizes.py`), the site's layout and the numbers that
are assumed (`assumptions.py`). Parameters, memory (`stages/training/engine/memory.py` and
`neo_model/costs/activation_memory.py`, which tests compare with measurements) and FLOPs (`neo_model/costs/flops.py`)
are computed, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Final, get_args

from cluster.site import GangResources, Site
from neo_model.costs.exchange import exchanged_bytes
from neo_model.costs.flops import Work, recomputed_flops, training_flops
from neo_model.costs.gpus import GPUS, Gpu
from pipelines.exits import BadCommandError
from pipelines.planning.estimates.assumptions import Assumptions
from pipelines.planning.estimates.expected_sizes import ExpectedRows, ExpectedSizes
from pipelines.planning.estimates.fitting import changes, fits, nearest_fit
from pipelines.planning.estimates.step_costs import (
    StepMemory,
    compared_bytes,
    fullest_micro_batch,
    pooling_flops,
    rows_work,
    with_captions,
)
from stages.contract import GangLayout, Recipe, StageError
from stages.training.loading.split import RowSplit
from stages.training.recipe import TrainRecipe

if TYPE_CHECKING:
    from neo_model.config import NeoConfig
    from stages.training.engine.memory import RankMemory

SECONDS_PER_DAY: Final = 86_400
UPDATE_BYTES_PER_VALUE: Final = 28
"""Bytes of host memory that AdamW moves for a value: it reads weight, gradient and both moments, writes all but the
gradient, in fp32."""


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
    first_step: int
    """Optimizer steps that were taken before it begins: those before a fork, else 0. They count in nothing below."""
    num_steps: int
    """Optimizer steps."""
    num_tokens: float
    """Tokens read in all optimizer steps."""
    num_rows: int
    """Packed rows read in all optimizer steps."""
    rows: tuple[ExpectedRows, ...]
    """Sizes of the rows of each span, in order."""
    flops: float
    """FLOPs of all optimizer steps, forward and backward, those of `contrastive_flops` among them."""
    contrastive_flops: float
    """FLOPs of all optimizer steps for a contrastive loss: captions that are read once more, and the pass that pools
    where a rank has several micro-batches a step. At most: as if each supervised token were of a pair's caption."""
    recomputed_flops: float
    """FLOPs that activation checkpointing adds in all optimizer steps; 0 without it."""
    gang: GangResources
    """The worker group that the site gives to the step."""
    gpu: Gpu | None
    """The type of GPU; None on CPUs, or if the site names no type."""
    days: float | None
    """Days of training, in which count the places that the rows of a step leave empty, what is recomputed, updates in
    host memory, and what ranks that share rows exchange; None if the peak rate of the devices is not known."""
    price_per_hour: float | None
    """Price of a GPU for an hour; None if it was not told."""
    exchanged_bytes: float
    """Bytes that a rank sends for a mean row to those that share it; 0 where none do."""
    remedy: str
    """What to change in the site's layout where this one does not fit the GPU: `zero_stage = 3`; '' if it fits, if that
    is not known, or if no layout fits."""
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
    def refused(self) -> str:
        """Why training would refuse the site's layout; '' if it would not."""
        return next(one.refused for one in self.layouts if one.zero_stage == self.gang.zero_stage)

    @property
    def fits(self) -> bool:
        """Whether training would take the site's layout and a rank fits its GPU, as far as that is known."""
        return not self.refused and (self.gpu is None or fits(self.chosen.peak, self.gpu))

    @property
    def price(self) -> float | None:
        """Price of all ranks for all days; None if days or price are not known."""
        if self.days is None or self.price_per_hour is None:
            return None
        return self.days * 24 * self.gang.num_ranks * self.price_per_hour

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
            "first_step": self.first_step,
            "num_steps": self.num_steps,
            "num_rows": self.num_rows,
            "num_tokens": round(self.num_tokens),
            "rows_are_measured": self.rows_are_measured,
            "flops": self.flops,
            "contrastive_flops": self.contrastive_flops,
            "recomputed_flops": self.recomputed_flops,
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
            "sequence_ranks": self.gang.sequence_ranks,
            "exchanged_bytes": round(self.exchanged_bytes),
            "days": self.days,
            "idle_share": self.split.idle_share,
            "price": self.price,
            "peak_bytes": self.chosen.peak,
            "host_bytes": self.chosen.host_peak,
            "fits": self.fits,
            "remedy": self.remedy,
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
    price_per_hour: float | None = None
    """Price of a GPU for an hour, if it is known."""

    def steps(self) -> Iterator[Estimate]:
        """An estimate for each training step, in the order of the plan."""
        for step in self.sizes.plan.request.steps:
            if not step.used and isinstance(self._recipe(step.name), TrainRecipe):
                yield self.step(step.name)

    def step(self, name: str) -> Estimate:
        """The estimate of one training step. Raises `CommandError` if its sizes or the GPU are not known."""
        gang = self._gang(name)
        if why := gang.why_not_grouped():
            raise BadCommandError(f"site {self.site.name!r}: step {name}: {why}", then="neo estimate --help")
        least = self._with(name, gang.of_size(gang.num_ranks))
        if gang.max_ranks is None or gang.max_ranks == gang.num_ranks:
            return least
        return replace(least, largest=self._with(name, gang.of_size(gang.max_ranks)))

    def _with(self, name: str, gang: GangResources) -> Estimate:
        """The estimate of one training step with exactly the ranks of `gang`."""
        recipe = self._recipe(name)
        assert isinstance(recipe, TrainRecipe), f"{name} is no training step"
        step = self.sizes.plan.request.step(name)
        begins = step.fork.at_step if step.fork else 0
        config, gpu = self.sizes.config(name), _gpu(gang, self.gpu_name)
        num_rows, rows = _left_to_read(recipe, begins, self.sizes.rows(name))
        works = [rows_work(one, self.assumptions) for one in rows]
        fullest = with_captions(fullest_micro_batch(rows, works, gang.micro_rows), recipe, self.assumptions)
        compared = max(compared_bytes(config, work, recipe, self.assumptions) for work in works)
        memory = replace(StepMemory.of(config, recipe, gang, fullest), compared_bytes=compared)
        refused = partial(_why_refused, recipe, gang, config)
        layouts = tuple(_layouts(memory, gang, refused))
        pairs = list(zip(num_rows, works, strict=True))
        split = RowSplit.of(recipe.rows_per_step, gang.layout, 0, gang.num_ranks)
        read = [(number, with_captions(work, recipe, self.assumptions)) for number, work in pairs]
        plain = sum(number * training_flops(config, work, memory.trained) for number, work in pairs)
        flops = sum(number * training_flops(config, work, memory.trained) for number, work in read)
        flops += sum(number * pooling_flops(config, work, recipe, split.num_micro_batches) for number, work in read)
        again = sum(number * recomputed_flops(config, work, memory.trained) for number, work in read)
        recomputed = again if gang.activation_checkpointing else 0.0
        estimate = Estimate(
            step=name,
            stage=step.stage,
            num_parameters=memory.counts.num_values,
            num_trainable=memory.counts.num_trainable,
            first_step=begins,
            num_steps=recipe.last_step - begins,
            num_tokens=sum(number * work.num_tokens for number, work in pairs),
            num_rows=sum(num_rows),
            rows=tuple(rows),
            flops=flops,
            contrastive_flops=flops - plain,
            recomputed_flops=recomputed,
            gang=gang,
            gpu=gpu,
            days=None,
            price_per_hour=self.price_per_hour,
            exchanged_bytes=_exchanged_bytes(config, pairs, memory, gang),
            remedy="",
            split=split,
            layouts=layouts,
        )
        if gpu is None:
            return estimate
        estimate = replace(estimate, days=self._days(estimate, gpu))
        found = None if estimate.fits else nearest_fit(memory, gang, gpu, refused)
        return estimate if found is None else replace(estimate, remedy=changes(found, gang))

    def _days(self, estimate: Estimate, gpu: Gpu) -> float:
        """Days of a training whose other numbers are known."""
        gang, assumed = estimate.gang, self.assumptions
        rate = gpu.bf16_flops * assumed.mfu * gang.num_ranks * (1 - estimate.split.idle_share)
        seconds = (estimate.flops + estimate.recomputed_flops) / rate
        if gang.offload_optimizer:
            num_updated = estimate.num_trainable / gang.num_ranks
            update = num_updated * UPDATE_BYTES_PER_VALUE / (assumed.host_gb_per_second * 1e9)
            seconds += estimate.num_steps * update
        num_rows_each = estimate.num_rows / gang.layout.num_groups
        seconds += num_rows_each * estimate.exchanged_bytes / (assumed.link_gb_per_second * 1e9)
        return seconds / SECONDS_PER_DAY

    def _recipe(self, name: str) -> Recipe:
        return self.sizes.plan.request.load_step(name)[1]

    def _gang(self, name: str) -> GangResources:
        return self.site.resources(stage=self.sizes.plan.request.step(name).stage, step=name).gang


def _left_to_read(recipe: TrainRecipe, begins: int, rows: list[ExpectedRows]) -> tuple[list[int], list[ExpectedRows]]:
    """How many rows the steps after `begins` read in each span, and of which sizes; spans that are over are left out.

    Where no step is left, as in a fork that hands out the state that it begins from, the last span stays, with no rows.
    """
    edges = [min(max(begins, step), recipe.last_step) for step in (0, *recipe.until_steps, recipe.num_steps)]
    numbers = [recipe.rows_per_step * (until - first) for first, until in pairwise(edges)]
    left = [(number, one) for number, one in zip(numbers, rows, strict=True) if number] or [(0, rows[-1])]
    return [number for number, _ in left], [one for _, one in left]


def _exchanged_bytes(
    config: NeoConfig, rows: Sequence[tuple[int, Work]], memory: StepMemory, gang: GangResources
) -> float:
    """Bytes that a rank sends for the mean of `rows`, numbers of rows with the work of each."""
    num_tokens = sum(number * work.num_tokens for number, work in rows) / max(1, sum(number for number, _ in rows))
    return exchanged_bytes(
        config,
        round(num_tokens),
        gang.sequence_ranks,
        memory.trained,
        value_bytes=memory.value_bytes,
        recomputes=gang.activation_checkpointing,
    )


def _layouts(memory: StepMemory, gang: GangResources, refused: Callable[[GangLayout], str]) -> Iterator[ZeroLayout]:
    """Memory of a rank under each ZeRO stage."""
    from stages.training.engine.memory import ZeroStage

    for zero_stage in get_args(ZeroStage):
        layout = gang.layout.model_copy(update={"zero_stage": zero_stage})
        plain, frugal = (
            memory.with_layout(layout.model_copy(update={"activation_checkpointing": checkpointing}))
            for checkpointing in (False, True)
        )
        yield ZeroLayout(zero_stage=zero_stage, refused=refused(layout), memory=plain, frugal=frugal)


def _why_refused(recipe: TrainRecipe, gang: GangResources, config: NeoConfig, layout: GangLayout) -> str:
    """The error with which the training stage would refuse `layout` on the devices of `gang`; '' if it would not."""
    from stages.training.engine.deepspeed_config import deepspeed_config
    from stages.training.engine.execution import why_pairs_not_compared
    from stages.training.engine.sequence_group import why_not_shared

    unshared = why_not_shared(config, layout.sequence_ranks) or why_pairs_not_compared(recipe, layout)
    if why := layout.why_not_grouped() or unshared:
        return why
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
