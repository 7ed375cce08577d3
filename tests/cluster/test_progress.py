"""Progress of the parts on one machine: one message a second for all of its processes, with the newest of each."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from cluster import progress
from cluster.progress import TURN, MachineProgress
from stages.contract import PartProgress


class Clock:
    """Time that passes when the test says so."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.now_seconds = folder, 1000.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now_seconds)

    def pass_a_second(self) -> None:
        self.now_seconds += 1.0
        turn = self.folder / TURN
        os.utime(turn, (turn.stat().st_atime, turn.stat().st_mtime - 1.0))


def done(part: str, num_done: int) -> PartProgress:
    return PartProgress(step="pairs", phase="fetch", part=part, num_done=num_done)


def test_one_message_a_second_holds_the_newest_of_every_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(tmp_path, monkeypatch)
    sent: list[list[tuple[str, int]]] = []

    def post(noted: Sequence[PartProgress]) -> None:
        sent.append(sorted((one.part, one.num_done) for one in noted))

    workers = [MachineProgress(tmp_path, f"worker{number}", post) for number in range(32)]
    for second in range(1, 4):
        for number, worker in enumerate(workers):
            worker.note(done(f"{number:02d}", 10 * second))
            worker.note(done(f"{number:02d}", 10 * second + 1))
        clock.pass_a_second()
    assert sent[0] == [("00", 10)]
    assert len(sent) == 3
    assert sent[1] == sorted([("00", 20)] + [(f"{number:02d}", 10) for number in range(1, 32)])


def test_a_process_posts_for_itself_where_nothing_can_be_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[PartProgress] = []
    worker = MachineProgress(tmp_path / "progress", "worker", sent.extend)
    monkeypatch.setattr(MachineProgress, "_write", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left")))
    worker.note(done("00", 1))
    worker.note(done("00", 2))
    assert [one.num_done for one in sent] == [1]


def test_a_note_that_is_torn_or_of_another_kind_is_passed_over(tmp_path: Path) -> None:
    sent: list[PartProgress] = []
    worker = MachineProgress(tmp_path, "worker", sent.extend)
    (tmp_path / "torn.json").write_text('{"event": "prog')
    worker.note(done("00", 1))
    assert [one.num_done for one in sent] == [1]
    assert time.time() - (tmp_path / TURN).stat().st_mtime < 60
