"""What a training recipe accepts, its learning rate, and which checkpoints it keeps."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.contract import StageError
from stages.training.recipe import TrainRecipe, best_step, learning_rate, retired_steps


def recipe(**fields) -> TrainRecipe:
    return TrainRecipe(**{"num_steps": 100, "rows_per_step": 8, "peak_learning_rate": 1e-3, **fields})


def test_the_learning_rate_warms_up_then_falls_to_the_floor() -> None:
    asked = recipe(num_warmup_steps=10, floor_ratio=0.05)
    rates = [learning_rate(step, asked) for step in range(100)]
    assert rates[0] == pytest.approx(1e-4)
    assert max(rates) == rates[9] == rates[10] == pytest.approx(1e-3)
    assert rates[:10] == sorted(rates[:10])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[99] == pytest.approx(5e-5)
    assert rates[10 + 89 // 2] == pytest.approx((1e-3 + 5e-5) / 2, rel=0.03)


@given(st.integers(1, 50), st.integers(0, 60), st.floats(0, 1))
def test_the_learning_rate_stays_between_zero_and_the_peak(num_steps: int, num_warmup: int, floor: float) -> None:
    asked = recipe(num_steps=num_steps, num_warmup_steps=num_warmup, floor_ratio=floor)
    assert all(0 <= learning_rate(step, asked) <= 1e-3 * (1 + 1e-12) for step in range(num_steps))


@pytest.mark.parametrize("until", [(0,), (100,), (50, 50), (60, 40)])
def test_until_steps_rise_inside_the_run(until: tuple[int, ...]) -> None:
    with pytest.raises(ValidationError, match="until_steps"):
        recipe(until_steps=until)


@pytest.mark.parametrize(
    "fields", [{"peak_learning_rate": 0}, {"betas": (0.9, 1.0)}, {"clip_norm": 0}, {"precision": "fp16"}, {"lr": 1}]
)
def test_what_cannot_train_is_refused(fields: dict) -> None:
    with pytest.raises(ValidationError):
        recipe(**fields)


def test_each_rows_but_the_last_needs_its_end() -> None:
    recipe(until_steps=(40,)).check_num_rows(2)
    with pytest.raises(StageError, match=r"2 Rows and until_steps = \(\)"):
        recipe().check_num_rows(2)


def test_the_newest_and_every_mth_checkpoint_are_kept() -> None:
    committed = (10, 20, 30, 40, 50)
    assert retired_steps(committed, (), recipe(keep_last_checkpoints=2)) == [10, 20, 30]
    assert retired_steps(committed, (), recipe(keep_last_checkpoints=1, keep_every_steps=20)) == [10, 30]
    assert retired_steps([10], (), recipe(keep_last_checkpoints=1)) == []


def test_the_best_on_held_out_rows_is_kept_whatever_its_age() -> None:
    losses = {10: 2.5, 20: 2.0, 30: 2.0, 40: None, 50: 3.0}
    assert best_step(losses) == 20
    assert retired_steps(losses, {20}, recipe(keep_last_checkpoints=1)) == [10, 30, 40]


def test_examinations_fall_on_checkpoints() -> None:
    asked = recipe(num_steps=50, checkpoint_every_steps=10, examine_every_steps=20)
    assert [step for step in range(1, 51) if asked.is_examined(step)] == [20, 40, 50]
    with pytest.raises(ValueError, match="must be a multiple of checkpoint_every_steps = 10"):
        recipe(num_steps=50, checkpoint_every_steps=10, examine_every_steps=15)


def test_states_that_are_averaged_are_committed_and_kept_until_the_model_is_made() -> None:
    asked = recipe(average_last=3, average_every_steps=15, checkpoint_every_steps=50, keep_last_checkpoints=1)
    assert (asked.last_step, asked.averaged_steps) == (100, (70, 85))
    assert [step for step in range(1, 101) if asked.is_checkpointed(step)] == [50, 70, 85, 100]
    assert retired_steps([50, 70, 85], (), asked) == [50]
    handed = recipe(hand_out=60, average_last=2, average_every_steps=20)
    assert (handed.last_step, handed.averaged_steps) == (60, (40,))
    assert handed.is_examined(60) and handed.is_checkpointed(60), "the last state is kept, for forks"
    assert not recipe(hand_out=60, keep_last_state=False).is_checkpointed(60)
    assert learning_rate(59, handed) == learning_rate(59, recipe())


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"hand_out": 101}, "hand_out = 101 must be a step of the 100"),
        ({"average_last": 2}, "needs both"),
        ({"average_every_steps": 10}, "needs both"),
        ({"average_last": 11, "average_every_steps": 10}, "reach back before step 1 of 100"),
        ({"average_last": 2, "average_every_steps": 10, "ema_decay": 0.9}, "two averages"),
        ({"ema_decay": 1.0}, "less than 1"),
    ],
)
def test_weights_that_cannot_be_handed_out_are_refused(fields: dict, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        recipe(**fields)


def test_what_is_handed_out_is_identity_and_renames_nothing_that_was_made() -> None:
    from stages.artifacts.fingerprint import canonical_form

    assert not {"hand_out", "ema_decay", "average_last"} & canonical_form(recipe()).keys()
    assert canonical_form(recipe(hand_out=60))["hand_out"] == 60
