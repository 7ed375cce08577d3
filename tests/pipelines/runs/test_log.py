"""What an attempt said is in the store, in order, the cause of a failure first, whatever became of the machines."""

import pytest

from pipelines.runs.log import AttemptLog, read_driver_log
from pipelines.runs.run import Run
from pipelines.screen.progress import Scoreboard
from stages.commit.attempt import AttemptId
from stages.commit.run_files import RunFiles
from stages.contract import StepEnded, StepStarted
from stages.store.store import Store
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import kill_in_the_middle, the_run

BROKEN = f"{TOYS}:broken_data"


def test_lines_are_kept_in_order_in_chunks_that_never_change(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.runs.log.SECONDS_BETWEEN_CHUNKS", 0.01)
    run, board = Run(Store(tmp_path), "r"), Scoreboard({"pairs": None})
    log = AttemptLog(run, 3, board)
    with log.writing():
        for number in range(40):
            log.write(f"line {number}")
        board.take(event := StepStarted(step="pairs"))
        log.take(event)
    said = [line.split("  ", 1)[1] for line in read_driver_log(run, 3)]
    assert said == [*(f"line {number}" for number in range(40)), "pairs  running  0:00"]
    assert list(read_driver_log(run, 2)) == []


def test_a_store_that_takes_nothing_for_a_while_loses_no_line(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipelines.runs.log.SECONDS_BETWEEN_CHUNKS", 0.01)
    run, board = Run(Store(tmp_path / "store"), "r"), Scoreboard({"pairs": None})
    (tmp_path / "store").write_text("a file where the folder should be")
    log = AttemptLog(run, 1, board)
    with log.writing():
        log.write("first")
        log.take(StepEnded(step="pairs", outcome="failed", reason="x"))
        (tmp_path / "store").unlink()
        log.write("last")
    assert [line.split("  ")[1] for line in read_driver_log(run, 1)] == ["first", "pairs", "last"]


def test_logs_say_the_cause_first_and_then_what_happened(site: NeoSite) -> None:
    site.neo("run", BROKEN)
    said = site.neo("logs", "broken_data")
    assert said.code == 0, said
    head, failed, *rest = [line for line in said.out.splitlines() if line]
    assert head.startswith(f"{the_run(site).name}, attempt 1 on ") and "the toy broke on purpose" in head
    assert failed == "kept failed:" and rest[0].startswith("traceback: ")
    assert [line.split("  ")[1:3] for line in rest[1:-1]][1:4] == [
        ["pairs", "running"],
        ["pairs", "committed"],
        ["kept", "running"],
    ]
    assert said.last_line == f"Next: neo resume {the_run(site).name} --site {site.file}"


def test_logs_of_a_step_are_those_of_the_last_attempt_that_spoke_of_it(site: NeoSite) -> None:
    site.neo("run", BROKEN)
    site.neo("run", BROKEN)
    document = site.neo("logs", "broken_data", "pairs", "--json").json
    assert document["attempt"] == 1 and document["tracebacks"] == {}
    assert {line.split("  ")[1] for line in document["lines"]} == {"pairs"}
    assert site.neo("logs", "broken_data", "kept", "--json").json["attempt"] == 2
    assert site.neo("logs", "broken_data", "--attempt", "1", "--json").json["attempt"] == 1


def test_stacks_of_a_rank_that_hung_are_shown(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    run = the_run(site)
    files = RunFiles(run.store, AttemptId(run.name, 1), step="rows")
    files.keep_log("rank3", "rank 3 of 4 took no step for 60 s")
    files.keep_log("rank3", "and again")
    assert "rows.rank3.0 hung:\nrank 3 of 4 took no step for 60 s" in site.neo("logs", "data").out
    stacks = {"rows.rank3.0": "rank 3 of 4 took no step for 60 s", "rows.rank3.1": "and again"}
    assert site.neo("logs", "data", "rows", "--attempt", "1", "--json").json["stacks"] == stacks


def test_a_killed_attempt_left_its_lines(site: NeoSite) -> None:
    kill_in_the_middle(site, num_recorded=1)
    document = site.neo("logs", the_run(site).name, "--json").json
    assert document["outcome"] == "killed"
    assert "attempt 1 begins on site 'site': pairs, kept, mix, rows to make" in document["lines"][0]


@pytest.mark.parametrize("words", [("data", "nothing"), ("data", "--attempt", "7"), ("data/kept",)])
def test_logs_of_what_is_not_there_say_what_there_is(site: NeoSite, words: tuple[str, ...]) -> None:
    site.neo("run", f"{TOYS}:data")
    said = site.neo("logs", *words)
    assert said.code == 2 and said.err.startswith("neo: ")
