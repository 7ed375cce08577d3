"""Checkpoints of a training stage: what is committed at a step.

Owns the facts that a checkpoint's record carries; `in_flight.py` brings it into the store, `restore.py` loads it. A
checkpoint holds what cannot be computed: the trained parameters and the optimizer's moments, each rank its share
(`engine/files.py`), to resume under any layout. Rows, learning rate and random numbers are functions of the step, and
frozen parameters are an input, so they are left out. The last checkpoint holds the finished model instead; where the
recipe keeps the last state, it is a checkpoint of the same step before that.
"""

from __future__ import annotations

import math
import shutil
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeAlias

from torch import Tensor

from neo_model.config import NeoConfig
from stages.artifacts.kinds import MODEL_PREFIX, Rows
from stages.artifacts.records import EXAMINED_FACT, PartRecord
from stages.contract import Rank
from stages.store.fault_points import fault_point
from stages.training.checkpoints.facts import SKIPPED_PHASE, SKIPPED_STEPS_PHASE, CheckpointFacts, LeftOutFacts
from stages.training.checkpoints.in_flight import CheckpointInFlight, Files
from stages.training.checkpoints.probe import Probe
from stages.training.checkpoints.reading import read_state
from stages.training.checkpoints.restore import contents_of, layout_of
from stages.training.collectives import gather_values
from stages.training.engine.engine import Engine
from stages.training.engine.zero_slices import ParameterSlice
from stages.training.recipe import TrainRecipe, best_step, retired_steps
from stages.training.skipped import skipped_fact, skipped_steps_fact
from stages.training.weight_digests import WeightDigests

SAID_EVERY_SECONDS: Final = 60.0
"""How often it is said at most that a checkpoint waits for the store."""

