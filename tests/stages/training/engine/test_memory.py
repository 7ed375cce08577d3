"""What a rank is said to hold is what it holds: measured on two ranks, storage by storage and allocation by allocation.

Not measured here: CUDA, whose kernels keep as much, and whose allocator leaves gaps.
"""

import gc
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.contract import GangLayout
from stages.training.recipe import TrainRecipe
from tests.long import long
from tests.stages.training.ranks import run_ranks

RECIPE = TrainRecipe(num_steps=2, rows_per_step=2, peak_learning_rate=1e-3, precision="fp32")
BUFFER_VALUES = 3_000_000
"""Of the gradient reduction buffer: twice the parameters, where DeepSpeed's default would be 2 GB here."""
PERSISTENT_VALUES = 200
"""Most parameters are partitioned, or ZeRO-3 is not tested."""
STATE_TOLERANCE, PASS_TOLERANCE = 0.01, 0.15


@dataclass(frozen=True)
class Case:
    zero_stage: int
    prebuffer_only: bool
    activation_checkpointing: bool


def layout_of(case: Case) -> GangLayout:
    return GangLayout(
        num_ranks=2,
        zero_stage=case.zero_stage,
        activation_checkpointing=case.activation_checkpointing,
        persistent_parameter_values=PERSISTENT_VALUES,
        reduction_buffer_values=BUFFER_VALUES,
    )


CASES = (Case(0, False, False), Case(3, False, False), Case(3, False, True), Case(2, True, False))


def config():
    from neo_model.config import NeoConfig

    return NeoConfig(
        hidden=128, num_heads=4, num_kv_heads=2, head_dim=32, ffn=384, vocab_size=640, tied=True,
        num_prebuffer_layers=2, num_layers=5, image_context_id=50, image_start_id=51, image_end_id=52, patch_hidden=256,
    )  # fmt: skip


def row():
    """Four documents of 256 tokens, each with a picture of 64."""
    from neo_model.inputs.batch import Document, pack

    rng = np.random.default_rng(0)
    token_ids = [51, *[50] * 64, 52, *rng.integers(0, 50, 190)]
    document = Document(token_ids=token_ids, supervised=[False] * 66 + [True] * 190, grids=[(16, 16)])
    return pack([document] * 4, [rng.integers(0, 256, (256, 768), dtype=np.uint8)] * 4, image_context_id=50)


def measured(_rank: int) -> list[tuple[int, int]]:
    """For each case the bytes that live between two steps, and those that a forward and backward add at their peak."""
    batch = row()
    return [measure(case, batch) for case in CASES]


def measure(case: Case, batch: Any) -> tuple[int, int]:
    import torch

    from neo_model.attention.interface import Backend
    from neo_model.model import NeoModel
    from neo_model.weights.partition import freeze_for_stage1
    from stages.training.engine.engine import Engine

    before = live_bytes()
    model = NeoModel(config(), backend=Backend.SDPA, activation_checkpointing=case.activation_checkpointing)
    if case.prebuffer_only:
        freeze_for_stage1(model)
    engine = Engine(model, RECIPE, layout_of(case), 1, "cpu")
    engine.accumulate(batch, 1.0)
    engine.apply(1e-3)
    standing = live_bytes() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        engine.accumulate(batch, 1.0)
    engine.apply(1e-3)
    del engine, model
    return standing, most_allocated(profile)


def live_bytes() -> int:
    """Bytes of all storages that any tensor of this process lies in."""
    import torch

    gc.collect()
    tensors = [one for one in gc.get_objects() if issubclass(type(one), torch.Tensor)]
    return sum({one.untyped_storage().data_ptr(): one.untyped_storage().nbytes() for one in tensors}.values())


def most_allocated(profile) -> int:
    now = most = 0
    for event in sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns()):
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def estimated(case: Case):
    import torch

    from neo_model.attention.interface import Backend
    from neo_model.costs.activation_memory import TrainingSetup, activation_bytes
    from neo_model.costs.flops import Work
    from neo_model.model import NeoModel
    from neo_model.weights.partition import freeze_for_stage1
    from stages.training.engine.memory import ParameterCounts, rank_memory

    def prepare(network: NeoModel) -> None:
        if case.prebuffer_only:
            freeze_for_stage1(network)

    with torch.device("meta"):
        network = NeoModel(config())
    prepare(network)
    batch = row()
    how = TrainingSetup(
        prepare=prepare,
        dtype=torch.float32,
        backend=Backend.SDPA,
        activation_checkpointing=case.activation_checkpointing,
    )
    work = Work(
        num_tokens=batch.num_tokens,
        num_pairs=4 * 256 * 257 // 2,
        num_patches=batch.patches.shape[0],
        num_supervised=len(batch.supervised_index),
    )
    counts = ParameterCounts.of(network, PERSISTENT_VALUES)
    activations = activation_bytes(config(), work, how)
    return rank_memory(counts, layout_of(case), activations, precision="fp32", on_gpu=False)


