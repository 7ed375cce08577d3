"""Loading ahead: in order, by whoever, through the death of whoever; and nobody is left behind."""

import os
import signal
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

from stages.contract import StageError
from stages.training.loading.prefetch import STEPS_AHEAD, prefetch
from stages.training.loading.workers import MAX_DEATHS, SHARED_BYTES

NUM_MICRO_BATCHES = 2


@dataclass(frozen=True)
class Counting:
    """Loads what it was asked for, and says by which process; has trouble with step 3, micro-batch 1."""

    trouble: str = ""
    marks: Path | None = None

    def fetch(self, step: int, number: int) -> tuple[int, int]:
        if self.marks is not None:
            (self.marks / f"{step}-{number}").touch()
        return step, number

    def decode(self, fetched: tuple[int, int]) -> tuple[tuple[int, int], int]:
        if fetched == (3, 1):
            getattr(self, self.trouble, lambda: None)()
        return fetched, os.getpid()

    def fail_always(self) -> None:
        raise StageError("row 17 is not what it was")

    def fail_once(self) -> None:
        if self._is_first():
            raise StageError("row 17 is not what it was")

    def die_always(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_once(self) -> None:
        if self._is_first():
            self.die_always()

    def leave(self) -> None:
        os._exit(3)

    def _is_first(self) -> bool:
        mark = self.marks / "troubled"
        is_first = not mark.exists()
        mark.touch()
        return is_first


def whole(step: int) -> list[tuple[int, int]]:
    return [(step, number) for number in range(NUM_MICRO_BATCHES)]


def opened(loading: Counting, num_workers: int, notices: list[str] | None = None, steps: range = range(7)):
    return prefetch(loading, steps, NUM_MICRO_BATCHES, num_workers, (notices if notices is not None else []).append)


def asked(loaded: list) -> list[tuple[int, int]]:
    return [ask for ask, _ in loaded]


@pytest.mark.parametrize("num_workers", [0, 1, 3])
def test_steps_come_whole_and_in_order_whoever_loads_them(num_workers: int) -> None:
    with opened(Counting(), num_workers, steps=range(2, 9)) as loaded:
        found = list(loaded)
    assert [asked(one) for one in found] == [whole(step) for step in range(2, 9)]
    assert len({process for one in found for _, process in one}) == max(1, num_workers)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_step_that_fails_fails_in_its_turn_and_can_be_tried_again(num_workers: int, tmp_path: Path) -> None:
    with opened(Counting("fail_once", tmp_path), num_workers) as loaded:
        assert [asked(next(loaded)) for _ in range(3)] == [whole(0), whole(1), whole(2)]
        with pytest.raises(StageError, match="row 17 is not what it was"):
            next(loaded)
        assert [asked(one) for one in loaded] == [whole(step) for step in range(3, 7)]


def test_a_failure_in_a_worker_says_where() -> None:
    with opened(Counting("fail_always"), 1) as loaded:
        for _ in range(3):
            next(loaded)
        with pytest.raises(StageError) as caught:
            next(loaded)
    assert "in fail_always" in caught.value.__notes__[0]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_no_more_is_loaded_than_two_steps_ahead(num_workers: int, tmp_path: Path) -> None:
    with opened(Counting(marks=tmp_path), num_workers, steps=range(1000)) as loaded:
        for _ in range(4):
            next(loaded)
    most = (4 + STEPS_AHEAD) * NUM_MICRO_BATCHES + max(1, num_workers)
    assert 8 <= len(list(tmp_path.iterdir())) <= most


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_worker_that_dies_is_replaced_and_nothing_is_lost(num_workers: int, tmp_path: Path) -> None:
    notices: list[str] = []
    with opened(Counting("die_once", tmp_path), num_workers, notices) as loaded:
        found = list(loaded)
    assert [asked(one) for one in found] == [whole(step) for step in range(7)]
    assert len({process for one in found for _, process in one}) == num_workers + 1
    (said,) = notices
    assert "was killed by SIGKILL; step 4 waits for it, and a new one goes on (1 of at most 2)" in said


def test_a_worker_killed_from_outside_is_replaced() -> None:
    """As the kernel kills for want of memory: at any instant, here while it has answered and waits."""
    notices: list[str] = []
    with opened(Counting(), 1, notices, steps=range(50)) as loaded:
        ((_, process), _) = next(loaded)
        os.kill(process, signal.SIGKILL)
        assert [asked(one) for one in loaded] == [whole(step) for step in range(1, 50)]
    assert len(notices) == 1


@pytest.mark.parametrize(("trouble", "how"), [("die_always", "killed by SIGKILL"), ("leave", "exit code 3")])
def test_what_kills_each_worker_that_loads_it_is_given_up(trouble: str, how: str) -> None:
    notices: list[str] = []
    with opened(Counting(trouble), 2, notices) as loaded:
        for _ in range(3):
            next(loaded)
        with pytest.raises(StageError, match=f"{how}; step 4 waits for it, and 2 before it died there: a picture"):
            next(loaded)
    assert len(notices) == MAX_DEATHS - 1


def test_leaving_early_leaves_neither_threads_nor_processes() -> None:
    with opened(Counting(), 0, steps=range(1000)) as loaded:
        next(loaded)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
    with opened(Counting(), 2, steps=range(1000)) as loaded:
        processes = {process for _, process in next(loaded)}
        os.kill(min(processes), signal.SIGSTOP)
    assert not any(psutil.pid_exists(process) for process in processes)


def load_and_be_killed(sender) -> None:
    with opened(Counting(), 2, steps=range(1000)) as loaded:
        sender.send({process for _, process in next(loaded)})
        os.kill(os.getpid(), signal.SIGKILL)


def test_workers_end_with_a_rank_that_was_killed() -> None:
    from multiprocessing import get_context

    context = get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    rank = context.Process(target=load_and_be_killed, args=(sender,))
    rank.start()
    processes = [psutil.Process(process) for process in receiver.recv()]
    rank.join()
    assert psutil.wait_procs(processes, timeout=60)[1] == []


@dataclass(frozen=True)
class Large:
    """Arrays on both sides of what is shared."""

    def fetch(self, step: int, number: int) -> int:
        return step

    def decode(self, step: int) -> dict:
        return {
            "large": torch.full((SHARED_BYTES + 7,), step, dtype=torch.uint8),
            "wide": torch.arange(SHARED_BYTES, dtype=torch.int64).reshape(2, -1).T,
            "small": torch.tensor([step, 1]),
            "empty": torch.empty(0, 768),
            "array": np.full(SHARED_BYTES, step, np.uint8),
            "text": ("a", "b"),
        }


def test_what_workers_hand_over_is_what_they_made_and_keeps_no_descriptor() -> None:
    here = psutil.Process()
    with prefetch(Large(), range(20), 1, 1, print) as loaded:
        kept = [next(loaded)[0]]
        before = here.num_fds()
        kept += [one for (one,) in loaded]
        assert here.num_fds() <= before
    for step, found in enumerate(kept):
        expected = Large().decode(step)
        for name in ("large", "wide", "small", "empty"):
            assert found[name].equal(expected[name]) and found[name].dtype == expected[name].dtype
        assert (found["array"] == step).all() and found["text"] == ("a", "b")
        found["large"][0] = 7


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_was_taken_and_let_go_takes_no_memory(num_workers: int) -> None:
    """600 MB go through; `python -m benchmarks.long_load` shows the same of real rows for longer."""
    sizes_mib, num_descriptors = [], []
    with prefetch(Large(), range(60), 1, num_workers, print) as loaded:
        for _ in loaded:
            workers = getattr(loaded._hands, "_workers", [])
            processes = [psutil.Process(), *(psutil.Process(worker.process_id) for worker in workers)]
            sizes_mib.append(sum(process.memory_info().rss for process in processes) / 2**20)
            num_descriptors.append(sum(process.num_fds() for process in processes))
    assert max(sizes_mib[-20:]) < max(sizes_mib[10:20]) + 100
    # One left open for each of the last 40 would be 40 more; a few are open for moments, such as a lock's.
    assert max(num_descriptors[-20:]) < max(num_descriptors[:20]) + 10
