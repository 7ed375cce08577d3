"""New weights one by one are those of a model that is drawn as a whole, bit for bit."""

from __future__ import annotations

import pytest
import torch

from neo_model.model import NeoModel
from neo_model.weights import new_weights
from neo_model.weights.new_weights import drawn_weights, hw_dtypes, hw_weights, new_shapes
from tests.neo_model.tiny import tiny_config
from tests.neo_model.weights.drawn_whole import init_hw_with_zero_gain


@pytest.mark.parametrize("changes", [{}, {"tied": False}, {"vocab_size": 333, "num_prebuffer_layers": 1}])
def test_they_are_those_of_a_model_drawn_as_a_whole(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_weights, "SKIPPED_AT_ONCE", 1024)
    config = tiny_config(**changes)
    torch.manual_seed(3)
    whole = NeoModel(config)
    init_hw_with_zero_gain(whole)
    state = whole.state_dict()
    before = torch.get_rng_state()
    made = dict(drawn_weights(config, 3)) | dict(hw_weights(config, state))
    assert torch.equal(torch.get_rng_state(), before)
    assert {name: tuple(value.shape) for name, value in made.items()} == new_shapes(config)
    assert all(torch.equal(value, state[name]) for name, value in made.items())


def test_random_numbers_drawn_meanwhile_change_nothing() -> None:
    config = tiny_config()
    expected = dict(drawn_weights(config, 1))
    for name, value in drawn_weights(config, 1):
        torch.rand(7)
        assert torch.equal(value, expected[name])
    assert not torch.equal(value, dict(drawn_weights(config, 2))[name]) or value.unique().numel() == 1


def test_copies_have_the_precision_of_what_they_copy() -> None:
    config = tiny_config()
    state = {name: value.bfloat16() for name, value in NeoModel(config).state_dict().items()}
    made = dict(hw_weights(config, state))
    assert {name: value.dtype for name, value in made.items()} == hw_dtypes(config, state)
    assert {value.dtype for value in made.values()} == {torch.bfloat16}
