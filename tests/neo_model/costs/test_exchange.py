"""What ranks that share a row are said to send is what goes through their collectives."""

from dataclasses import replace

import pytest

from neo_model.config import NEO_2B
from neo_model.costs.exchange import exchanged_bytes
from neo_model.costs.flops import everything
from tests.stages.training.engine.test_engine import config
from tests.stages.training.engine.test_sequence_group import NUM_TOKENS, heads, row
from tests.stages.training.ranks import run_ranks


def sent_bytes(rank: int, num_heads: tuple[int, int], recomputes: bool) -> int:
    """Bytes that this rank sends to others in one forward and backward pass."""
    import torch.distributed as dist

    from neo_model.inputs.batch import ensure_image
    from neo_model.inputs.shares import take_share
    from stages.training.engine.sequence_group import SequenceGroup

    num_ranks, sent = dist.get_world_size(), []
    exchange = dist.all_to_all_single

    def counted(taken, rows, num_taken, num_sent, group):
        to_others = sum(num_sent) - num_sent[rank]
        sent.append(to_others * rows[0].numel() * rows.element_size())
        return exchange(taken, rows, num_taken, num_sent, group=group)

    dist.all_to_all_single = counted
    network = heads(*num_heads)
    network.activation_checkpointing = recomputes
    network.across_ranks = SequenceGroup.of_this_rank(num_ranks).across_ranks
    network(ensure_image(take_share(row(), rank, num_ranks))).loss.backward()
    return sum(sent)


@pytest.mark.parametrize(("num_ranks", "num_heads", "recomputes"), [(2, (4, 2), True), (4, (4, 2), False)])
def test_what_is_told_is_what_is_sent(num_ranks: int, num_heads: tuple[int, int], recomputes: bool) -> None:
    """Also where a key-value head goes to two ranks."""
    network = replace(config(), num_heads=num_heads[0], num_kv_heads=num_heads[1])
    told = exchanged_bytes(network, NUM_TOKENS, num_ranks, everything(network), value_bytes=4, recomputes=recomputes)
    sent = run_ranks(sent_bytes, num_heads, recomputes, num_ranks=num_ranks)
    assert sum(sent) / num_ranks == pytest.approx(told, rel=0.03), "shares of 41 tokens differ by one"


def test_what_a_rank_sends_falls_with_the_ranks() -> None:
    sent = [
        exchanged_bytes(NEO_2B, 32_768, n, everything(NEO_2B), value_bytes=2, recomputes=False) for n in (1, 2, 4, 8)
    ]
    assert sent[0] == 0 and sent[1] > sent[2] > sent[3]
    assert sent[2] / sent[1] == pytest.approx(0.75) and sent[3] / sent[1] == pytest.approx(7 / 16)
    double = exchanged_bytes(NEO_2B, 65_536, 4, everything(NEO_2B), value_bytes=2, recomputes=False)
    assert double == pytest.approx(2 * sent[2]), "and grows with the row"
