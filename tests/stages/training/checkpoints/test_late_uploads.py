"""Checkpoints that reach the store late, or not at all, while training continues."""

import threading
from functools import partial
from pathlib import Path

import pytest

from stages.contract import StageError
from stages.store.errors import StoreUnavailableError
from stages.store.store import Store
from tests.fault_proxy import Fault, FaultProxy
from tests.stages.training.test_loop import committed_steps, training, two_ranks
from tests.worlds.training_world import SmallWorld


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld.at(tmp_path)


def upload_slowly(rank, until: int) -> None:
    """The upload of the first checkpoint, at step 2, ends only once step `until` is under way."""
    from stages.training.load_together import JointLoader

    under_way = threading.Event()
    load, upload = JointLoader.load, rank.checkpoints.upload

    def load_and_tell(joint, step):
        if step + 1 == until:
            under_way.set()
        return load(joint, step)

    def upload_then(folder, step):
        assert under_way.wait(60), f"no step {until} while a checkpoint is uploaded"
        return upload(folder, step)

    JointLoader.load, rank.checkpoints.upload = load_and_tell, upload_then


def test_steps_go_on_while_a_checkpoint_is_uploaded(world: SmallWorld, tmp_path: Path) -> None:
    """One at a time: that of step 4 waits for that of step 2, and none is left out."""
    slow = world.make(training(), two_ranks(), trouble=partial(upload_slowly, until=4))
    assert committed_steps(world, training()) == [2, 4, 6]
    assert slow.content == SmallWorld.at(tmp_path / "other").make(training(), two_ranks()).content


def same_weights(made, other) -> bool:
    """Whether two trainings ended with the same files, whatever their stores."""
    return [entry.sha256 for entry in made.parts[-1].files] == [entry.sha256 for entry in other.parts[-1].files]


def unsaved(world: SmallWorld) -> list:
    return [event for event in world.events if event.event == "unsaved"]


@pytest.mark.parametrize("point", ["checkpoint.uploaded:before", "checkpoint.recorded:after"])
def test_a_folder_that_fails_for_a_while_stops_nobody(
    point: str, world: SmallWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first upload of each rank fails; or the first record's answer is lost, and no second record is made."""
    monkeypatch.setenv("NEO_FAULT", f"{point}=raise")
    late = world.make(training(), two_ranks())
    monkeypatch.delenv("NEO_FAULT")
    assert committed_steps(world, training()) == [2, 4, 6]
    (told,) = unsaved(world)
    assert told.at_step == 2 and "OSError: [Errno 5] Input/output error" in told.why
    assert same_weights(late, SmallWorld.at(tmp_path / "other").make(training(), two_ranks()))


def look_at_each_try(rank) -> None:
    """No step after the second begins before rank 1 has tried once to upload: how fast steps are decides nothing."""
    from stages.training.load_together import JointLoader

    tried, upload, load = threading.Event(), rank.checkpoints.upload, JointLoader.load

    def uploaded(folder, step):
        try:
            return upload(folder, step)
        finally:
            tried.set()

    def load_after_it(joint, at_step):
        if rank.rank == 1 and at_step >= 2:
            assert tried.wait(60)
        return load(joint, at_step)

    rank.checkpoints.upload, JointLoader.load = uploaded, load_after_it


def test_a_bucket_that_denies_for_a_while_stops_nobody(bucket: str, proxy: FaultProxy, tmp_path: Path) -> None:
    """The upload of rank 1 is denied at step 2 and again when step 4 is due, and then is not."""
    world = SmallWorld(Store(f"{bucket}/team"), tmp_path / "scratch")
    rule = proxy.ask(Fault.FORBIDDEN, "PUT", "engine/rank-00001.safetensors", times=2)
    late = world.make(training(), two_ranks(), trouble=look_at_each_try)
    assert rule.num_hits == 2
    assert committed_steps(world, training()) == [2, 4, 6]
    assert unsaved(world)[0].at_step == 2 and "rank 1: StoreDeniedError" in unsaved(world)[0].why
    assert same_weights(late, SmallWorld.at(tmp_path / "other").make(training(), two_ranks()))


def fail_to_upload(rank, error: Exception, at_step: int) -> None:
    upload = rank.checkpoints.upload

    def failing(folder, step):
        if step == at_step and rank.rank == 1:
            raise error
        return upload(folder, step)

    rank.checkpoints.upload = failing


def test_a_store_that_fails_until_the_next_checkpoint_is_due_stops_the_run_in_words(world: SmallWorld) -> None:
    step = training(keep_last_state=True)  # due after the last step
    error = StoreUnavailableError("the store is away")
    with pytest.raises(
        StageError, match=r"checkpoint at step 4 could .* in [23] tries \(rank 1: .* is away\).*run the"
    ):
        world.make(step, two_ranks(), trouble=partial(fail_to_upload, error=error, at_step=4))
    assert committed_steps(world, step) == [2], "and what was committed is kept"
    assert [event.at_step for event in unsaved(world)] == [4]


def test_an_upload_that_fails_otherwise_ends_the_run_at_once(world: SmallWorld) -> None:
    trouble = partial(fail_to_upload, error=ValueError("a bug"), at_step=2)
    with pytest.raises(StageError, match=r"rank 1: the checkpoint at step 2 could not be committed: ValueError: a bug"):
        world.make(training(), two_ranks(), trouble=trouble)
    assert committed_steps(world, training()) == [] and unsaved(world) == []
