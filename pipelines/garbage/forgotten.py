"""Runs that are forgotten: they stay on record, and keep no artifact from being deleted.

Owns `forgotten/<run>/<attempts>`: an empty mark, whose name says how many attempts the run had. It counts for as long
as there is no later one, so a run that is started again is remembered by that alone. Records of a run are never
deleted: an audit of what others share with it reads its plan.
"""

from __future__ import annotations

from pipelines.runs.run import Run
from stages.store.fault_points import fault_point
from stages.store.store import Store

FOLDER = "forgotten"
"""Prefix of the marks in a store."""


def forget(run: Run) -> bool:
    """Mark a run as forgotten; False where an attempt of it is at work.

    Attempts are counted before it is looked whether they live: one that begins meanwhile makes the mark void.
    """
    standing = run.standing()
    if standing.state in ("running", "unknown"):
        return False
    key = f"{FOLDER}/{run.name}/{standing.num_attempts}"
    with fault_point("gc.forgotten", key):
        run.store.create(key, b"")
    return True


def forgotten_runs(store: Store) -> set[str]:
    """The runs that are forgotten now: a listing, and a request for each run that ever was."""
    newest: dict[str, int] = {}
    for key in store.keys(f"{FOLDER}/"):
        run, _, number = key.removeprefix(f"{FOLDER}/").rpartition("/")
        newest[run] = max(newest.get(run, 0), int(number))
    return {run for run, number in newest.items() if store.size_bytes(f"runs/{run}/attempts/{number + 1}.json") is None}
