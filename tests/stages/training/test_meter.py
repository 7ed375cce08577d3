"""The numbers people watch are those of all ranks together, for each source on its own."""

import pytest

from tests.stages.training.engine.test_engine import micro_batch, model
from tests.stages.training.ranks import run_ranks

WEIGHTS_OF_STEPS = (7.0, 11.0)


def micro_batch_of(step: int, rank: int):
    from stages.training.loader import MicroBatch

    sources = (("pairs", "text"), ("text", "talk"))[rank]
    return MicroBatch(batch=micro_batch(step, rank), rows=(step,), sample_ids=("a", "b"), sources=sources)


def read_meter(rank: int):
    from stages.training.meter import Meter

    meter, network = Meter(), model()
    for step, weight in enumerate(WEIGHTS_OF_STEPS):
        one = micro_batch_of(step, rank)
        meter.saw(one, network(one.batch), weight)
        meter.end_step(num_tokens=50, num_places=80, imbalance=0.5)
    meter.waited(0.0)
    return meter.read(), meter.read()


def by_hand(_rank: int):
    """Position by position, from the logits."""
    from torch.nn import functional as F

    network, steps, sources = model(), [0.0, 0.0], {}
    for step, weight in enumerate(WEIGHTS_OF_STEPS):
        for rank in range(2):
            one = micro_batch_of(step, rank)
            asked = one.batch.supervised_index
            logits = network.logits(one.batch)[asked]
            losses = F.cross_entropy(logits, one.batch.targets[asked], reduction="none").tolist()
            for position, loss in zip(asked.tolist(), losses, strict=True):
                document = sum(int(start) <= position for start in one.batch.documents.tolist()) - 1
                share = float(one.batch.weights[position])
                steps[step] += loss * share / weight
                total = sources.setdefault(one.sources[document], [0.0, 0.0])
                total[0] += loss * share
                total[1] += share
    return sum(steps) / 2, {source: total / weight for source, (total, weight) in sources.items()}


def test_losses_are_told_apart_by_source_over_all_ranks() -> None:
    loss, sources = run_ranks(by_hand, num_ranks=1)[0]
    for first, empty in run_ranks(read_meter):
        assert first["loss"] == pytest.approx(loss, rel=1e-5)
        told = {name.removeprefix("loss/"): value for name, value in first.items() if name.startswith("loss/")}
        assert told == pytest.approx(sources, rel=1e-5)
        assert first["fill"] == pytest.approx(50 / 80)
        assert empty["loss"] == 0.0 and empty["tokens_per_second"] == 0.0
