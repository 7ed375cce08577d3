"""Ranks that hang: noticed by time alone, whoever is to blame, ended with their workers, and gone on from."""

import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from stages.contract import GangLayout
from tests.stages.training.test_loop import committed_steps, training, two_ranks
from tests.worlds.training_world import SmallWorld


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld.at(tmp_path)


def wait_for_ever(rank, step: int) -> None:
    """Rank 1 finds nothing to do at a step, so rank 0 waits for it in a collective."""
    from stages.training.load_together import JointLoader

    load = JointLoader.load

    def load_none(joint, at_step):
        if at_step == step and rank.rank == 1:
            threading.Event().wait()
        return load(joint, at_step)

    JointLoader.load = load_none


def test_ranks_that_hang_leave_their_stacks_and_end(world: SmallWorld) -> None:
    impatient = two_ranks().model_copy(update={"max_silent_seconds": 8.0})
    with pytest.raises(Exception, match="exit code 71|onnection|peer"):
        world.make(training(), impatient, trouble=partial(wait_for_ever, step=4))
    kept = [world.store.read(key).decode() for key in world.store.keys("runs/") if ".rank" in key]
    assert len(kept) >= 1
    assert any("took no step for" in text and ("load_none" in text or "all_reduce" in text) for text in kept)
    assert committed_steps(world, training()) == [2]
    assert world.make(training(), two_ranks()).content


def stop_worker(rank, file: Path) -> None:
    """The process that loads for the rank is stopped, as by a disk that answers no more."""
    from stages.training.loading.workers import Processes

    take = Processes.take

    def take_of_stopped(processes, ask):
        if ask == (0, 0):
            process = processes._workers[0].process_id
            file.write_text(str(process))
            os.kill(process, signal.SIGSTOP)
        return take(processes, ask)

    Processes.take = take_of_stopped


def test_a_loader_worker_that_is_stuck_ends_as_a_rank_that_hangs(world: SmallWorld, tmp_path: Path) -> None:
    """Nobody can tell it from a slow one but by time: the watchdog of the rank ends both, and keeps the stacks."""
    impatient = GangLayout(micro_rows=2, max_silent_seconds=8.0, num_loader_workers=1)
    file = tmp_path / "worker.txt"
    with pytest.raises(Exception, match="exit code 71"):
        world.make(training(), impatient, trouble=partial(stop_worker, file=file))
    kept = [world.store.read(key).decode() for key in world.store.keys("runs/") if ".rank" in key]
    assert any("took no step for" in text and "workers.py" in text for text in kept)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(int(file.read_text())):
        assert time.monotonic() < deadline, "the stopped worker outlives its rank"
        time.sleep(0.05)


def never_write(rank) -> None:
    """Rank 0 finds no end of writing the finished model."""
    import stages.train_prebuffer as stage

    def write(*_, **__):
        threading.Event().wait()

    stage.write_prebuffer = write


def test_ranks_that_hang_in_the_last_commit_are_noticed_as_well(world: SmallWorld, tmp_path: Path) -> None:
    impatient = two_ranks().model_copy(update={"max_silent_seconds": 8.0})
    with pytest.raises(Exception, match="exit code 71|onnection|peer"):
        world.make(training(num_steps=2), impatient, trouble=never_write)
    kept = [world.store.read(key).decode() for key in world.store.keys("runs/") if ".rank" in key]
    assert any("took no step for" in text and "commit_model" in text for text in kept)


def end_slowly(rank, pause_seconds: float) -> None:
    """Writing the finished model and uploading it take `pause_seconds` each."""
    import stages.train_prebuffer as stage
    from stages.training.checkpoints.checkpoint import Checkpoints

    write, upload = stage.write_prebuffer, Checkpoints._upload

    def slow_write(*args, **kwargs):
        time.sleep(pause_seconds)
        return write(*args, **kwargs)

    def slow_upload(self, folder, step):
        time.sleep(pause_seconds)
        return upload(self, folder, step)

    stage.write_prebuffer, Checkpoints._upload = slow_write, slow_upload


@pytest.mark.long
def test_a_last_commit_of_slow_pieces_is_no_hang(world: SmallWorld) -> None:
    """Each piece takes less than the longest silence, all together more: every one of them restarts the timeout."""
    layout = two_ranks().model_copy(update={"max_silent_seconds": 12.0})
    assert world.make(training(num_steps=2), layout, trouble=partial(end_slowly, pause_seconds=8.0)).content


def remember_timeouts(rank, folder: Path) -> None:
    """What each process group of a rank waits for, once its engine is there."""
    from stages.training.engine.engine import Engine

    begin = Engine.__init__

    def begun(engine, *arguments):
        import torch
        from torch.distributed import distributed_c10d

        begin(engine, *arguments)
        groups = list(distributed_c10d._world.pg_map)
        found = {str(group._get_backend(torch.device("cpu")).options._timeout) for group in groups}
        (folder / f"{rank.rank}-{len(groups)}").write_text(" ".join(found))

    Engine.__init__ = begun


def test_groups_that_deepspeed_makes_wait_as_long_as_the_layout_says(world: SmallWorld, tmp_path: Path) -> None:
    """torch would give them ten minutes with NCCL, while a commit may take an hour."""
    layout = two_ranks().model_copy(update={"max_silent_seconds": 7200.0})
    world.make(training(num_steps=1), layout, trouble=partial(remember_timeouts, folder=tmp_path))
    told = {path.name: path.read_text() for path in tmp_path.glob("[01]-*")}
    assert set(told.values()) == {"2:13:00"} and {name[0] for name in told} == {"0", "1"}
    assert all(int(name[2:]) >= 2 for name in told), "the first, and DeepSpeed's"
