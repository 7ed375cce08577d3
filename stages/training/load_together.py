"""Loading one step on all ranks: each has its micro-batches, or each raises.

Owns the one all-reduce of a step. It carries what the step needs (the sum of loss weights) and what ranks must agree on
anyway: who failed to load, whether the run is to stop, and whether the checkpoint in flight can advance.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from stages.contract import Rank
from stages.training.checkpoints.in_flight import CheckpointInFlight
from stages.training.collectives import SharedError, StepTotals
from stages.training.damaged_rows import DamagedRowPolicy
from stages.training.loading.micro_batches import MicroBatch
from stages.training.loading.sequence_place import SequencePlace
from stages.training.metrics import Meter
from stages.training.skipped import LeftOutOfSteps


@dataclass
class JointLoader:
    """The steps of one rank, loaded in agreement with the other ranks."""

    rank: Rank
    prefetched: Iterator[list[MicroBatch]]
    damage: DamagedRowPolicy
    in_flight: CheckpointInFlight
    meter: Meter
    left_out: LeftOutOfSteps
    place: SequencePlace = field(default_factory=SequencePlace)

    def load(self, step: int) -> tuple[list[MicroBatch], StepTotals]:
        """This rank's micro-batches of a step, and the totals over all ranks. Collective.

        Where rows are damaged and the recipe has them rebuilt, loads again. Raises on every rank where one could not
        load, `SharedError` where no row of the step is left. A step that is left out has no rows, and is said.
        """
        micro_batches: list[MicroBatch] = []
        while True:
            error = None
            try:
                # Rank 1 may fail where rank 0 succeeded. In the second round rank 0 keeps what it loaded: `_next`
                # would give it the micro-batches of the step after this one.
                micro_batches = micro_batches or self._next()
            except Exception as caught:  # any kind: the other ranks wait in the all-reduce and must hear of it
                error = caught
            totals = self._share(micro_batches, failed=error is not None).summed(self.rank.device)
            if totals.num_ready == self.rank.world_size:
                self.in_flight.advance()
            if not totals.num_failed:
                break
            self.damage.repair(f"step {step + 1} could not be loaded", error)
        if totals.difference:
            raise SharedError(
                f"step {step + 1}: ranks that share a row have loaded different rows, because one of them found a row "
                "damaged that the others could read. What it left out is on record: run the same command again, and "
                "all leave it out"
            )
        if step in self.left_out.steps:
            if self.rank.rank == 0:
                self.rank.warn(f"step {step + 1} is left out, as recorded: {self.left_out.steps[step]}")
        elif not totals.num_rows:
            raise SharedError(f"step {step + 1}: all of its rows are damaged; look at the store that holds them")
        return micro_batches, totals

    def _share(self, micro_batches: Sequence[MicroBatch], *, failed: bool) -> StepTotals:
        """What this rank brings into the sum over ranks."""
        rows = [micro_batch.rows for micro_batch in micro_batches]
        return StepTotals(
            weight=sum(micro_batch.weight for micro_batch in micro_batches),
            num_tokens=sum(micro_batch.num_tokens for micro_batch in micro_batches),
            num_rows=sum(map(len, rows)) if self.place.is_first else 0,
            num_failed=int(failed),
            num_stopping=int(self.rank.should_stop()),
            num_ready=int(self.in_flight.is_ready),
            difference=self.place.difference(rows),
        )

    def _next(self) -> list[MicroBatch]:
        began = time.monotonic()
        try:
            micro_batches = next(self.prefetched)
        finally:
            self.meter.waited(time.monotonic() - began)
        self.damage.record_skipped(micro_batches)
        return micro_batches
