"""The engine against bare torch, on a small NEO, two gloo ranks, every ZeRO stage."""

from pathlib import Path

import numpy as np
import pytest

from stages.contract import GangLayout
from stages.training.recipe import TrainRecipe
from tests.stages.training.ranks import run_ranks

NUM_STEPS = 4
NUM_RANKS = 2
NUM_MICRO = 2
RECIPE = TrainRecipe(
    num_steps=NUM_STEPS, rows_per_step=4, peak_learning_rate=3e-3, weight_decay=0.1, clip_norm=0.5, precision="fp32"
)
STAGES = (0, 1, 2, 3)


def config():
    from neo_model.config import NeoConfig

    return NeoConfig(
        hidden=24, num_heads=2, num_kv_heads=1, head_dim=8, ffn=40, vocab_size=61, tied=True, num_prebuffer_layers=1,
        num_layers=2, image_context_id=50, image_start_id=51, image_end_id=52, patch_hidden=16,
    )  # fmt: skip


def model(seed: int = 0):
    import torch

    from neo_model.model import NeoModel

    torch.manual_seed(seed)
    return NeoModel(config())


def micro_batch(step: int, rank: int, micro: int, with_image: bool):
    """A packed row of two documents, the first with a picture of 2 x 1 tokens where asked for; uneven weights."""
    from neo_model.batch import Document, ensure_image, pack

    rng = np.random.default_rng((step, rank, micro))
    length = int(rng.integers(9, 20))
    text = rng.integers(0, 50, length)
    picture = [51, 50, 50, 52] if with_image else []
    documents = [
        Document(
            token_ids=[*picture, *text],
            supervised=[*[False] * len(picture), *(rng.random(length) < 0.6)],
            grids=[(4, 2)] if with_image else [],
        ),
        Document(token_ids=rng.integers(0, 50, 7), supervised=rng.random(7) < 0.8),
    ]
    patches = [rng.integers(0, 256, (8, 768), dtype=np.uint8)] if with_image else []
    return ensure_image(pack(documents, patches, image_context_id=50))


def has_image(step: int, rank: int, micro: int) -> bool:
    """Text-only micro-batches, ranks and steps among others."""
    return (step + rank + micro) % 3 != 1


def weight_of_step(step: int) -> float:
    batches = [
        micro_batch(step, rank, micro, has_image(step, rank, micro))
        for rank in range(NUM_RANKS)
        for micro in range(NUM_MICRO)
    ]
    return sum(float(batch.weights.double().sum()) for batch in batches)


def bare_torch(trainable: str) -> tuple[dict, list[float], list[float]]:
    """Weights, losses and norms of the same steps in one process: no ranks, no accumulation, no DeepSpeed."""
    import torch
    from torch import nn

    network = model()
    freeze(network, trainable)
    parameters = [p for p in network.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": RECIPE.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=RECIPE.betas, eps=RECIPE.eps)
    losses, norms = [], []
    for step in range(NUM_STEPS):
        sums = [
            network(micro_batch(step, rank, micro, has_image(step, rank, micro)))
            for rank in range(NUM_RANKS)
            for micro in range(NUM_MICRO)
        ]
        loss = sum(one.loss for one in sums) / weight_of_step(step)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(parameters, RECIPE.clip_norm)))
        losses.append(float(loss))
        optimizer.step()
        optimizer.zero_grad()
    return {name: p.detach().numpy() for name, p in network.named_parameters()}, losses, norms


def freeze(network, trainable: str) -> None:
    from neo_model.partition import freeze_for_stage1

    if trainable == "prebuffer":
        freeze_for_stage1(network)


def train_steps(engine, rank: int, steps: range) -> tuple[list[float], list[float]]:
    import torch
    import torch.distributed as dist

    losses, norms = [], []
    for step in steps:
        weight = weight_of_step(step)
        mine = torch.zeros((), dtype=torch.float64)
        for micro in range(NUM_MICRO):
            batch = micro_batch(step, rank, micro, has_image(step, rank, micro))
            mine += engine.accumulate(batch, NUM_RANKS / weight).loss.double() / weight
        norms.append(engine.apply(1e-3))
        dist.all_reduce(mine)
        losses.append(float(mine))
    return losses, norms


