"""Which weights a training hands out: of a step, a mean of states, a moving average; killed or not, the same bits."""

from functools import partial
from pathlib import Path

import pytest

from stages.contract import GangLayout, StageError
from stages.training.exposure import seen_rows
from stages.training.loading.step_rows import RowOrder
from tests.stages.training.test_loop import die_after, training, two_ranks
from tests.stages.training.test_skipped import files_of
from tests.worlds.training_world import SmallWorld

MEAN = {"average_last": 3, "average_every_steps": 2, "checkpoint_every_steps": 4, "keep_last_checkpoints": 1}


def weights(world: SmallWorld, step) -> dict:
    from safetensors.torch import load_file

    return load_file(world.open(step).copy_to(world.scratch / step.fingerprint[:8]) / "prebuffer.safetensors")


def state(world: SmallWorld, step, at_step: int) -> dict:
    """The weights of a kept checkpoint that one rank wrote."""
    from safetensors.torch import load_file

    record = next(one for one in world.checkpoints(step).kept() if one.facts["step"] == at_step)
    [shard] = [file for file in record.files if file.name.endswith(".safetensors")]
    found = load_file(world.store.folder / shard.key)
    return {name.removeprefix("weight/"): value for name, value in found.items() if name.startswith("weight/")}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[int, dict], SmallWorld]:
    """The weights of a training on one rank after steps 2, 4 and 6."""
    world, step = SmallWorld.at(tmp_path_factory.mktemp("plain")), training(keep_last_checkpoints=9)
    world.make(step, GangLayout(zero_stage=0, micro_rows=4))
    return {2: state(world, step, 2), 4: state(world, step, 4), 6: weights(world, step)}, world


def largest_difference(one: dict, other: dict) -> float:
    return max(float((one[name].flatten() - other[name].flatten()).abs().max()) for name in one)


def test_the_mean_of_the_last_states_is_handed_out_and_they_are_kept_until_then(plain, tmp_path: Path) -> None:
    states, _ = plain
    world, step = SmallWorld.at(tmp_path), training(**MEAN)
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(step, two_ranks(), trouble=partial(die_after, step=4))
    made = world.make(step, two_ranks())
    assert [record.facts["step"] for record in world.checkpoints(step).committed()] == [2, 4, 6]
    assert made.parts[-1].facts["handed_out"] == {"mean_of_steps": [2, 4, 6]}
    found = weights(world, step)
    mean = {name: sum(states[number][name].flatten() for number in states) / 3 for name in found}
    assert largest_difference(found, mean) < 2e-4 < 1e-3 < largest_difference(found, states[6])
    straight = SmallWorld.at(tmp_path / "straight").make(step, two_ranks())
    assert files_of(straight) == files_of(made)


def test_a_moving_average_is_handed_out_and_survives_a_kill(plain, tmp_path: Path) -> None:
    states, _ = plain
    world, step = SmallWorld.at(tmp_path), training(ema_decay=0.5)
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(step, two_ranks(3), trouble=partial(die_after, step=4))
    made = world.make(step, two_ranks(3))
    assert made.parts[-1].facts["handed_out"] == {"ema_decay": 0.5}
    assert files_of(SmallWorld.at(tmp_path / "straight").make(step, two_ranks(3))) == files_of(made)
    found = weights(world, step)
    assert 1e-3 < largest_difference(found, states[6]) < largest_difference(found, states[2])


def test_a_step_is_handed_out_under_the_learning_rates_of_the_whole_training(plain, tmp_path: Path) -> None:
    states, _ = plain
    world, step = SmallWorld.at(tmp_path), training(hand_out=4)
    world.make(step, GangLayout(zero_stage=0, micro_rows=4))
    assert world.open(step).head.at_step == 4
    assert largest_difference(weights(world, step), states[4]) == 0
    order = RowOrder(num_rows=24, rows_per_step=8, seed=0)
    assert seen_rows(world.open(step))[0].times.tolist() == order.times_taken(4).tolist()
    with pytest.raises(StageError, match="was trained for 4 steps; 5 is not among them"):
        seen_rows(world.open(step), 5)


def test_a_state_that_is_no_longer_there_is_said_before_a_step_is_paid_for(tmp_path: Path) -> None:
    world, step = SmallWorld.at(tmp_path), training(**MEAN)
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(step, two_ranks(), trouble=partial(die_after, step=4))
    first = world.checkpoints(step).committed()[0]
    world.store.create_json(world.checkpoints(step).deleted_key(first), {"attempt": "somebody"})
    with pytest.raises(StageError, match=r"not kept any more: those of steps \[2\]; kept are \[4\]"):
        world.make(step, two_ranks())
