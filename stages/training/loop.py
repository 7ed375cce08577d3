"""The training loop: optimizer steps from the last committed checkpoint to the finished model.

Owns the order of events within a step and between steps. A step is a function of its number: its rows, learning rate
and random numbers are computed from it, so a resumed run computes the same bits as one that was never killed.

The loss of a step is the sum of weighted losses over the sum of weights, over all ranks and micro-batches: each rank
scales its sums by ranks / weights, and DeepSpeed averages gradients over ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from neo_model.model import NeoModel
from stages.artifacts.kinds import Rows
from stages.contract import InterruptedRunError, Rank
from stages.training.checkpoints.checkpoint import Checkpoints, WriteModel
from stages.training.checkpoints.facts import CheckpointFacts
from stages.training.checkpoints.handing_out import check_averaged, hand_out
from stages.training.checkpoints.in_flight import CheckpointInFlight
from stages.training.checkpoints.probe import Probe
from stages.training.checkpoints.restore import Restorer
from stages.training.checkpoints.rollback import newest_checkpoint
from stages.training.damaged_rows import DamagedRowPolicy
from stages.training.engine.engine import Engine
from stages.training.engine.execution import set_execution
from stages.training.examination import Examiner
from stages.training.load_together import JointLoader
from stages.training.loading.micro_batches import StepLoader
from stages.training.loading.prefetch import prefetch
from stages.training.metrics import Meter, PeakFlops
from stages.training.objectives.masking import Masking
from stages.training.optimizer_step import optimizer_step
from stages.training.recipe import TrainRecipe, learning_rate
from stages.training.watchdog import Watchdog
from stages.training.weight_digests import trainable_names, weight_digests

REPORT_EVERY_STEPS: Final = 10


def train(
    rank: Rank,
    recipe: TrainRecipe,
    rows: Sequence[Rows],
    model: NeoModel,
    *,
    write_model: WriteModel,
    held_out: Examiner,
    masking: Masking | None = None,
) -> None:
    """Train the parameters of `model` that require a gradient, and commit the result with `write_model`. Collective.

    Resumes from the last committed checkpoint; returns at once where that is the finished model. Raises
    `InterruptedRunError` after a commit where the run was asked to stop, `StageError` where a loss or gradient is not
    finite, before that step is applied.
    """
    if (latest := newest_checkpoint(rank)) is not None and CheckpointFacts.of(latest).is_model:
        return
    set_execution(model, rank.layout, recipe.precision, rank.device, _warn_of(rank))
    damage = DamagedRowPolicy(rank, recipe.on_damaged_row, rows)
    loader = StepLoader.of(recipe, rows, rank, model.config, damage.left_out(), fork=rank.fork, masking=masking)
    _announce(rank, loader)
    trainable = trainable_names(model)
    engine = Engine(model, recipe, rank.layout, loader.split.num_micro_batches, rank.device)
    before = weight_digests(engine.parameters(), trainable, rank.rank, rank.world_size)
    meter, facts = Meter(PeakFlops.of(model, rank.device)), dict[str, Any]()
    with CheckpointInFlight(rank.rank) as in_flight, Watchdog(rank) as watchdog:
        probe = Probe(engine, loader, damage)
        checkpoints = Checkpoints(rank, recipe, engine, rows, before, probe, in_flight)
        steps = range(Restorer(rank, recipe, engine, rows, before, probe).restore(), recipe.last_step)
        check_averaged(checkpoints, steps.start)
        rank.busy(_first_steps(steps))
        prefetching = prefetch(loader, steps, loader.split.num_micro_batches, rank.layout.num_loader_workers, rank.warn)
        # A shared error ends the loop, but what all ranks had handed over before it is committed all the same.
        with prefetching as prefetched, in_flight.finished_on_shared_error():
            joint = JointLoader(rank, prefetched, damage, in_flight, meter, loader.left_out, loader.place)
            for step in steps:
                watchdog.alive()
                micro_batches, totals = joint.load(step)  # on every rank, or an error on every rank
                norm = optimizer_step(step, engine, micro_batches, totals, rank=rank, recipe=recipe, meter=meter)
                capacity_tokens = totals.num_rows * loader.row_tokens(step)
                if totals.num_rows:  # a step that is left out counts in no average
                    meter.end_step(totals.num_tokens, capacity_tokens, micro_batches[0].imbalance)
                if (step + 1) % REPORT_EVERY_STEPS == 0 or step + 1 == recipe.last_step:
                    _report(rank, meter.read(), step, norm, learning_rate(step, recipe))
                with meter.pause():
                    facts = dict(held_out.examine(step + 1, engine))
                # The stop was summed over all ranks with the totals: rank 0 alone hears of it, all act on it here.
                stop = totals.num_stopping > 0 and step + 1 < recipe.last_step
                if stop or recipe.is_checkpointed(step + 1):
                    checkpoints.begin(step + 1, facts)  # uploads while the next steps run
                if stop:
                    in_flight.finish()
                    raise InterruptedRunError(_stopped(step + 1, recipe.last_step))
        watchdog.alive()
        if (handed_out := hand_out(checkpoints)) or not steps:  # weights that were not examined yet
            facts = {**held_out.examine(recipe.last_step, engine), **handed_out}
        facts |= before.compare(weight_digests(engine.parameters(), trainable, rank.rank, rank.world_size))
        config = model.config.with_pixels(**loader.packed[-1].pixel_range)
        checkpoints.commit_model(recipe.last_step, write_model, config, facts, alive=watchdog.alive)


def _warn_of(rank: Rank) -> Callable[[str], None]:
    """Warns of what is alike on all ranks, once."""
    return rank.warn if rank.rank == 0 else lambda _: None


def _announce(rank: Rank, loader: StepLoader) -> None:
    """Say what begins, and warn, once, where the rows of a step leave many places of the ranks empty."""
    rank.busy("making the optimizer")
    if rank.rank == 0 and loader.split.idle_words:
        rank.warn(loader.split.idle_words)


def _first_steps(steps: range) -> str:
    """The steps until the first report, in words."""
    until = min(steps.start - steps.start % REPORT_EVERY_STEPS + REPORT_EVERY_STEPS, steps.stop)
    return f"taking the steps {steps.start + 1:,} to {until:,}"


def _report(rank: Rank, numbers: Mapping[str, float], step: int, norm: float, rate: float) -> None:
    """Post the numbers of all ranks once."""
    if rank.rank == 0:
        rank.report({**numbers, "gradient_norm": norm, "learning_rate": rate}, at_step=step + 1)


def _stopped(num_done: int, num_steps: int) -> str:
    return f"training stopped after step {num_done} of {num_steps}, as asked, and committed it; run again to resume"
