"""Times of steps are those of when they were made, however often their run is resumed."""

from pipelines.evidence.step_times import step_times
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import the_run


def test_a_resume_leaves_the_times_of_what_was_committed(site: NeoSite) -> None:
    assert site.neo("run", f"{TOYS}:broken_data").code == 1
    first, told = step_times(the_run(site)), site.neo("disclose", "broken_data/pairs", "--slsa").out
    assert first["pairs"].outcome == "committed" and first["pairs"].ended_seconds and "finishedOn" in told
    assert site.neo("resume").code == 1
    again = step_times(the_run(site))
    assert again["pairs"] == first["pairs"] and site.neo("disclose", "broken_data/pairs", "--slsa").out == told
    assert again["kept"].outcome == "failed"
    assert (again["kept"].ended_seconds or 0) > (first["kept"].ended_seconds or 0)
