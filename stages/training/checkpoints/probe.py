"""A row that is computed again when a checkpoint is loaded, so that nobody trains on with other weights.

Owns the loss on that row at a commit, and its comparison after loading. Digests show that the bytes are those that were
written; the probe shows that they still mean the same model, whichever version or layout has read them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

from neo_model.inputs.batch import Batch
from stages.contract import StageError
from stages.training.collectives import gather_values
from stages.training.damaged_rows import DamagedRowPolicy
from stages.training.engine.engine import Engine
from stages.training.loading.micro_batches import StepLoader
from stages.training.recipe import Precision

TOLERANCES: dict[Precision, float] = {"fp32": 1e-4, "bf16": 2e-2}
"""Largest relative change of the loss by another attention backend, or other machines."""


@dataclass(frozen=True)
class Probe:
    """The first row of the first step, and the engine that computes it."""

    engine: Engine
    loader: StepLoader
    damage: DamagedRowPolicy

    @cached_property
    def _batch(self) -> Batch | None:
        return self.damage.read("the probe row of checkpoints", self.loader.probe)

    def loss(self) -> float | None:
        """Nats for each unit of loss weight, as rank 0 finds it, with those that share the row with it; 0 where the row
        asks for nothing. Collective.

        None where the row is damaged and the recipe has such rows left out.
        """
        if self._batch is None:
            return None
        sums = self.engine.evaluate(self._batch)
        shares = gather_values((float(sums.loss), float(sums.weight)))[: self.loader.place.num_shares]
        loss, weight = (sum(share[part] for share in shares) for part in (0, 1))
        return float(loss / max(weight, 1e-9))

    def check(self, committed: float | None, step: int, precision: Precision) -> None:
        """Raise `StageError`, on every rank, if the loss is not what it was when the checkpoint was committed."""
        found = self.loss()
        if committed is None or found is None:
            return
        if not math.isclose(found, committed, rel_tol=TOLERANCES[precision], abs_tol=TOLERANCES[precision]):
            raise StageError(
                f"the checkpoint at step {step} was loaded and is another model: its loss on the probe row was "
                f"{committed:.6g} when it was committed and is {found:.6g} now; go on with the versions that its "
                "record names, or find out which change of code or machine moved it"
            )
