"""Averages of weights under every ZeRO stage: what the formulas say, bit-equal after a resume, alike in any layout."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from tests.stages.training.engine.test_engine import (
    NUM_STEPS,
    RECIPE,
    STAGES,
    engine_of,
    resume,
    train_steps,
    weights_of,
)
from tests.stages.training.ranks import run_ranks

DECAY = 0.7
AVERAGED = RECIPE.model_copy(update={"ema_decay": DECAY})


def train_averaged(rank: int, zero_stage: int, folder: Path):
    """The weights before the first step and after each; the EMA; and the EMA of an engine that resumes after two."""
    engine = engine_of(zero_stage, "prebuffer", AVERAGED)
    states = [weights_of(engine)]
    for step in range(NUM_STEPS):
        train_steps(engine, rank, range(step, step + 1))
        states.append(weights_of(engine))
        engine.snapshot().write(folder / f"{step + 1}")
    engine.take_average()
    return states, weights_of(engine), resume_averaged(rank, zero_stage, folder)


def resume_averaged(rank: int, zero_stage: int, folder: Path) -> dict:
    engine = engine_of(zero_stage, "prebuffer", AVERAGED)
    resume(engine, folder / "2", num_applied=2)
    train_steps(engine, rank, range(2, NUM_STEPS))
    engine.take_average()
    return weights_of(engine)


def mean_of_states(_rank: int, zero_stage: int, folder: Path) -> dict:
    """The mean of the states after steps 1, 2 and 4, by an engine that keeps no EMA."""
    from stages.training.engine.files import read_shards

    engine = engine_of(zero_stage, "prebuffer")
    resume(engine, folder / "4", num_applied=4)
    engine.take_mean(partial(read_shards, folder / step) for step in "12")
    return weights_of(engine)


def check_close(found: dict, expected: dict, atol: float) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=atol, err_msg=name)


@pytest.mark.parametrize("zero_stage", STAGES)
def test_averages_are_what_the_formulas_say_and_move_to_other_layouts(zero_stage: int, tmp_path: Path) -> None:
    found = run_ranks(train_averaged, zero_stage, tmp_path)
    states = found[0][0]
    expected = {name: value.astype(np.float64) for name, value in states[0].items()}
    for state in states[1:]:
        expected = {name: DECAY * value + (1 - DECAY) * state[name] for name, value in expected.items()}
    for _, average, resumed in found:
        check_close(average, expected, atol=1e-6)
        assert all(np.array_equal(average[name], resumed[name]) for name in average)
    assert max(float(np.abs(expected[name] - states[-1][name]).max()) for name in expected) > 1e-4
    (elsewhere,) = run_ranks(resume_averaged, 3 - zero_stage, tmp_path, num_ranks=1)
    check_close(elsewhere, expected, atol=2e-6)
    for mean in run_ranks(mean_of_states, zero_stage, tmp_path):
        exact = {name: (states[1][name].astype(np.float64) + states[2][name] + states[4][name]) / 3 for name in mean}
        check_close(mean, exact, atol=1e-7)


def begin_average(_rank: int, folder: Path) -> tuple[dict, dict]:
    """An average that begins at a state whose training kept none."""
    plain = engine_of(2, "prebuffer")
    train_steps(plain, _rank, range(1))
    plain.snapshot().write(folder)
    engine = engine_of(2, "prebuffer", AVERAGED)
    resume(engine, folder, num_applied=1)
    engine.take_average()
    return weights_of(plain), weights_of(engine)


def test_an_average_begins_at_the_weights_where_a_state_holds_none(tmp_path: Path) -> None:
    for weights, average in run_ranks(begin_average, tmp_path):
        assert all(np.array_equal(weights[name], average[name]) for name in weights)
