"""A damaged newest checkpoint: refused, or gone back behind where that is allowed, and never to the beginning."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stages.contract import GangLayout, InterruptedRunError, StageError
from tests.long import long
from tests.spoil import cut, flip
from tests.stages.training.test_loop import ask_to_stop, committed_steps, training, two_ranks
from tests.worlds.training_world import SmallWorld


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld.at(tmp_path)


def stopped_after(world: SmallWorld, num_checkpoints: int) -> None:
    """Training that was stopped at its first step, so many times."""
    for _ in range(num_checkpoints):
        with pytest.raises(InterruptedRunError):
            world.make(training(), two_ranks(), trouble=ask_to_stop)


def file_of_rank_1(world: SmallWorld) -> Path:
    record = world.checkpoints(training()).latest()
    return world.store.folder / next(one.key for one in record.files if "rank-00001" in one.name)


@pytest.mark.parametrize("damage", [flip, long(cut), long(Path.unlink)])
def test_a_damaged_checkpoint_is_gone_back_behind_only_where_that_is_allowed(
    damage: Callable[[Path], None], world: SmallWorld, tmp_path: Path
) -> None:
    stopped_after(world, 3)
    damage(file_of_rank_1(world))
    with pytest.raises(
        StageError,
        match=r"step 3 is damaged: .*rank-00001.* step 2: .*--allow-rollback \(steps .* trained again: 1\)",
    ):
        world.make(training(), two_ranks())
    assert committed_steps(world, training()) == [1, 2, 3]
    world.allows_rollback = True
    made = world.make(training(), two_ranks())
    assert committed_steps(world, training()) == [1, 2, 4, 6]
    assert len(list(world.store.folder.glob("artifacts/*/*/records/steps/*.damaged-0"))) == 1
    assert "Training rolls back to step 2" in str([event for event in world.events if event.event == "noticed"])
    assert made.content == SmallWorld.at(tmp_path / "other").make(training(), two_ranks()).content


@pytest.mark.parametrize("damage", [flip, long(cut), long(Path.unlink)])
def test_another_layout_sees_damage_of_what_it_reads(damage: Callable[[Path], None], world: SmallWorld) -> None:
    stopped_after(world, 2)
    damage(file_of_rank_1(world))
    with pytest.raises(StageError, match=r"step 2 is damaged: .*rank-00001.* step 1: .*--allow-rollback"):
        world.make(training(), GangLayout(num_ranks=1, micro_rows=4))
    world.allows_rollback = True
    world.make(training(), GangLayout(num_ranks=1, micro_rows=4))
    assert committed_steps(world, training()) == [1, 2, 4, 6]


def test_a_checkpoint_without_indexes_is_read_whole(world: SmallWorld, tmp_path: Path) -> None:
    """As versions before wrote them."""
    stopped_after(world, 1)
    record = world.checkpoints(training()).latest()
    (path,) = world.store.folder.glob("artifacts/*/*/records/steps/000000.json")
    stated = json.loads(path.read_text())
    stated["files"] = [file for file in stated["files"] if "index-" not in file["name"]]
    assert len(stated["files"]) == len(record.files) - 2 == 2
    path.write_text(json.dumps(stated))
    made = world.make(training(), GangLayout(num_ranks=1, micro_rows=4))
    assert committed_steps(world, training()) == [1, 2, 4, 6] and made.content


def test_training_never_goes_back_to_its_beginning(world: SmallWorld) -> None:
    stopped_after(world, 1)
    flip(file_of_rank_1(world))
    world.allows_rollback = True
    with pytest.raises(StageError, match=r"step 1 is damaged: .* never restarts at step 0 .* `neo audit --repair`"):
        world.make(training(), two_ranks())
    assert committed_steps(world, training()) == [1]


def test_a_torn_record_of_a_checkpoint_is_damage_like_any_other(world: SmallWorld) -> None:
    stopped_after(world, 2)
    (newest,) = world.store.folder.glob("artifacts/*/*/records/steps/000001.json")
    newest.write_bytes(newest.read_bytes()[:40])
    with pytest.raises(StageError, match=r"newest checkpoint is damaged: .*000001.json.* step 1: .*--allow-rollback"):
        world.make(training(), two_ranks())
    world.allows_rollback = True
    world.make(training(), two_ranks())
    assert committed_steps(world, training()) == [1, 2, 4, 6]
