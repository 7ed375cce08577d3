"""Damaged rows in training: the policy of the recipe, carried out on all ranks alike.

A row is damaged where its bytes are not those that were committed, and where they are, but a picture in it does not
decode or does not fit its tokens. Owns `on_damaged_row`. `fail` raises on every rank. `rebuild` makes the damaged part
again, each part on one rank, and the step is loaded again: the bytes are those that were committed, so nothing else
changes; where they were so before, it fails. `skip` is done by the loader (`loading/micro_batches.py`), which leaves
the rows out; here they are recorded before their step is applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from stages.artifacts.kinds import Rows
from stages.contract import Rank
from stages.formats.packed_rows.rows import DamagedPartError, DamagedRowError
from stages.training.checkpoints.facts import SKIPPED_PHASE, SKIPPED_STEPS_PHASE
from stages.training.collectives import gather_values, raise_on_all
from stages.training.loading.micro_batches import MicroBatch, UnfitRowError
from stages.training.recipe import OnDamagedRow
from stages.training.skipped import LeftOutOfSteps

MAX_TRIES: Final = 3
"""Rebuilds of one part for one step. A part that is damaged again at once has a cause that rebuilding does not cure."""

Value = TypeVar("Value")


@dataclass
class DamagedRowPolicy:
    """The policy of one rank of a worker group."""

    rank: Rank
    policy: OnDamagedRow
    rows: Sequence[Rows]
    _num_tries: Counter[tuple[str, tuple[str, str]]] = field(default_factory=Counter)

    def left_out(self) -> LeftOutOfSteps:
        """The rows that earlier attempts skipped, and the steps that are left out: whatever the policy is now."""
        rows, steps = (self.rank.recorded_facts(phase) for phase in (SKIPPED_PHASE, SKIPPED_STEPS_PHASE))
        return LeftOutOfSteps.recorded(rows, steps)

    def record_skipped(self, micro_batches: Sequence[MicroBatch]) -> None:
        """Commit which rows these micro-batches lack, before they are computed: every later attempt skips the same."""
        for skipped in (one for micro_batch in micro_batches for one in micro_batch.skipped):
            self.rank.record_fact(SKIPPED_PHASE, skipped.facts)
            # Ranks that share a row all record it, for one of them may be alone in finding it damaged; one says so.
            if self.rank.rank % self.rank.layout.sequence_ranks == 0:
                self.rank.warn(skipped.sentence)

    def repair(self, what: str, error: Exception | None) -> None:
        """Rebuild the parts that ranks found damaged, so `what` failed can be retried. Collective.

        `error` is what this rank met, or None. Raises `SharedError` on every rank where one met another error, the
        policy is not `rebuild`, or a part was rebuilt `MAX_TRIES` times.
        """
        damaged = (error.rows, error.part) if isinstance(error, DamagedPartError) else None
        if isinstance(error, UnfitRowError):  # made again, it would be the same
            damaged = None
        is_repairable = self.policy == "rebuild" and damaged is not None and self._num_tries[what, damaged] < MAX_TRIES
        raise_on_all("" if is_repairable or error is None else f"{what}: {type(error).__name__}: {error}")
        parts = sorted({part for part in gather_values(damaged) if part is not None})
        failure = ""
        for number, part in enumerate(parts):
            self._num_tries[what, part] += 1
            if number % self.rank.world_size == self.rank.rank:
                failure = failure or self._rebuild(*part)
        raise_on_all(failure)

    def read(self, what: str, read: Callable[[], Value]) -> Value | None:
        """The result of `read` on each rank; None on all where it is damaged on one and skipped. Collective."""
        while True:
            error: Exception | None = None
            value: Value | None = None
            try:
                value = read()
            except Exception as caught:  # any kind: the other ranks wait in the all-gather and must hear of it
                error = caught
            kinds = {type(one) for one in gather_values(error)} - {type(None)}
            if not kinds:
                return value
            if self.policy == "skip" and all(issubclass(kind, DamagedRowError) for kind in kinds):
                self.rank.warn(f"{what} is damaged, so it is left out{f': {error}' if error else ''}")
                return None
            self.repair(f"{what} could not be read", error)

    def _rebuild(self, fingerprint: str, part: str) -> str:
        """Rebuild a part; returns why it could not be done, or ''."""
        from stages.packing.rebuild import rebuild_part

        rows = next(one for one in self.rows if one.fingerprint == fingerprint)
        try:
            complaints = rebuild_part(rows, part)
        except Exception as error:
            return f"part {part} of {rows!r} could not be made again: {error}"
        for key, complaint in complaints.items():
            self.rank.warn(f"{key} {complaint}; it was made again, the same")
        return ""
