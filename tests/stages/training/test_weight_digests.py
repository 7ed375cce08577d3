"""Frozen parameters that changed in training are noticed; those that should have moved and did not are listed."""

import pytest
import torch

from stages.contract import StageError
from stages.training.weight_digests import WeightDigests, weight_digests

TRAINABLE = frozenset({"new.weight", "new.bias"})


def parameters() -> dict[str, torch.Tensor]:
    return {"old.weight": torch.ones(2, 3), "new.weight": torch.zeros(3), "new.bias": torch.zeros(1)}


def digests(**changed: torch.Tensor) -> WeightDigests:
    return weight_digests((parameters() | changed).items(), TRAINABLE)


def test_a_frozen_parameter_that_changed_in_one_bit_is_refused_by_name() -> None:
    touched = torch.ones(2, 3)
    touched.view(torch.uint8)[0, 0] ^= 1
    with pytest.raises(StageError, match=r"1 frozen parameters changed in training, the first is old\.weight"):
        digests().compare(digests(**{"old.weight": touched}))


def test_trained_parameters_may_move_and_those_that_did_not_are_listed() -> None:
    facts = digests().compare(digests(**{"new.weight": torch.ones(3)}))
    assert facts["unmoved"] == ["new.bias"]
    assert (facts["num_trained_tensors"], facts["num_frozen_tensors"]) == (2, 1)
    assert facts["frozen_digest"] == digests().of_frozen
