"""Bringing the engine to a committed checkpoint: the last of a training, or the one of another that a fork begins from.

Owns the checks before a checkpoint is loaded; `reading.py` reads what a rank needs of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stages.artifacts.kinds import Rows
from stages.artifacts.records import PartRecord
from stages.contract import Rank, StageError
from stages.training.checkpoints.facts import CheckpointFacts, StateLayout
from stages.training.checkpoints.probe import Probe
from stages.training.checkpoints.reading import read_state
from stages.training.checkpoints.rollback import newest_checkpoint, roll_back
from stages.training.engine.engine import Engine
from stages.training.forks import has_same_probe
from stages.training.recipe import TrainRecipe
from stages.training.weight_digests import WeightDigests


@dataclass(frozen=True)
class Restorer:
    """What one rank needs to bring its engine to a checkpoint."""

    rank: Rank
    recipe: TrainRecipe
    engine: Engine
    rows: Sequence[Rows]
    before: WeightDigests
    """The weights that were loaded before."""
    probe: Probe

    def restore(self) -> int:
        """Bring the engine to the last committed checkpoint, or to that which a fork begins from, if there is none.

        Returns the number of steps done, 0 where there is neither.

        Raises `StageError` where the checkpoint was trained on other rows or from other weights, does not compute what
        it did, or is damaged and no rollback was asked for.
        """
        record = newest_checkpoint(self.rank)
        while record is not None:
            self._check(record)
            damage = self._read(record)
            if not damage:
                break
            step = CheckpointFacts.of(record).step
            roll_back(self.rank, f"the checkpoint at step {step}", damage, newest=record)
            record = newest_checkpoint(self.rank)
        if record is None:
            return self._begin_fork()
        facts = CheckpointFacts.of(record)
        self.engine.resume(facts.num_applied)
        self.probe.check(facts.probe_loss, facts.step, self.recipe.precision)
        return facts.step

    def _begin_fork(self) -> int:
        """Bring the engine to the checkpoint of another training that this one begins from; returns its step, or 0."""
        fork, record = self.rank.fork, self.rank.checkpoints.origin()
        if fork is None or record is None:
            return 0
        facts = CheckpointFacts.of(record)
        where = f"the checkpoint at step {facts.step} of {fork.short}"
        self._check_frozen(facts, where)
        if damage := self._read(record):
            raise StageError(
                f"{where}, from which training begins, is damaged: {damage}. Put the file back from a copy"
            )
        self.engine.resume(facts.num_applied)
        if not facts.skipped_steps and has_same_probe(self.recipe, self.rows[0].fingerprint, fork):
            self.probe.check(facts.probe_loss, facts.step, self.recipe.precision)
        return facts.step

    def _read(self, record: PartRecord) -> str:
        """Read what this rank needs of a checkpoint; returns what is damaged on any rank, or ''. Collective."""
        self.rank.busy(f"reading the checkpoint at step {CheckpointFacts.of(record).step:,}")
        return read_state(record, self.rank, self.engine.slices(), layout_of(self.rank))

    def _check(self, record: PartRecord) -> None:
        facts = CheckpointFacts.of(record)
        where = f"checkpoint at step {facts.step}"
        if list(facts.rows) != contents_of(self.rows):
            raise StageError(f"{where} was trained on other rows ({list(facts.rows)}, now {contents_of(self.rows)})")
        self._check_frozen(facts, where)

    def _check_frozen(self, facts: CheckpointFacts, where: str) -> None:
        if facts.frozen_digest != self.before.of_frozen:
            raise StageError(f"{where} belongs to other frozen weights than those that were loaded now")


def layout_of(rank: Rank) -> StateLayout:
    """The layout in which a rank's group holds the engine's state now."""
    return StateLayout(num_ranks=rank.world_size, zero_stage=rank.layout.zero_stage)


def contents_of(rows: Sequence[Rows]) -> list[str]:
    """Content digests of the rows, in order: with the recipe they say what every step has seen."""
    return [one.head.content for one in rows]
