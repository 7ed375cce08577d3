"""The loss and its gradient are those of a plain formula in fp64, in blocks, over ranks, with false negatives."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.training.objectives import info_nce
from stages.training.objectives.info_nce import contrast

TEMPERATURE = 0.1


def plain(pictures: Tensor, captions: Tensor, digests: Tensor) -> Tensor:
    """Written with a loop over pairs, for gradients by autograd."""
    scores = F.normalize(pictures, dim=1) @ F.normalize(captions, dim=1).T / TEMPERATURE
    losses = []
    for one in range(len(scores)):
        for line in (scores[one], scores[:, one]):
            negatives = [
                line[other]
                for other in range(len(scores))
                if other == one or not (digests[one] == digests[other]).any()
            ]
            losses.append(torch.stack(negatives).logsumexp(0) - scores[one, one])
    return torch.stack(losses).mean()


def alone(rows: Tensor) -> tuple[Tensor, int]:
    return rows, 0


def pooled_of(num_pairs: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Random states, and digests in which the first two pairs have one picture and the last two one caption."""
    chance = torch.Generator().manual_seed(num_pairs)
    digests = torch.arange(2 * num_pairs).reshape(num_pairs, 2)
    if num_pairs > 3:
        digests[1, 0], digests[-1, 1] = digests[0, 0], digests[-2, 1]
    return torch.randn(2 * num_pairs, 5, generator=chance, dtype=dtype), digests


@pytest.mark.parametrize("num_pairs", [2, 7, 40])
@pytest.mark.parametrize("block", [1, 90, 2**24])
def test_like_the_plain_formula_in_fp64(num_pairs: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(info_nce, "BLOCK_SCORES", block)
    pooled, digests = pooled_of(num_pairs)
    found = contrast(pooled, digests, TEMPERATURE, alone)
    leaf = pooled.clone().requires_grad_()
    expected = plain(*leaf.chunk(2), digests)
    expected.backward()
    assert found.num_pairs == num_pairs
    torch.testing.assert_close(found.loss, expected.detach(), atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(found.gradient, leaf.grad, atol=1e-12, rtol=1e-10)


def test_one_pair_or_none_ask_for_nothing() -> None:
    for num_pairs in (0, 1):
        found = contrast(*pooled_of(num_pairs), TEMPERATURE, alone)
        assert found.loss.abs() < 1e-12
        assert found.gradient.shape == (2 * num_pairs, 5)
        assert found.gradient.abs().sum() < 1e-12


def test_a_false_negative_pushes_nothing_away() -> None:
    """The same pair twice in a step: neither is the other's negative, so nothing is left to tell apart."""
    pooled, digests = pooled_of(2)
    digests[1] = digests[0]
    found = contrast(pooled, digests, TEMPERATURE, alone)
    assert found.loss.abs() < 1e-12
    assert found.gradient.abs().max() < 1e-12
