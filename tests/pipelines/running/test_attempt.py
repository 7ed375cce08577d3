"""An attempt is on record when it is entered, and its end when it is left, however that is."""

import io

import pytest
from rich.console import Console

from cluster.site import load_site
from pipelines.planning.plan import decide
from pipelines.running.attempt import Attempt
from pipelines.running.execute_run import EXIT_CODES
from pipelines.runs.log import last_lines
from pipelines.runs.run import Run, open_run
from pipelines.screen.console import Display
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.local_graph import run_graph_locally


@pytest.fixture
def run(site: NeoSite) -> Run:
    """A run of which two steps of four are committed, and one attempt is over."""
    assert site.neo("run", f"{TOYS}:data", "--until", "kept").code == 0
    assert site.neo("run", f"{TOYS}:data").code == 0
    for step in ("mix", "rows"):
        (site.artifact_folder(step) / "manifest.json").unlink()
    name = site.neo("plan", f"{TOYS}:data", "--json").json["run"]
    return Run(site.store, name)


def attempt_of(run: Run, site: NeoSite) -> Attempt:
    plan = decide(run.request, run.store)
    console = Console(file=io.StringIO(), width=160)
    return Attempt(plan, open_run(run.store, run.request), load_site(site.file), lambda b: Display(console, b), "")


def test_it_is_on_record_while_it_goes_on_and_ended_when_it_is_left(site: NeoSite, run: Run) -> None:
    with attempt_of(run, site) as attempt:
        assert run.state() == "running" and run.end(attempt.number) is None
        attempt.execute(run_graph_locally)
    assert run.end(attempt.number).outcome == attempt.outcome == "done"
    assert {step: ending.ending for step, ending in attempt.endings.items()} == {
        "pairs": "reused", "kept": "reused", "mix": "committed", "rows": "committed"
    }  # fmt: skip
    assert [line.split("  ", 1)[1] for line in last_lines(run, attempt.number, None)[0]][-1] == "attempt 2: done"


def test_an_exception_that_leaves_it_is_how_it_ended(site: NeoSite, run: Run) -> None:
    with pytest.raises(RuntimeError, match="out of the blue"), attempt_of(run, site) as attempt:
        raise RuntimeError("out of the blue")
    end = run.end(attempt.number)
    assert (end.outcome, end.reason) == ("failed", "RuntimeError: out of the blue")


def test_one_that_another_command_took_for_dead_is_superseded(site: NeoSite, run: Run) -> None:
    with attempt_of(run, site) as attempt:
        run.end_attempt(attempt.number, "killed", "no sign of life for 60 s")
    assert attempt.outcome == "superseded" and "took this attempt for dead (no sign of life" in attempt.failure
    assert run.end(attempt.number).outcome == "killed", "the first record of an end counts"
    assert EXIT_CODES[attempt.outcome] == 5
