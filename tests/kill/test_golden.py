"""The undisturbed run itself: it passes every point there is, and holds what every other run is held to."""

from stages.store.fault_points import POINTS
from tests.kill.home import Golden
from tests.kill.invariants import hold_at_the_end

PASSED_BY_OTHERS = {
    "cancel.asked": "`neo cancel` asks",
    "job.submitted": "`neo submit` submits",
    "submission.recorded": "`neo submit` says what it submitted",
    "submission.ended": "`neo submit` says how the job ended",
    "phase.gathered": "only records of 256 parts are copied together",
    "audit.noted": "only an audit of more than half a minute keeps notes",
    "fork.held": "the demo forks no training; `tests/stages/commit/test_checkpoints.py` stops one there",
    "fork.recorded": "as above",
    "part.taken_over": "the demo makes all parts itself; `tests/stages/commit/test_taking_over.py` kills a run there",
    "repair.recorded": "`neo audit --repair` notes what it moves aside",
    **dict.fromkeys(
        ("gc.listed", "gc.forgotten", "gc.marked", "gc.quarantined", "gc.put_back", "gc.deleted", "gc.ended"),
        "runs delete nothing; `tests/pipelines/garbage/test_deletion.py` stops `neo gc` there",
    ),
    **dict.fromkeys(("index.uploaded", "index.recorded", "index.deleted"), "a run makes no index; `neo index` does"),
    **dict.fromkeys(
        ("takedown.list_kept", "takedown.found", "takedown.recorded"),
        "nothing is taken down; `tests/pipelines/commands/test_takedown.py` stops `neo takedown` there",
    ),
    "record.quarantined": "only what is torn or outdated is quarantined",
}
"""Points that a run which nothing disturbs does not come by, and why."""


def test_every_point_is_passed_before_and_after(golden: Golden) -> None:
    passed = {edge for edge, _ in golden.trace.passed}
    expected = {f"{point}:{edge}" for point in POINTS - PASSED_BY_OTHERS.keys() for edge in ("before", "after")}
    assert passed == expected


def test_the_invariants_hold_without_a_death(golden: Golden) -> None:
    committed = golden.committed()
    for step in golden.made:
        hold_at_the_end(golden, step, committed, golden)
