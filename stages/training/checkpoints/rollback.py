"""A damaged newest checkpoint: refused, or gone back behind where somebody asked for that.

Owns the choice of the checkpoint that training resumes from. Rolling back loses steps that were paid for, so it never
happens by itself; and training never restarts at step 0 because no intact checkpoint is left.
"""

from __future__ import annotations

from stages.contract import PartRecord, Rank, StageError
from stages.store.errors import TornRecordError
from stages.training.collectives import gather_values


def newest_checkpoint(rank: Rank) -> PartRecord | None:
    """The last committed checkpoint, as rank 0 finds it, on every rank. Collective.

    Raises `StageError` on every rank where its record is torn, unless going back is allowed.
    """
    while True:
        found, torn = gather_values(_latest(rank) if rank.rank == 0 else None)[0]
        if not torn:
            return found  # type: ignore[no-any-return]
        go_back(rank, "the newest checkpoint", torn)


def go_back(rank: Rank, what: str, damage: str, behind: PartRecord | None = None) -> None:
    """Quarantine the newest checkpoint, so that the one before it is the newest. Collective.

    `behind` is its record, where that can be read. Raises `StageError` on every rank where this was not asked for, or
    there is none before it.
    """
    standing: list[PartRecord] = gather_values(rank.checkpoints.kept() if rank.rank == 0 else None)[0]
    before = [record for record in standing if behind is None or int(record.part) < int(behind.part)]
    said = f"{what} is damaged: {damage}. "
    if not before:
        raise StageError(
            f"{said}No earlier one is kept, and training never begins again at step 0 by itself: put the file back "
            "from a copy, or let `neo audit --repair` move the checkpoint aside, which says that step 0 is meant"
        )
    step = before[-1].facts["step"]
    num_lost = "unknown" if behind is None else behind.facts["step"] - step
    if not rank.checkpoints.allows_rollback:
        raise StageError(
            f"{said}The one before it is that of step {step}: to go on from there, type the command with "
            f"--allow-rollback (steps to be trained again: {num_lost}); or put the file back from a copy"
        )
    if rank.rank == 0:
        rank.checkpoints.roll_back(before[-1], damage)
        rank.warn(f"{said}Training goes back to step {step}, as was allowed; steps trained again: {num_lost}")
    gather_values(None)  # nobody looks for the newest before it has changed


def _latest(rank: Rank) -> tuple[PartRecord | None, str]:
    """The last checkpoint, or what is wrong with its record."""
    try:
        return rank.checkpoints.latest(), ""
    except TornRecordError as error:
        return None, str(error)
