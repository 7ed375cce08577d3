"""The engine against bare torch, on a small NEO, two gloo ranks, every ZeRO stage."""

from pathlib import Path

import numpy as np
import pytest

from stages.contract import GangLayout, StageError
from stages.training.recipe import TrainRecipe
from stages.tune_end_to_end import TuneRecipe
from tests.long import long
from tests.stages.training.ranks import run_ranks

NUM_STEPS = 4
NUM_MICRO = 4
"""Micro-batches in a step, over all ranks."""
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


def micro_batch(step: int, micro: int):
    """A packed row of two documents, the first with a picture of 2 x 1 tokens in two rows of three; uneven weights."""
    from neo_model.inputs.batch import Document, ensure_image, pack

    rng = np.random.default_rng((step, micro))
    with_image = (step + micro) % 3 != 1
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


def weight_of_step(step: int) -> float:
    return sum(float(micro_batch(step, micro).weights.double().sum()) for micro in range(NUM_MICRO))


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
        sums = [network(micro_batch(step, micro)) for micro in range(NUM_MICRO)]
        loss = sum(one.loss for one in sums) / weight_of_step(step)
        loss.backward()
        norms.append(float(nn.utils.clip_grad_norm_(parameters, RECIPE.clip_norm)))
        losses.append(float(loss))
        optimizer.step()
        optimizer.zero_grad()
    return {name: p.detach().numpy() for name, p in network.named_parameters()}, losses, norms


def freeze(network, trainable: str) -> None:
    from neo_model.weights.partition import freeze_for_stage1

    if trainable == "prebuffer":
        freeze_for_stage1(network)


def train_steps(engine, rank: int, steps: range) -> tuple[list[float], list[float]]:
    import torch
    import torch.distributed as dist

    num_ranks = dist.get_world_size()
    losses, norms = [], []
    for step in steps:
        weight = weight_of_step(step)
        mine = torch.zeros((), dtype=torch.float64)
        for micro in range(rank, NUM_MICRO, num_ranks):
            mine += engine.accumulate(micro_batch(step, micro), num_ranks / weight).loss.double() / weight
        norms.append(engine.apply(1e-3))
        dist.all_reduce(mine)
        losses.append(float(mine))
    return losses, norms