WriteModel: TypeAlias = Callable[[Path, Iterable[tuple[str, Tensor]], NeoConfig], None]
"""Writes a model folder from the names and whole values of all parameters, given one at a time."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training stage, as one rank sees them."""

    rank: Rank
    recipe: TrainRecipe
    engine: Engine
    rows: Sequence[Rows]
    before: WeightDigests
    """The weights that training started from."""
    probe: Probe
    in_flight: CheckpointInFlight

    @cached_property
    def _origin(self) -> PartRecord | None:
        """The record of the checkpoint that a fork begins from."""
        return self.rank.checkpoints.origin()

    def begin(self, step: int, examined: Mapping[str, Any]) -> None:
        """Begin to commit the state after `step` steps; training continues meanwhile. Collective.

        Waits for the checkpoint before it, if that is still in flight; raises `SharedError` on every rank where the
        store does not take that one. `examined` are facts about the state, such as its loss on held-out rows.
        """
        self.in_flight.finish()
        state = self.engine.snapshot()
        facts = {
            "num_applied": self.engine.num_applied,
            "layout": layout_of(self.rank).model_dump(),
            "frozen_digest": self.before.of_frozen,
            "probe_loss": self.probe.loss(),
            **examined,
        }

        def upload() -> Files:
            folder = self._folder(step)
            with fault_point("checkpoint.files_written"):
                state.write(folder)
            return self._upload(folder, step)

        self._in_flight(step, upload, facts, deletes_old=True)

    def commit_model(
        self,
        step: int,
        write_model: WriteModel,
        config: NeoConfig,
        facts: Mapping[str, Any],
        *,
        alive: Callable[[], None],
    ) -> None:
        """Commit the finished model after the last step. Rank 0 writes; the others help to gather. Collective.

        `alive` is called before the state is waited for, the model written and uploaded, each of which may take long.
        """
        alive()
        self.finish()
        alive()
        self.rank.busy("writing the model")
        folder = self._folder(step)
        parameters = self.engine.parameters()
        with fault_point("checkpoint.files_written"):
            if self.rank.rank == 0:
                write_model(folder / MODEL_PREFIX, parameters, config)
            deque(parameters, maxlen=0)
        # Ranks that only helped wait here for rank 0, which may write for minutes: their next timeout, like its own,
        # has then only the upload to cover. Writing 8 s and uploading 8 s would exceed a silence of 12 s otherwise.
        gather_values(None)
        alive()
        with_best = {**facts, **self._best(step, facts)}
        self._in_flight(step, lambda: self._upload(folder, step), with_best, deletes_old=False)
        self.finish()

    def finish(self) -> None:
        """Wait for what is in flight after the last step. Collective.

        No later checkpoint will come, so it is worth more patience, well within what the watchdog has.
        """
        self.in_flight.finish(patience_seconds=self.rank.layout.max_silent_seconds / 4)

    def _in_flight(
        self, step: int, upload: Callable[[], Files], facts: Mapping[str, Any], *, deletes_old: bool
    ) -> None:
        """Begin to upload and record a checkpoint. What was done before a failure is not done twice."""
        records: list[PartRecord] = []

        def record(files: Files) -> None:
            if not records:
                records.append(self._record(files, step, facts))
            if deletes_old:
                self._delete_old()

        self.in_flight.begin(_named(step), upload, record, DelayNotice(self.rank, step))

    def _best(self, step: int, facts: Mapping[str, Any]) -> dict[str, Any]:
        """`examined` with the best state on the same held-out rows, a checkpoint or the model itself; {} if none."""
        examined = CheckpointFacts.model_validate({**facts, "step": step}).examined
        if examined is None:
            return {}
        losses = {**_losses(self.rank.checkpoints.kept())[examined.on], step: examined.loss}
        best = best_step(losses)
        assert best is not None, "the finished model is among them"
        return {EXAMINED_FACT: {**examined.model_dump(), "best": {"step": best, "loss": losses[best]}}}

    def _upload(self, folder: Path, step: int) -> Files:
        """Upload a folder, and delete it once that has succeeded."""
        files = self.rank.checkpoints.upload(folder, step)
        shutil.rmtree(folder)
        return files

    def _record(self, files: Files, step: int, facts: Mapping[str, Any]) -> PartRecord:
        left_out = self._skipped(step)
        return self.rank.checkpoints.commit(files, step, {**facts, "rows": contents_of(self.rows), **left_out})

    def _delete_old(self) -> None:
        kept = {CheckpointFacts.of(record).step: record for record in self.rank.checkpoints.kept()}
        best = {best_step(losses) for losses in _losses(kept.values()).values()}
        for step in retired_steps(kept, best, self.recipe):
            self.rank.checkpoints.delete(kept[step])

    def _skipped(self, step: int) -> dict[str, Any]:
        """The damaged rows that the steps up to this one skipped, and the steps that were left out, as facts.

        Those before a fork are among them.
        """
        rows, steps = (self.rank.recorded_facts(phase) for phase in (SKIPPED_PHASE, SKIPPED_STEPS_PHASE))
        before = LeftOutFacts() if self._origin is None else LeftOutFacts.of(self._origin)
        return {
            **skipped_fact(rows, step, before.skipped),
            **skipped_steps_fact(steps, step, before.skipped_steps),
        }

    def _folder(self, step: int) -> Path:
        folder = self.rank.scratch / f"step-{step:08d}"
        folder.mkdir(parents=True, exist_ok=True)  # it is there where an upload is tried again
        return folder

    def read(self, record: PartRecord, slices: Sequence[ParameterSlice]) -> str:
        """Fill slices of this rank from a checkpoint; returns what is damaged on any rank, or ''. Collective."""
        return read_state(record, self.rank, slices, layout_of(self.rank))


@dataclass
class DelayNotice:
    """Says that a checkpoint waits for the store, since when and why: at once, and again while that lasts."""

    rank: Rank
    step: int
    clock: Callable[[], float] = time.time
    _since_seconds: float = 0.0
    _said_seconds: float = -math.inf

    def __call__(self, why: str) -> None:
        now_seconds = self.clock()
        self._since_seconds = self._since_seconds or now_seconds
        if now_seconds - self._said_seconds >= SAID_EVERY_SECONDS:
            self._said_seconds = now_seconds
            self.rank.checkpoints.delayed(self.step, why, self._since_seconds)


def _losses(records: Iterable[PartRecord]) -> Mapping[tuple[str, int], dict[int, float | None]]:
    """What checkpoints were examined on, to their held-out losses by optimizer steps done."""
    losses: defaultdict[tuple[str, int], dict[int, float | None]] = defaultdict(dict)
    for facts in map(CheckpointFacts.of, records):
        if (examination := facts.examination) is not None:
            losses[examination.on][facts.step] = examination.loss
    return losses


def _named(step: int) -> str:
    return f"the checkpoint at step {step} could not be committed"
