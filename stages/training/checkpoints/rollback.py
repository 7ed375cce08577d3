"""A damaged newest checkpoint: refused, or rolled back where that was asked for.

Owns the choice of the checkpoint that training resumes from. Rolling back loses steps that were paid for, so it never
happens by itself; and training never restarts at step 0 because no intact checkpoint is left.
"""

from __future__ import annotations

from stages.contract import PartRecord, Rank, StageError
from stages.store.errors import TornRecordError
from stages.training.checkpoints.facts import CheckpointFacts
from stages.training.collectives import gather_values


def newest_checkpoint(rank: Rank) -> PartRecord | None:
    """The last committed checkpoint, as rank 0 finds it, on every rank. Collective.

    Raises `StageError` on every rank where its record is torn, unless going back is allowed.
    """
    while True:
        found, torn = gather_values(_latest(rank) if rank.rank == 0 else None)[0]
        if not torn:
            return found  # type: ignore[no-any-return]
        roll_back(rank, "the newest checkpoint", torn)


def roll_back(rank: Rank, what: str, damage: str, newest: PartRecord | None = None) -> None:
    """Quarantine the newest checkpoint, so that the one before it is the newest. Collective.

    `newest` is its record, where that can be read. Raises `StageError` on every rank where no rollback was asked for,
    or there is no checkpoint before it.
    """
    kept: list[PartRecord] = gather_values(rank.checkpoints.kept() if rank.rank == 0 else None)[0]
    before = [record for record in kept if newest is None or int(record.part) < int(newest.part)]
    complaint = f"{what} is damaged: {damage}. "
    if not before:
        raise StageError(
            f"{complaint}No earlier one is kept, and training never restarts at step 0 by itself: put the file back "
            "from a copy, or quarantine the checkpoint by `neo audit --repair`, after which training starts at step 0, "
            "or where it was forked"
        )
    step = CheckpointFacts.of(before[-1]).step
    num_lost = "unknown" if newest is None else CheckpointFacts.of(newest).step - step
    if not rank.checkpoints.allows_rollback:
        raise StageError(
            f"{complaint}The one before it is that of step {step}: to continue from there, run, resume or submit again "
            f"with --allow-rollback (steps to be trained again: {num_lost}); or put the file back from a copy"
        )
    if rank.rank == 0:
        rank.checkpoints.roll_back(before[-1], damage)
        rank.warn(f"{complaint}Training rolls back to step {step}, as allowed; steps trained again: {num_lost}")
    gather_values(None)  # nobody looks for the newest before it has changed


def _latest(rank: Rank) -> tuple[PartRecord | None, str]:
    """The last checkpoint, or what is wrong with its record."""
    try:
        return rank.checkpoints.latest(), ""
    except TornRecordError as error:
        return None, str(error)