def engine_of(zero_stage: int, trainable: str = "all", recipe: TrainRecipe = RECIPE, *, offload: bool = False):
    import torch.distributed as dist

    from stages.training.engine.engine import Engine

    network = model()
    freeze(network, trainable)
    num_ranks = dist.get_world_size()
    layout = GangLayout(
        num_ranks=num_ranks,
        zero_stage=zero_stage,
        offload_optimizer=offload,
        persistent_parameter_values=200,  # most parameters have more, or ZeRO-3 would partition nothing
    )
    return Engine(network, recipe, layout, NUM_MICRO // num_ranks, "cpu")


def run_compiled(rank: int, zero_stage: int, deterministic: bool):
    """All steps with compiled layers, as a layout asks for them: losses, and how often each region was compiled."""
    import torch
    from torch._dynamo.testing import CompileCounterWithBackend

    from neo_model.layer import compiled_regions

    engine = engine_of(zero_stage)
    counter = CompileCounterWithBackend("aot_eager")
    engine.use_model(lambda network: setattr(network, "regions", compiled_regions(counter)))
    torch.use_deterministic_algorithms(deterministic)
    losses, norms = train_steps(engine, rank, range(NUM_STEPS))
    return weights_of(engine), losses, norms, counter.frame_count


@pytest.mark.parametrize("zero_stage", [1, long(2)])
def test_compiled_layers_take_the_same_steps(zero_stage: int) -> None:
    """Rows of 20 to 35 tokens are padded to one length: either region is compiled once for all rows, layers, steps."""
    weights, losses, norms = run_ranks(run_uninterrupted, zero_stage, "all")[0]
    for found_weights, found_losses, found_norms, num_compiled in run_ranks(run_compiled, zero_stage, True):
        assert found_losses == pytest.approx(losses, abs=2e-6)
        assert found_norms == pytest.approx(norms, rel=1e-5)
        assert num_compiled == 2
        for name, value in weights.items():
            np.testing.assert_allclose(found_weights[name], value, atol=3e-6, err_msg=name)


def dtypes_summed(_rank: int, zero_stage: int, precision: str, reduce_in: str) -> set[str]:
    """Types of the gradients that this rank gives to the others in one step."""
    import torch.distributed as dist

    seen: set[str] = set()
    for name in ("all_reduce", "reduce", "reduce_scatter_tensor", "reduce_scatter"):
        recorded(dist, name, seen)  # before DeepSpeed is imported, which keeps some of them
    from stages.training.engine.engine import Engine

    network = model()
    layout = GangLayout(
        num_ranks=2, zero_stage=zero_stage, reduce_gradients_in=reduce_in, persistent_parameter_values=0
    )
    recipe = RECIPE.model_copy(update={"precision": precision})
    engine = Engine(network, recipe, layout, 1, "cpu")
    seen.clear()
    engine.accumulate(micro_batch(0, 0), 1.0)
    return seen


def recorded(module, name: str, seen: set[str]) -> None:
    """Note the types of what goes through a collective, but of single numbers."""
    import torch

    call = getattr(module, name)

    def noted(*arguments, **keywords):
        given = [one for one in (*arguments, *keywords.values()) if isinstance(one, torch.Tensor)]
        seen.update(str(one.dtype).removeprefix("torch.") for one in given if one.numel() > 1)
        return call(*arguments, **keywords)

    setattr(module, name, noted)


@pytest.mark.parametrize("zero_stage", [*map(long, STAGES[1:-1]), STAGES[-1]])
def test_gradients_are_summed_over_ranks_as_the_layout_says(zero_stage: int) -> None:
    for precision, reduce_in, expected in (
        ("bf16", "fp32", {"float32"}),
        ("bf16", "bf16", {"bfloat16"}),
        ("fp32", "bf16", {"float32"}),
    ):
        assert run_ranks(dtypes_summed, zero_stage, precision, reduce_in) == [expected] * 2


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


def train_saved(rank: int, zero_stage: int, folder: Path, precision: str):
    """Two steps, saved, and the rest."""
    engine = engine_of(zero_stage, "prebuffer", RECIPE.model_copy(update={"precision": precision}))
    train_steps(engine, rank, range(2))
    engine.snapshot().write(folder)
    return train_steps(engine, rank, range(2, NUM_STEPS)), weights_of(engine)


def resume(engine, folder: Path, num_applied: int = 2) -> None:
    """From the files of any layout."""
    from stages.training.engine.files import read_shards

    read_shards(folder, engine.slices())
    engine.resume(num_applied)


def train_resumed(rank: int, zero_stage: int, folder: Path, precision: str, save_again: Path | None = None):
    engine = engine_of(zero_stage, "prebuffer", RECIPE.model_copy(update={"precision": precision}))
    resume(engine, folder)
    if save_again:
        engine.snapshot().write(save_again)
    return train_steps(engine, rank, range(2, NUM_STEPS)), weights_of(engine)


@pytest.mark.parametrize(
    ("zero_stage", "precision"),
    [*((s, "fp32") for s in STAGES), *(long(s, "bf16") for s in STAGES[1:-1]), (STAGES[-1], "bf16")],
)
def test_a_restored_engine_goes_on_bit_for_bit(zero_stage: int, precision: str, tmp_path: Path) -> None:
    straight = run_ranks(train_saved, zero_stage, tmp_path, precision)
    resumed = run_ranks(train_resumed, zero_stage, tmp_path, precision)
    assert len(list(tmp_path.rglob("*.safetensors"))) == len(list(tmp_path.rglob("*.json"))) == 2
    assert len(list(tmp_path.rglob("*.*"))) == 4
    for (numbers, weights), (numbers_again, weights_again) in zip(straight, resumed, strict=True):
        assert numbers == numbers_again
        assert all(np.array_equal(weights[name], weights_again[name]) for name in weights)


def load_and_save(_rank: int, zero_stage: int, source: Path, target: Path) -> None:
    engine = engine_of(zero_stage, "prebuffer")
    resume(engine, source)
    engine.snapshot().write(target)


@pytest.mark.parametrize(
    ("first", "then"),
    [((2, 2), (1, 3)), long((2, 3), (1, 2)), ((1, 0), (2, 3)), ((2, 1), (4, 2)), long((2, 3), (4, 3))],
)
def test_another_layout_goes_on_to_rounding(first: tuple[int, int], then: tuple[int, int], tmp_path: Path) -> None:
    """Layouts are (ranks, ZeRO stage). The state itself moves there and back bit for bit."""
    here, there, back = (tmp_path / name for name in ("here", "there", "back"))
    num_ranks, zero_stage = first
    ((losses, norms), weights), *_ = run_ranks(train_saved, zero_stage, here, "fp32", num_ranks=num_ranks)
    moved = run_ranks(train_resumed, then[1], here, "fp32", there, num_ranks=then[0])
    run_ranks(load_and_save, zero_stage, there, back, num_ranks=num_ranks)
    files = sorted(path.relative_to(here) for path in here.rglob("*.safetensors"))
    assert len(files) == num_ranks
    assert [(here / name).read_bytes() for name in files] == [(back / name).read_bytes() for name in files]
    for (found_losses, found_norms), found_weights in moved:
        assert found_losses == pytest.approx(losses, abs=2e-6)
        assert found_norms == pytest.approx(norms, rel=1e-5)
        for name, value in weights.items():
            np.testing.assert_allclose(found_weights[name], value, atol=2e-6, err_msg=name)


def run_offloaded(rank: int, zero_stage: int, folder: Path):
    """Two steps with the optimizer in host memory, saved; and the rest by another engine that goes on from there."""
    engine = engine_of(zero_stage, offload=True)
    train_steps(engine, rank, range(2))
    engine.snapshot().write(folder)
    again = engine_of(zero_stage, offload=True)
    resume(again, folder)
    train_steps(again, rank, range(2, NUM_STEPS))
    return weights_of(again)


@pytest.mark.parametrize("zero_stage", [1, 3])
def test_an_optimizer_in_host_memory_does_the_same_steps(zero_stage: int, tmp_path: Path) -> None:
    kept, _, _ = run_ranks(run_uninterrupted, zero_stage, "all")[0]
    for offloaded in run_ranks(run_offloaded, zero_stage, tmp_path):
        for name, value in kept.items():
            np.testing.assert_allclose(offloaded[name], value, atol=1e-6, err_msg=name)


def run_in_bf16(rank: int, zero_stage: int):
    engine = engine_of(zero_stage, recipe=RECIPE.model_copy(update={"precision": "bf16"}))
    return train_steps(engine, rank, range(NUM_STEPS))


def test_bf16_takes_the_same_steps_under_stages_whose_optimizers_differ() -> None:
    """To the rounding of bf16: gradients are summed and weights are kept in fp32."""
    (losses, norms), (losses_2, norms_2) = (run_ranks(run_in_bf16, zero_stage)[0] for zero_stage in (1, 2))
    assert losses == pytest.approx(losses_2, rel=5e-3)
    assert norms == pytest.approx(norms_2, rel=2e-2)


@pytest.mark.parametrize(
    ("changes", "layout"),
    [({"precision": "bf16"}, GangLayout(zero_stage=0)), ({}, GangLayout(zero_stage=0, offload_optimizer=True))],
)
def test_what_deepspeed_has_only_with_zero_is_refused_without(changes: dict, layout: GangLayout) -> None:
    from stages.training.engine.deepspeed_config import deepspeed_config

    with pytest.raises(StageError, match="needs ZeRO; set zero_stage 1, 2 or 3"):
        deepspeed_config(RECIPE.model_copy(update=changes), layout, 1, "cpu")


ADAPTED = TuneRecipe(
    **RECIPE.model_dump() | {"learning_rate_factors": {"vision": 0.5, "post_llm": 2.0}},
    trained_parts=("vision",),
    lora_rank=3,
    lora_targets=("q_proj", "k_proj_hw", "down_proj"),
)
"""Adapters in both layers, the patch embedding beside them, and three learning rates."""


def adapted_engine(zero_stage: int):
    import torch.distributed as dist

    from stages.training.engine.engine import Engine
    from stages.training.trained_parts import choose_trained

    network = model()
    choose_trained(network, ADAPTED)
    num_ranks = dist.get_world_size()
    layout = GangLayout(num_ranks=num_ranks, zero_stage=zero_stage, persistent_parameter_values=30)
    return Engine(network, ADAPTED, layout, NUM_MICRO // num_ranks, "cpu")


def adapted_bare_torch(_rank: int) -> dict:
    """The same steps without DeepSpeed, each parameter with a learning rate of its own."""
    import torch
    from torch import nn

    from stages.training.trained_parts import choose_trained, factors_of_parameters

    network = model()
    choose_trained(network, ADAPTED)
    factors = factors_of_parameters(network, ADAPTED.learning_rate_factors)
    parameters = {name: one for name, one in network.named_parameters() if one.requires_grad}
    groups = [
        {"params": [one], "lr": 1e-3 * factors[name], "weight_decay": RECIPE.weight_decay if one.ndim > 1 else 0.0}
        for name, one in parameters.items()
    ]
    optimizer = torch.optim.AdamW(groups, betas=RECIPE.betas, eps=RECIPE.eps)
    for step in range(NUM_STEPS):
        loss = sum(network(micro_batch(step, micro)).loss for micro in range(NUM_MICRO)) / weight_of_step(step)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters.values(), RECIPE.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    return {name: p.detach().numpy() for name, p in network.named_parameters()}


def train_adapted(rank: int, zero_stage: int, folder: Path):
    """All steps; and the last two again, by another engine that goes on from the state after the first two."""
    engine = adapted_engine(zero_stage)
    before = weights_of(engine)
    train_steps(engine, rank, range(2))
    engine.snapshot().write(folder)
    straight = train_steps(engine, rank, range(2, NUM_STEPS)), weights_of(engine)
    again = adapted_engine(zero_stage)
    resume(again, folder)
    return before, straight, (train_steps(again, rank, range(2, NUM_STEPS)), weights_of(again))


def adapted_elsewhere(rank: int, zero_stage: int, folder: Path):
    engine = adapted_engine(zero_stage)
    resume(engine, folder)
    train_steps(engine, rank, range(2, NUM_STEPS))
    return weights_of(engine)


@pytest.mark.parametrize("zero_stage", STAGES)
def test_adapters_train_as_in_one_process_and_go_on_bit_for_bit(zero_stage: int, tmp_path: Path) -> None:
    """Frozen weights keep their bits, and a checkpoint holds what trains and nothing else."""
    from safetensors import safe_open

    expected = run_ranks(adapted_bare_torch, num_ranks=1)[0]
    for before, (numbers, weights), (numbers_again, weights_again) in run_ranks(train_adapted, zero_stage, tmp_path):
        assert numbers == numbers_again
        moved = {name for name in before if not np.array_equal(before[name], weights[name])}
        assert moved == {name for name in before if ".lora_" in name or name.startswith("vision_model.")}
        assert all(np.array_equal(weights[name], weights_again[name]) for name in weights)
        for name, value in expected.items():
            np.testing.assert_allclose(weights[name], value, atol=3e-6, err_msg=name)
    held = set()
    for path in tmp_path.rglob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            held |= {name.partition("/")[2] for name in file.keys()}  # noqa: SIM118
    assert held == moved
    other = (1, 3) if zero_stage != 3 else (4, 2)
    for weights_there in run_ranks(adapted_elsewhere, other[1], tmp_path, num_ranks=other[0]):
        for name, value in weights.items():
            np.testing.assert_allclose(weights_there[name], value, atol=2e-6, err_msg=name)
