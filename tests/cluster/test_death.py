"""A driver that is killed: nothing of it lives on, nothing recorded is lost or made again, the next one resumes."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cluster.site import Site
from stages.commit.phase_records import read_record
from tests.cluster.toy_run import ToyRun, killable
from tests.worlds.cluster_world import times

MARK = "NEO_TEST_MARK"
ROOT = Path(__file__).parents[2]


class Driver:
    """A driver process in a process group of its own, as a command in a terminal is."""

    def __init__(self, folder: Path, attempt: int) -> None:
        self.mark = f"{folder}-{attempt}"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.toy_run", str(folder), str(attempt)],
            cwd=ROOT,
            env={**os.environ, MARK: self.mark, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, happened: Callable[[dict[str, Any]], bool]) -> None:
        """Read on until an event is met; what the driver prints is events and, last, the endings."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if happened(json.loads(line)):
                return
        raise AssertionError("the driver ended before")

    def endings(self) -> dict[str, list[str]]:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.read().splitlines()[-1])

    def processes(self) -> list[int]:
        """All living processes that the driver started, down to the last."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and f"{MARK}={self.mark}\0".encode() in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def is_gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def part_recorded(event: dict[str, Any]) -> bool:
    return event.get("event") == "part" and event["step"] == "parts"


def checkpoint_committed(event: dict[str, Any]) -> bool:
    return event.get("event") == "checkpoint"


@pytest.mark.long
def test_killed_in_parts_interrupted_in_training_killed_in_training_and_the_end_is_reached(
    tmp_path: Path, ray_site: Site
) -> None:
    diary = tmp_path / "diary"

    first = Driver(tmp_path, 1)
    first.wait_for(part_recorded)
    first.process.kill()
    assert first.is_gone_within(60), first.processes()
    assert not list(tmp_path.glob("neo-*")), "what parts had written before they were recorded"
    writer = ToyRun(ray_site, tmp_path, killable(tmp_path)).specs()["parts"].writer
    kept = [
        part
        for part in (f"{index:03d}" for index in range(10))
        if read_record(writer.store, writer.record_key("write", part))
    ]
    assert 1 <= len(kept) < 10

    second = Driver(tmp_path, 2)
    second.wait_for(checkpoint_committed)
    os.killpg(second.process.pid, signal.SIGINT)
    endings = second.endings()
    assert second.process.wait(120) == 75
    assert second.is_gone_within(60), second.processes()
    assert {name: ending for name, (ending, _) in endings.items()} == {
        "parts": "committed",
        "total": "committed",
        "train": "interrupted",
    }
    assert [times(diary / "parts", f"begun-{part}") for part in kept] == [1] * len(kept)
    stopped = re.fullmatch(r"stopped after step (\d+)", endings["train"][1])
    assert stopped is not None, endings

    third = Driver(tmp_path, 3)
    third.wait_for(checkpoint_committed)
    third.process.kill()
    assert third.is_gone_within(60), third.processes()
    assert times(diary / "train", f"rank0-from-step{stopped[1]}") == 1

    last = ToyRun(ray_site, tmp_path, killable(tmp_path), attempt=4)
    assert [outcome.ending for outcome in last.carry_out().values()] == ["reused", "reused", "committed"]
    assert last.made("train").parts[-1].facts == {"step": 40, "total": 120}
    assert times(diary / "train", "rank0-from-step0") == 1
