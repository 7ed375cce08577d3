"""Attention of two and four ranks that share a row, against one that has it whole: outputs, gradients, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from tests.stages.training.engine.test_engine import config
from tests.stages.training.ranks import run_ranks

NUM_TOKENS = 41
"""Of the row: two, three and four do not divide it."""


def row(num_tokens: int = NUM_TOKENS):
    """Documents of 3, 17, 1 and 20 tokens; a picture of 6 tokens in the second, one of 12 in the last."""
    from neo_model.inputs.batch import Document, pack

    rng = np.random.default_rng(5)
    pictures = {17: (6, 4), 20: (8, 6)}
    documents = []
    for length in (3, 17, 1, num_tokens - 21):
        grid = pictures.get(length)
        picture = [51, *[50] * (grid[0] * grid[1] // 4), 52] if grid else []
        words = rng.integers(0, 50, length - len(picture))
        supervised = [*[False] * len(picture), *(rng.random(len(words)) < 0.7)]
        documents.append(Document(token_ids=[*picture, *words], supervised=supervised, grids=[grid] if grid else []))
    patches = [rng.integers(0, 256, (h * w, 768), dtype=np.uint8) for h, w in pictures.values()]
    return pack(documents, patches, image_context_id=50)


def heads(num_heads: int, num_kv_heads: int):
    """A network with these heads."""
    import torch

    from neo_model.model import NeoModel

    torch.manual_seed(1)
    return NeoModel(replace(config(), num_heads=num_heads, num_kv_heads=num_kv_heads))


def shared_row(rank: int, num_ranks: int, num_heads: tuple[int, int], recomputes: bool, backend: str):
    """This rank's final states and loss, and the sum over all ranks of the gradients of its share's loss."""
    import torch
    import torch.distributed as dist

    from neo_model.attention.interface import Backend
    from neo_model.inputs.batch import ensure_image
    from neo_model.inputs.shares import take_share
    from stages.training.engine.sequence_group import SequenceGroup

    network = heads(*num_heads)
    network.backend, network.activation_checkpointing = Backend(backend), recomputes
    batch = row()
    if num_ranks > 1:
        network.across_ranks = SequenceGroup.of_this_rank(num_ranks).across_ranks
        batch = ensure_image(take_share(batch, rank, num_ranks))
    with torch.no_grad():
        states = network.final_states(batch).numpy()
    sums = network(batch)
    sums.loss.backward()
    for parameter in network.parameters():
        dist.all_reduce(parameter.grad)
    gradients = {name: parameter.grad.numpy().copy() for name, parameter in network.named_parameters()}
    return states, float(sums.loss.detach()), float(sums.weight), sums.entropies.numpy(), gradients


@pytest.mark.parametrize(
    ("num_ranks", "num_heads", "recomputes", "backend"),
    [(2, (4, 2), False, "flash"), (3, (3, 3), True, "flash"), (4, (4, 2), True, "sdpa"), (2, (2, 1), False, "sdpa")],
)
def test_ranks_that_share_a_row_compute_what_one_does(
    num_ranks: int, num_heads: tuple[int, int], recomputes: bool, backend: str
) -> None:
    """Also where a key-value head is needed by two ranks, and where shares cut documents and pictures."""
    ((states, loss, weight, entropies, gradients),) = run_ranks(shared_row, 1, num_heads, False, backend, num_ranks=1)
    shares = run_ranks(shared_row, num_ranks, num_heads, recomputes, backend, num_ranks=num_ranks)
    assert [len(one[0]) for one in shares] == [
        NUM_TOKENS * (n + 1) // num_ranks - NUM_TOKENS * n // num_ranks for n in range(num_ranks)
    ]
    np.testing.assert_allclose(np.concatenate([one[0] for one in shares]), states, atol=1e-6)
    np.testing.assert_allclose(np.concatenate([one[3] for one in shares]), entropies, atol=1e-6)
    assert sum(one[1] for one in shares) == pytest.approx(loss, rel=1e-6)
    assert sum(one[2] for one in shares) == pytest.approx(weight, rel=1e-6)
    for _, _, _, _, found in shares:
        for name, value in gradients.items():
            assert np.abs(found[name] - value).max() <= 1e-6 * max(1.0, np.abs(value).max()), name
    assert max(np.abs(value).max() for value in gradients.values()) > 0.1


def exchange_twice(rank: int):
    """What goes to heads and back to tokens, in bf16: nothing is computed, so every bit comes back."""
    import torch

    from neo_model.inputs.shares import take_share
    from stages.training.engine.sequence_group import SequenceGroup

    group = SequenceGroup.of_this_rank(2)
    share = take_share(row(), rank % 2, 2)
    q, k, v = (torch.randn(share.num_tokens, heads, 8).to(torch.bfloat16) for heads in (4, 2, 4))
    attend = group.across_ranks(lambda q, _k, v: torch.where(q.isnan(), q, v), share)
    return bool(attend(q, k, v).equal(v)), group.share


def test_four_ranks_are_two_groups_and_an_exchange_loses_nothing() -> None:
    assert run_ranks(exchange_twice, num_ranks=4) == [(True, 0), (True, 1), (True, 0), (True, 1)]


def other_share(rank: int):
    from neo_model.inputs.shares import take_share
    from stages.training.engine.sequence_group import SequenceGroup

    group = SequenceGroup.of_this_rank(2)
    try:
        group.across_ranks(lambda q, _k, _v: q, take_share(row(), 1 - rank, 2))
    except ValueError as error:
        return str(error)


def test_a_share_that_is_another_ranks_is_refused() -> None:
    first, second = run_ranks(other_share)
    assert first == "rank 0 of the 2 of a row of 41 tokens has tokens 20 to 41, not 0 to 20"
    assert second == "rank 1 of the 2 of a row of 41 tokens has tokens 0 to 20, not 20 to 41"


@pytest.mark.parametrize(
    ("num_heads", "allowed"), [((32, 8), (1, 2, 4, 8, 16, 32)), ((16, 8), (1, 2, 4, 8, 16)), ((12, 4), (1, 2, 4, 12))]
)
def test_heads_that_cannot_be_dealt_alike_are_refused_in_words(
    num_heads: tuple[int, int], allowed: tuple[int, ...]
) -> None:
    from stages.training.engine.sequence_group import why_not_shared

    network = replace(config(), num_heads=num_heads[0], num_kv_heads=num_heads[1])
    assert tuple(n for n in range(1, 40) if not why_not_shared(network, n)) == allowed
    assert f"{num_heads[0]} query heads and {num_heads[1]} key-value heads" in why_not_shared(network, 3)
    assert why_not_shared(network, 5).endswith(f"it can to {', '.join(map(str, allowed))}")
