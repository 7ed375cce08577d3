"""Frozen parameters that changed in training are noticed; those that should have moved and did not are listed."""

import pytest
import torch

from stages.contract import StageError
from stages.training import weight_digests as module
from stages.training.weight_digests import WeightDigests, weight_digests
from tests.stages.training.ranks import run_ranks

TRAINABLE = frozenset({"new.weight", "new.bias"})


def parameters() -> dict[str, torch.Tensor]:
    return {"old.weight": torch.ones(2, 3), "new.weight": torch.zeros(3), "new.bias": torch.zeros(1)}


def digests(**changed: torch.Tensor) -> WeightDigests:
    return weight_digests((parameters() | changed).items(), TRAINABLE, 0, 1)


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


def shared(rank: int) -> tuple[WeightDigests, int]:
    """The digests as one of two ranks has them, and how many of them it has made."""
    made = []
    one = module.sha256_of_tensor
    module.sha256_of_tensor = lambda value: made.append(value) or one(value)
    return weight_digests(parameters().items(), TRAINABLE, rank, 2), len(made)


def test_ranks_share_the_work_and_all_have_the_same() -> None:
    """Of 6, 3 and 1 values: the first to one rank, the others to the second."""
    (first, num_first), (second, num_second) = run_ranks(shared)
    assert first == second == digests()
    assert (num_first, num_second) == (1, 2)
