"""A driver that is lost is started again in its job; what a retry cannot help, and what was cancelled, is not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.exits import ExitCode
from pipelines.running.retries import ended_in_words, is_worth_retry
from pipelines.runs.run import AttemptRecord, Run
from stages.commit.heartbeat import ProcessMark
from stages.store.store import Store
from tests.pipelines.conftest import ROOT

PARENT = """
import sys
from pipelines.running.retries import drive_again
from pipelines.runs.run import Run
from stages.store.store import Store
import pipelines.running.retries as it
it.SECONDS_BEFORE_RETRY = 0.05
sys.exit(drive_again(["bash", "-c", sys.argv[3]], Run(Store(sys.argv[1]), "toy-1"), int(sys.argv[2])))
"""
COUNT = "echo x >> tries; [ $(wc -l < tries) -gt {} ] && exit 0; "


STOPPED_AT_THE_START = """
import os, signal, subprocess, time

class Popen(subprocess.Popen):
    def __init__(self, *words):
        super().__init__(*words)
        while not os.path.exists("up"):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

subprocess.Popen = Popen
"""
WAITS = "trap 'exit 75' TERM; touch up; while :; do sleep 0.05; done"


def driven(folder: Path, retries: int, body: str, first: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "-c", first + PARENT, str(folder / "store"), str(retries), body]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def tries(folder: Path) -> int:
    return len((folder / "tries").read_text().splitlines())


def test_a_driver_that_dies_is_started_again_until_it_ends_by_itself(tmp_path: Path) -> None:
    parent = driven(tmp_path, 5, COUNT.format(2) + "kill -KILL $$")
    _, said = parent.communicate(timeout=120)
    assert parent.returncode == 0 and tries(tmp_path) == 3
    assert "was ended by SIGKILL; retry 2 of 5 begins" in said


def test_no_more_retries_than_asked_for_and_the_last_code_is_the_jobs(tmp_path: Path) -> None:
    parent = driven(tmp_path, 1, COUNT.format(9) + "exit 75")
    parent.communicate(timeout=120)
    assert parent.returncode == 75 and tries(tmp_path) == 2


def test_a_stop_goes_to_the_driver_and_no_other_is_started(tmp_path: Path) -> None:
    parent = driven(tmp_path, 5, COUNT.format(9) + WAITS)
    while not (tmp_path / "up").exists():
        time.sleep(0.02)
    parent.terminate()
    parent.communicate(timeout=120)
    assert parent.returncode == 75 and tries(tmp_path) == 1


def test_a_stop_that_comes_while_the_driver_is_being_started_reaches_it(tmp_path: Path) -> None:
    parent = driven(tmp_path, 5, COUNT.format(9) + WAITS, STOPPED_AT_THE_START)
    parent.communicate(timeout=60)
    assert parent.returncode == 75 and tries(tmp_path) == 1


@pytest.mark.parametrize(
    ("code", "is_worth"),
    [(0, False), (1, False), (2, False), (3, False), (4, False), (5, False), (75, True), (-9, True), (137, True)],
)
def test_only_lost_and_interrupted_drivers_are_worth_a_retry(tmp_path: Path, code: int, is_worth: bool) -> None:
    assert set(ExitCode) == {0, 1, 2, 3, 4, 5, 75}
    assert is_worth_retry(Run(Store(str(tmp_path / "store")), "toy-1"), code) is is_worth


def test_what_was_cancelled_is_not_started_again(tmp_path: Path) -> None:
    run = Run(Store(str(tmp_path / "store")), "toy-1")
    record = AttemptRecord(number=1, **ProcessMark.here())
    run.store.create_json(f"{run.folder}/attempts/1.json", record.model_dump(mode="json"))
    assert run.num_attempts == 1
    assert is_worth_retry(run, 75)
    run.request_stop(1)
    assert not is_worth_retry(run, 75) and not is_worth_retry(run, -9)


def test_an_end_is_named_by_its_signal() -> None:
    assert ended_in_words(-int(signal.SIGSEGV)) == "was ended by SIGSEGV"
    assert ended_in_words(137) == "was ended by SIGKILL"
    assert ended_in_words(75) == "ended with exit code 75"
