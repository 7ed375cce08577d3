"""Fault points: nothing unless asked for, and then exactly the action, at exactly the edge that was named."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stages.store.fault_points import EXIT_CODE, Fault, fault_point

COMMITTING = """
import sys
from stages.store.fault_points import fault_point
for number in range(3):
    with fault_point("part.recorded", f"part-{number}"):
        print("committed", number, flush=True)
print("lived")
"""


def committing(fault: str, **more: str) -> subprocess.CompletedProcess[str]:
    """A process of its own that passes `part.recorded` three times."""
    environment = {**os.environ, "NEO_FAULT": fault, **more}
    return subprocess.run(
        [sys.executable, "-c", COMMITTING], check=False, env=environment, capture_output=True, text=True, timeout=30
    )


@pytest.mark.parametrize(
    ("fault", "code", "num_committed"),
    [
        ("part.recorded:before=kill", -signal.SIGKILL, 0),
        ("part.recorded:after=kill", -signal.SIGKILL, 1),
        ("part.recorded:before@3=exit", EXIT_CODE, 2),
        ("part.recorded:after@2=term", -signal.SIGTERM, 2),
        ("part.recorded:before@4=kill", 0, 3),
        ("ref.set:before=kill", 0, 3),
    ],
)
def test_a_process_dies_at_the_edge_and_occurrence_that_were_asked_for(
    fault: str, code: int, num_committed: int
) -> None:
    done = committing(fault)
    assert done.returncode == code, done.stderr
    assert done.stdout.count("committed") == num_committed
    assert ("lived" in done.stdout) == (code == 0)


@pytest.mark.parametrize(
    ("point", "action", "said"),
    [("claim.taken", "raise", "Input/output error"), ("log.kept", "enospc", "No space left on device")],
)
def test_an_error_is_raised_where_the_commit_stands(
    point: str, action: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEO_FAULT", f"{point}:before={action}")
    with pytest.raises(OSError, match=said), fault_point(point):
        raise AssertionError("not reached")


def test_sleeping_lasts_as_long_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_FAULT", "cancel.asked:after=sleep")
    monkeypatch.setenv("NEO_FAULT_SECONDS", "0.2")
    began = time.monotonic()
    with fault_point("cancel.asked"):
        pass
    assert time.monotonic() - began >= 0.2


def test_a_restarted_process_does_not_die_again(tmp_path: Path) -> None:
    once = str(tmp_path / "once")
    assert committing("part.recorded:before=exit", NEO_FAULT_ONCE=once).returncode == EXIT_CODE
    assert committing("part.recorded:before=exit", NEO_FAULT_ONCE=once).stdout.endswith("lived\n")


def test_the_trace_holds_each_edge_with_what_was_committed_up_to_the_death(tmp_path: Path) -> None:
    committing("part.recorded:after@2=kill", NEO_FAULT_TRACE=str(tmp_path))
    (trace,) = tmp_path.glob("*.txt")
    assert trace.read_text().splitlines() == [
        "part.recorded:before part-0",
        "part.recorded:after part-0",
        "part.recorded:before part-1",
        "part.recorded:after part-1",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("part.lost:before=kill", "there is no point 'part.lost'"),
        ("ref.set:before=explode", "there is no action 'explode'"),
        ("ref.set=kill", "has not the shape"),
        ("ref.set:before@0=kill", "has not the shape"),
    ],
)
def test_what_does_not_exist_is_refused_with_what_does(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Fault.parse(text)
    assert said in committing(text).stderr


def test_a_point_without_a_name_of_ours_is_refused_even_when_nothing_is_asked_for() -> None:
    with pytest.raises(ValueError, match=r"no fault point 'part\.lost'"), fault_point("part.lost"):
        pass