@pytest.fixture(scope="module")
def found() -> dict[Case, tuple[int, int]]:
    return dict(zip(CASES, run_ranks(measured)[0], strict=True))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_a_rank_holds_between_steps_is_told_to_a_hundredth(case: Case, found) -> None:
    memory = estimated(case)
    always = memory.gradients + memory.buckets if case.zero_stage == 3 else 0
    assert found[case][0] == pytest.approx(memory.state + always, rel=STATE_TOLERANCE)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_forward_and_backward_hold_is_told_to_a_seventh(case: Case, found) -> None:
    memory = estimated(case)
    taken = memory.gathered if case.zero_stage == 3 else memory.gradients + memory.buckets
    assert found[case][1] == pytest.approx(taken + memory.activations, rel=PASS_TOLERANCE)


def held_by_both(_rank: int, precision: str, zero_stage: int) -> tuple[float, float]:
    """Bytes that live between two steps, and before an update, with the optimizer on the host, which is the device
    here: over those that are told for both."""
    from neo_model.attention.interface import Backend
    from neo_model.model import NeoModel
    from stages.training.engine.engine import Engine
    from stages.training.engine.memory import ParameterCounts, rank_memory

    recipe = RECIPE.model_copy(update={"precision": precision, "rows_per_step": 4})
    layout = layout_of(Case(zero_stage, False, False)).model_copy(update={"offload_optimizer": True})
    batch, before = row(), live_bytes()
    model = NeoModel(config(), backend=Backend.SDPA)
    counts = ParameterCounts.of(model, PERSISTENT_VALUES)
    engine = Engine(model, recipe, layout, 2, "cpu")
    for _ in range(2):
        engine.accumulate(batch, 1.0)
    engine.apply(1e-3)
    standing = live_bytes() - before
    engine.accumulate(batch, 1.0)
    engine.accumulate(batch, 1.0)
    summed = live_bytes() - before
    engine.apply(1e-3)
    told = rank_memory(counts, layout, 0, precision=precision, on_gpu=False)
    always = told.buckets if zero_stage == 3 else 0
    through = 0 if zero_stage == 3 else counts.num_largest_trained * (2 if precision == "bf16" else 4)
    told_bytes = told.state + told.on_host + always + through
    return standing / told_bytes, summed / (told_bytes + told.gradients)


@pytest.mark.parametrize(("precision", "zero_stage"), [long("bf16", 2), ("fp32", 2), long("bf16", 3)])
def test_an_optimizer_in_host_memory_takes_what_is_told_for_both_sides(precision: str, zero_stage: int) -> None:
    assert run_ranks(held_by_both, precision, zero_stage)[0] == pytest.approx((1, 1), abs=STATE_TOLERANCE)


def start(folder: Path, hidden: int) -> tuple[int, int, int]:
    """Anonymous bytes of a rank that has mapped the first weights, read them all and digested them; those that are
    told, and those of all weights in fp32."""
    import torch

    from benchmarks.host import write_language_model
    from neo_model.model import NeoModel
    from stages.training.engine.memory import ParameterCounts, rank_memory
    from stages.training.first_weights import first_weights
    from stages.training.weight_digests import weight_digests

    torch.set_num_threads(1)
    config = write_language_model(folder / "llm", hidden)
    first_weights(folder / "llm", config, 0)  # fills the copy of the machine
    gc.collect()
    before = anonymous_bytes()
    with torch.device("meta"):
        model = NeoModel(config)
    model.load_state_dict(first_weights(folder / "llm", config, 0), assign=True)
    weight_digests(model.named_parameters(), frozenset(), 0, 1)
    held = anonymous_bytes() - before
    counts = ParameterCounts.of(model, 0)
    memory = rank_memory(counts, GangLayout(), 0, precision="bf16", on_gpu=True)
    return held, memory.starting, 4 * counts.num_values


