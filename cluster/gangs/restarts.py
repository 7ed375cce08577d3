"""How often the gang of a step may form again: as often as it makes progress.

Deaths count from the last committed checkpoint on. One whose machine is gone too is the machine's: it counts, but ten
times as many are borne, since on a cluster of spot machines they say nothing about the work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import ray

from cluster.failure import Failure
from stages.commit.checkpoints import CheckpointRecords
from stages.contract import StageError

MOST_DEATHS = 3
"""Deaths of ranks without a checkpoint in between after which a step fails."""
MOST_LOSSES = 30
"""Gangs that lost a machine without a checkpoint in between after which a step fails, as it would never end."""
GPU_ADVICE = ": its GPU fails, or the kernels that run on it do"


@dataclass
class Restarts:
    """The deaths of one step's gangs since its last committed checkpoint."""

    step: str
    records: CheckpointRecords
    _num_committed: int = -1
    _deaths: list[frozenset[str]] = field(default_factory=list)
    """What Ray nodes each of the gangs that died was on."""

    def after_death(self, nodes: frozenset[str], death: Exception, failure: Failure | None = None) -> str:
        """Count the death of a gang that ran on these nodes; returns what to tell people.

        `failure` is what a rank reported, where it failed by the fault of its machine.

        Raises `StageError` once there were too many without progress.
        """
        num_committed = self.records.count()
        if num_committed != self._num_committed:
            self._num_committed = num_committed
            self._deaths.clear()
        self._deaths.append(nodes)
        # Ray notices a lost machine seconds after the ranks on the others did, so all are looked at anew.
        alive = {node["NodeID"] for node in ray.nodes() if node["Alive"]}
        num_losses = sum(not one <= alive for one in self._deaths)
        num_deaths = len(self._deaths) - num_losses
        since = f"since checkpoint {num_committed - 1}" if num_committed else "before the first checkpoint"
        if num_deaths >= MOST_DEATHS:
            raise self._given_up(
                f"its ranks died {num_deaths} times {since}; "
                + (
                    f"the last: {_fault_words(failure)}" + GPU_ADVICE * (failure.fault == "GPU error")
                    if failure
                    else "the machines lack memory or fail, or a library the ranks call crashes"
                ),
                failure.error() if failure else death,
            )
        if num_losses >= MOST_LOSSES:
            raise self._given_up(
                f"it lost machines {num_losses} times {since}; machines are taken away faster than checkpoints are "
                "made: commit more often, or train on machines that stay",
                death,
            )
        of_rank = f"a rank failed: {_fault_words(failure)}" if failure else "a rank died"
        what = of_rank if nodes <= alive else "a machine was lost"
        counted = f"death {num_deaths} of {MOST_DEATHS}" if nodes <= alive else f"loss {num_losses} of {MOST_LOSSES}"
        where = ", away from that machine where others will do" if failure else ""
        return f"{what}; the ranks start again from the last checkpoint{where} ({counted} {since})"

    def _given_up(self, why: str, death: Exception) -> StageError:
        error = StageError(
            f"step {self.step!r}: {why}. What was committed is kept: run the same command again to continue from it"
        )
        error.__cause__ = death
        return error


def _fault_words(failure: Failure) -> str:
    """`GPU error on host-7 (step 'mid': rank 3 of 16 failed: RuntimeError: CUDA error: unknown error)`."""
    first_line = failure.message.partition("\n")[0]
    return f"{failure.fault} on {failure.host or 'its machine'} ({first_line})"
