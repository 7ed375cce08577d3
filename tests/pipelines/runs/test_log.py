"""What an attempt said is in the store, in order, the cause of a failure first, whatever became of the machines."""

import pytest

from pipelines.runs.log import AttemptLog, last_lines
from pipelines.runs.run import Run
from pipelines.screen.progress import Scoreboard
from stages.commit.attempt import AttemptId
from stages.commit.run_files import RunFiles
from stages.contract import StepEnded, StepStarted
from stages.store.store import Store
from tests.pipelines.conftest import TOYS, NeoSite
from tests.pipelines.running.test_execute_run import kill_in_the_middle, the_run, wait_until
from tests.pipelines.runs.many_runs import counted

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
    said = [line.split("  ", 1)[1] for line in last_lines(run, 3, None)[0]]
    assert said == [*(f"line {number}" for number in range(40)), "pairs  running  0:00"]
    assert list(last_lines(run, 2, None)[0]) == []


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
    assert [line.split("  ")[1] for line in last_lines(run, 1, None)[0]] == ["first", "pairs", "last"]


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


def write_chunks(run: Run, attempt: int, first: int, last: int) -> None:
    """Chunks of two lines each, one of them about step `kept`."""
    for number in range(first, last):
        text = f"12:00:00  kept  running {number}\n12:00:01  something else {number}\n"
        run.store.overwrite(f"{run.folder}/logs/{attempt}/driver/{number:08d}.txt", text.encode())


def test_the_last_lines_cost_the_same_however_long_the_log_is(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, numbers = Run(Store(tmp_path), "r"), []
    for first, last in ((0, 50), (50, 500)):
        write_chunks(run, 1, first, last)
        with counted(monkeypatch) as requests:
            lines, num_chunks, is_cut = last_lines(run, 1, 20)
        assert (lines[-1], len(lines), num_chunks, is_cut) == (f"12:00:01  something else {last - 1}", 20, last, True)
        numbers.append(sum(request.startswith("read ") for request in requests))
        assert len(requests) - numbers[-1] <= 20  # to count the chunks
    assert numbers == [16, 16]
    lines, _, is_cut = last_lines(run, 1, None)
    assert (len(lines), is_cut) == (1000, False)
    lines, _, is_cut = last_lines(run, 1, 1000)
    assert (len(lines), is_cut) == (1000, False)
    assert last_lines(run, 1, 1, lambda line: " 3" in line)[0] == ["12:00:01  something else 399"]
    assert last_lines(run, 2, 10) == ([], 0, False)


def test_the_tail_is_shown_and_how_to_see_all(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    run = the_run(site)
    whole = site.neo("logs", "data", "--all").out
    assert "earlier lines are left out" not in whole and "begins on site" in whole
    short = site.neo("logs", "data", "--tail", "2").out
    assert f"[earlier lines are left out: neo logs {run.name} --all shows them]" in short
    assert short.splitlines()[-3:-1] == whole.splitlines()[-3:-1] and "begins on site" not in short
    assert site.neo("logs", "data", "--tail", "2", "--json").json["is_cut"]


def test_following_shows_what_comes_until_the_end(site: NeoSite) -> None:
    driver = site.start("run", BROKEN, "--set", "pairs.pause_seconds=1")
    wait_until(lambda: bool(list(site.folder.glob("store/runs/*/logs/1/driver/*.txt"))))
    said = site.neo("logs", "broken_data", "--follow")
    driver.communicate()
    assert said.code == 0 and "kept failed:" in said.out.partition("kept  failed")[2]
    assert said.last_line.startswith("Next: neo resume")
    assert site.neo("logs", "broken_data", "--follow", "--json").code == 2


def test_what_was_printed_is_shown_by_step_part_and_rank(site: NeoSite) -> None:
    site.neo("run", f"{TOYS}:data")
    run = the_run(site)
    files = RunFiles(run.store, AttemptId(run.name, 1), step="rows")
    assert "there is output" not in site.neo("logs", "data").out
    for number in range(12):
        files.keep_output(f"write/{number:05d}", f"part {number} said this\n")
    assert [files.keep_output("rank0", text) for text in ("early", "late")] == [0, 1]
    assert "[there is output of rows: neo logs" in site.neo("logs", "data").out
    of_step = site.neo("logs", "data", "rows", "--attempt", "1").out
    assert "rank0.0 printed:\nearly" in of_step and "rank0.1 printed:\nlate" in of_step
    assert "write/00007.0 printed:\npart 7 said this" in of_step and "of write/00008.0, write/00009.0" in of_step
    of_part = site.neo("logs", "data", "rows", "--attempt", "1", "--of", "write/00011", "--json").json
    assert of_part["output"] == {"write/00011.0": "part 11 said this\n"}
    assert site.neo("logs", "data", "rows", "--of", "write/1").code == 2
    assert site.neo("logs", "data", "--of", "rank0").code == 2
