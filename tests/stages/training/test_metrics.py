"""The numbers people watch are those of all ranks together, for each source on its own."""

from itertools import pairwise

import pytest

from tests.stages.training.engine.test_engine import config, micro_batch, model
from tests.stages.training.ranks import run_ranks

WEIGHTS_OF_STEPS = (7.0, 11.0)
FLOPS_PER_SECOND = 1e9


def micro_batch_of(step: int, rank: int):
    from stages.training.loading.micro_batches import MicroBatch

    sources = (("pairs", "text"), ("text", "talk"))[rank]
    return MicroBatch(batch=micro_batch(step, rank), rows=(step,), sample_ids=("a", "b"), sources=sources)


def read_meter(rank: int):
    from neo_model.costs.flops import everything
    from stages.training.metrics import Meter, PeakFlops

    meter, network = Meter(PeakFlops(FLOPS_PER_SECOND, config(), everything(config()))), model()
    for step, weight in enumerate(WEIGHTS_OF_STEPS):
        one = micro_batch_of(step, rank)
        meter.saw(one, network(one.batch), weight)
        meter.end_step(num_tokens=50, capacity_tokens=80, imbalance=0.5)
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
        assert 2**20 < first["memory_bytes"] < 2**35
        operations = first["mfu"] * 2 * FLOPS_PER_SECOND * 2 * first["seconds_per_step"]
        assert operations == pytest.approx(counted_by_hand(), rel=1e-6) and empty["mfu"] == 0.0


def counted_by_hand() -> float:
    """Operations of all micro-batches: three times those of the forward pass, as nothing is frozen."""
    from neo_model.costs.flops import Work, forward_flops, visible_pairs

    total = 0.0
    for step in range(len(WEIGHTS_OF_STEPS)):
        for rank in range(2):
            batch = micro_batch_of(step, rank).batch
            images = [end - start for start, end in batch.image_spans.tolist()]
            lengths = [until - first for first, until in pairwise(batch.documents.tolist())]
            work = Work(
                num_tokens=sum(lengths),
                num_pairs=visible_pairs(lengths, images),
                num_patches=len(batch.patches),
                num_supervised=len(batch.supervised_index),
            )
            total += 3 * forward_flops(config(), work)
    return total


def test_a_cpu_has_no_rate() -> None:
    from stages.training.metrics import PeakFlops

    assert PeakFlops.of(model(), "cpu") is None
