"""Damage that is met while training: what the recipe makes of it, on all ranks alike.

Owns `on_damaged_row`. `fail` raises on every rank. `rebuild` makes the damaged part again, each part on one rank, and
lets the step be loaded again: the bytes are those that were committed, so nothing else changes. `skip` is the loader's
(`loader.py`), which leaves rows out where it meets them; here they are recorded before their step is applied.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeVar

from stages.artifacts.kinds import Rows
from stages.contract import Rank
from stages.formats.rows import DamagedPartError, DamagedRowError
from stages.training.collectives import exchange, raise_together
from stages.training.loading.micro_batches import MicroBatch
from stages.training.recipe import OnDamagedRow
from stages.training.skipped import SKIPPED_PHASE, left_out

MAX_TRIES: Final = 3
"""How often one thing is mended and tried again: what is damaged again at once is no accident."""

Found = TypeVar("Found")


@dataclass
class Mending:
    """The policy, as one rank of a gang carries it out."""

    rank: Rank
    policy: OnDamagedRow
    rows: Sequence[Rows]
    _num_tries: Counter[tuple[str, tuple[str, str]]] = field(default_factory=Counter)

    def left_out(self) -> frozenset[tuple[int, int]]:
        """(step, row) of what earlier attempts left out."""
        return left_out(self.rank.recorded_facts(SKIPPED_PHASE)) if self.policy == "skip" else frozenset()

    def record_skipped(self, micro_batches: Sequence[MicroBatch]) -> None:
        """Say for good what these micro-batches lack, before anybody computes with them."""
        for skipped in (one for micro_batch in micro_batches for one in micro_batch.skipped):
            self.rank.record_fact(SKIPPED_PHASE, skipped.facts)
            self.rank.warn(skipped.sentence)

    def mend(self, what: str, error: Exception | None) -> None:
        """Deal with the error that this rank met, if it met one, so that `what` can be tried again. Collective.

        Raises on every rank where one met what the recipe does not let be mended, or what mending does not help.
        """
        damaged = (error.rows, error.part) if isinstance(error, DamagedPartError) else None
        is_mendable = self.policy == "rebuild" and damaged is not None and self._num_tries[what, damaged] < MAX_TRIES
        raise_together("" if is_mendable or error is None else f"{what}: {type(error).__name__}: {error}")
        parts = sorted({found for found in exchange(damaged) if found is not None})
        trouble = ""
        for number, part in enumerate(parts):
            self._num_tries[what, part] += 1
            if number % self.rank.world_size == self.rank.rank:
                trouble = trouble or self._rebuild(*part)
        raise_together(trouble)

    def read(self, what: str, read: Callable[[], Found]) -> Found | None:
        """What every rank reads for itself; None on all of them where it is damaged on one and skipped. Collective."""
        while True:
            error: Exception | None = None
            found: Found | None = None
            try:
                found = read()
            except Exception as caught:  # of any kind: the other ranks must learn of it
                error = caught
            met = {type(one) for one in exchange(error)} - {type(None)}
            if not met:
                return found
            if self.policy == "skip" and met == {DamagedRowError}:
                self.rank.warn(f"{what} is damaged, so it is left out{f': {error}' if error else ''}")
                return None
            self.mend(f"{what} could not be read", error)

    def _rebuild(self, fingerprint: str, part: str) -> str:
        """Make a part again; returns why it could not be done, or ''."""
        from stages.packing.rebuild import rebuild_part

        rows = next(one for one in self.rows if one.fingerprint == fingerprint)
        try:
            complaints = rebuild_part(rows, part)
        except Exception as error:
            return f"part {part} of {rows!r} could not be made again: {error}"
        for key, said in complaints.items():
            self.rank.warn(f"{key} {said}; it was made again, the same")
        return ""
