"""Runs as they are listed beside hundreds of others: state, attempts, when the last one began.

Of a settled run no more is read than its mark.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pipelines.runs.run import Run, all_runs
from pipelines.runs.settled import Settled, settled_runs
from stages.store.store import Store

RUNS_AT_A_TIME = 32
"""Number of runs that are read in parallel: each costs a few round trips to the store, and runs are kept for years."""


@dataclass(frozen=True)
class RunInBrief:
    """One run in brief."""

    run: Run
    state: str
    num_attempts: int
    begun_at_seconds: float
    """Unix time at which its last attempt began; 0 without one, and where it was not asked for."""


def runs_in_brief(store: Store, *, with_times: bool = False) -> list[RunInBrief]:
    """Every run in the store, by name. Of runs that are not settled, `with_times` reads one record more."""
    settled = settled_runs(store)
    with ThreadPoolExecutor(RUNS_AT_A_TIME) as pool:
        return list(pool.map(lambda run: _in_brief(run, settled.get(run.name), with_times), all_runs(store)))


def _in_brief(run: Run, mark: Settled | None, with_times: bool) -> RunInBrief:
    if mark is not None:
        return RunInBrief(run, mark.outcome, mark.num_attempts, mark.begun_milliseconds / 1000)
    standing = run.standing()
    begun_at_seconds = standing.last.at_seconds if with_times and standing.last else 0.0
    return RunInBrief(run, standing.state, standing.num_attempts, begun_at_seconds)