def anonymous_bytes() -> int:
    """Memory of this process that no file lies behind."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon")]
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads memory as Linux tells it")
def test_a_rank_starts_from_weights_that_lie_in_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At two sizes: what it holds of its own grows with the largest parameter, not with the model."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    for hidden in (256, 512):
        (tmp_path / str(hidden)).mkdir()
        with get_context("spawn").Pool(1) as pool:
            held, told, whole = pool.apply(start, (tmp_path / str(hidden), hidden))
        assert held < told + 2**24 < whole / 2, (held, told, whole)


def counts_of_a_thousand():
    from stages.training.engine.memory import ParameterCounts

    return ParameterCounts(
        num_values=1000, num_trainable=600, num_persistent=0, num_largest=200, num_largest_trained=100, num_changed=600
    )


def test_the_model_that_is_handed_out_is_counted_as_far_as_it_changed() -> None:
    import torch
    from torch import nn

    from neo_model.layer import Linear
    from neo_model.lora import add_adapters
    from stages.training.engine.memory import ParameterCounts, rank_memory

    with torch.device("meta"):
        model = nn.Sequential(Linear(100, 50), Linear(50, 30))
    model.requires_grad_(False)
    add_adapters(model, ["0"], rank=2, alpha=1.0, seed=0)
    counts = ParameterCounts.of(model, 0)
    assert (counts.num_changed, counts.num_trainable, counts.num_largest) == (5000, 300, 5000)
    memory = rank_memory(counts, GangLayout(), 0, precision="bf16", on_gpu=True)
    assert memory.handing_out == 10_000 and memory.host_peak == memory.starting == 20_000


def test_partitioning_and_checkpointing_save_what_they_are_for() -> None:
    alone, three, frugal, two = (estimated(case) for case in CASES)
    assert two.moments * 3 < alone.moments and two.weights == alone.weights
    assert three.weights * 1.9 < alone.weights and three.masters * 1.9 < alone.weights and alone.masters == 0
    assert frugal.activations * 2 < three.activations and frugal.gathered < three.gathered


def test_a_sum_in_fp32_of_gradients_in_bf16_takes_another_buffer() -> None:
    from stages.training.engine.memory import rank_memory

    counts = counts_of_a_thousand()

    def buckets(num_ranks: int, zero_stage: int, reduce_in: str, precision: str) -> int:
        layout = GangLayout(
            num_ranks=num_ranks, zero_stage=zero_stage, reduce_gradients_in=reduce_in, reduction_buffer_values=100
        )
        return rank_memory(counts, layout, 50, precision=precision, on_gpu=True).buckets

    for zero_stage in (2, 3):
        in_bf16 = buckets(2, zero_stage, "bf16", "bf16")
        assert buckets(2, zero_stage, "fp32", "bf16") == 400 + (in_bf16 if zero_stage == 2 else 0)
        assert buckets(1, zero_stage, "fp32", "bf16") == in_bf16, "one rank sums nothing"
        assert buckets(2, zero_stage, "fp32", "fp32") == buckets(2, zero_stage, "bf16", "fp32")


def test_an_optimizer_on_the_host_is_counted_there() -> None:
    from stages.training.engine.memory import rank_memory

    counts = counts_of_a_thousand()
    for zero_stage in (1, 2, 3):
        layout = GangLayout(num_ranks=2, zero_stage=zero_stage, activation_checkpointing=True)
        on_host = layout.model_copy(update={"offload_optimizer": True})
        here, there = (
            rank_memory(counts, each, activations=50, precision="bf16", on_gpu=True) for each in (layout, on_host)
        )
        assert there.masters == there.moments == 0 and there.weights == here.weights
        assert there.on_host >= 12 * 300 and there.peak < here.peak


def test_a_moving_average_takes_four_bytes_of_each_value_that_a_rank_keeps() -> None:
    from stages.training.engine.memory import rank_memory

    counts = counts_of_a_thousand()
    for zero_stage, share in ((0, 600), (1, 300), (2, 300), (3, 300)):
        layout = GangLayout(num_ranks=2, zero_stage=zero_stage)
        plain, kept = (
            rank_memory(counts, layout, activations=50, precision="fp32", on_gpu=True, keeps_ema=keeps)
            for keeps in (False, True)
        )
        assert (plain.ema, kept.ema) == (0, 4 * share)
        assert kept.state == plain.state + kept.ema and kept.peak == plain.peak + kept.ema
        on_host = layout.model_copy(update={"offload_optimizer": True})
        moved = rank_memory(counts, on_host, activations=50, precision="fp32", on_gpu=True, keeps_ema=True)
        assert moved.ema == (0 if zero_stage else 4 * share)