def engine_of(zero_stage: int, trainable: str = "all", recipe: TrainRecipe = RECIPE, seed: int = 0):
    from stages.training.engine import config as settings
    from stages.training.engine.engine import Engine

    settings.PERSISTENT_PARAMETER_VALUES = 0  # partition even the smallest, or ZeRO-3 is not tested
    network = model(seed)
    freeze(network, trainable)
    layout = GangLayout(num_ranks=NUM_RANKS, zero_stage=zero_stage)
    return Engine(network, recipe, layout, NUM_MICRO, "cpu")


def weights_of(engine) -> dict:
    return {name: value.float().numpy().copy() for name, value in engine.parameters()}


def run_uninterrupted(rank: int, zero_stage: int, trainable: str):
    engine = engine_of(zero_stage, trainable)
    losses, norms = train_steps(engine, rank, range(NUM_STEPS))
    return weights_of(engine), losses, norms


@pytest.fixture(scope="module", params=["all", "prebuffer"])
def expected(request) -> tuple[str, tuple]:
    return request.param, run_ranks(bare_torch_rank, request.param, num_ranks=1)[0]


def bare_torch_rank(_rank: int, trainable: str):
    return bare_torch(trainable)


@pytest.mark.parametrize("zero_stage", STAGES)
def test_a_step_over_ranks_and_micro_batches_is_the_step_of_one_process(zero_stage: int, expected) -> None:
    """Loss over the whole step, clipped by the global norm, with text-only micro-batches and ranks in between."""
    trainable, (weights, losses, norms) = expected
    for found_weights, found_losses, found_norms in run_ranks(run_uninterrupted, zero_stage, trainable):
        assert found_losses == pytest.approx(losses, abs=2e-6)
        assert found_norms == pytest.approx(norms, rel=1e-5)
        assert max(norms) > RECIPE.clip_norm
        for name, value in weights.items():
            np.testing.assert_allclose(found_weights[name], value, atol=3e-6, err_msg=name)


def run_saved_and_resumed(rank: int, zero_stage: int, folder: Path, precision: str):
    recipe = RECIPE.model_copy(update={"precision": precision})
    straight = engine_of(zero_stage, "prebuffer", recipe)
    train_steps(straight, rank, range(2))
    straight.save(folder / str(rank))
    rest = train_steps(straight, rank, range(2, NUM_STEPS))
    resumed = engine_of(zero_stage, "prebuffer", recipe)
    for other in range(NUM_RANKS):
        for path in (folder / str(other)).rglob("*.pt"):
            target = folder / f"all-{rank}" / "engine" / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    resumed.load(folder / f"all-{rank}", 2)
    files = sorted(path.name for path in (folder / str(rank)).rglob("*") if path.is_file())
    rest_again = train_steps(resumed, rank, range(2, NUM_STEPS))
    equal = [
        np.array_equal(one, other)
        for one, other in zip(weights_of(straight).values(), weights_of(resumed).values(), strict=True)
    ]
    return rest, rest_again, all(equal), files


@pytest.mark.parametrize(
    ("zero_stage", "precision"), [(0, "fp32"), (1, "fp32"), (2, "fp32"), (3, "fp32"), (2, "bf16"), (3, "bf16")]
)
def test_a_restored_engine_goes_on_bit_for_bit(zero_stage: int, precision: str, tmp_path: Path) -> None:
    outcomes = run_ranks(run_saved_and_resumed, zero_stage, tmp_path, precision)
    names = [name for *_, files in outcomes for name in files]
    assert len(names) == len(set(names)), "two ranks wrote a file of one name"
    assert not [name for name in names if not name.endswith(".pt")]
    for straight, resumed, equal, _ in outcomes:
        assert straight == resumed
        assert equal
