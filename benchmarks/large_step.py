"""A training step at full size on one GPU: tokens/s, MFU, and peak memory beside the estimate, in stages 1 and 2.

`python -m benchmarks.large_step`: the 2B size, one row of 16,384 tokens (16 documents with an image of 900 tokens
each and 120 supervised words), bfloat16, activation checkpointing, layers compiled, through the engine that training
uses: forward, backward and update under ZeRO-1 on one rank. `--bare` leaves the engine out, and the update with it.
`--peer` times the model written plainly (`plain_neo`: a dense mask, logits of all positions, no recomputation), as the
released kit computes it, beside stage 2.

MFU counts, for the row: 6 FLOPs for each parameter of a matrix that a token meets, 2 fewer where its weight gradient
is not taken (stage 1 freezes the language model); 6 x (E + D) x heads for each visible query-key pair; the head at
supervised positions only. Recomputation is not counted. It is divided by the time of the step and by the rate of a
4,096-wide bfloat16 product measured in the same run, or by `--peak-tflops`.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
import torch.distributed as dist

from benchmarks.model_step import work_of
from benchmarks.plain_neo import plain_loss
from neo_model.attention.interface import Backend
from neo_model.config import NEO_2B, NEO_9B, NeoConfig
from neo_model.costs.activation_memory import TrainingSetup, activation_bytes
from neo_model.inputs.batch import Batch, Document, pack
from neo_model.layer import compiled_regions
from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1, parameter_shapes, stage1_trainable
from stages.contract import GangLayout
from stages.training.engine.engine import Engine
from stages.training.engine.execution import set_execution
from stages.training.engine.memory import ParameterCounts, rank_memory
from stages.training.recipe import TrainRecipe

TINY = NeoConfig(
    hidden=64, num_heads=4, num_kv_heads=2, head_dim=16, ffn=96, vocab_size=512, num_prebuffer_layers=1, num_layers=3,
    image_context_id=509, image_start_id=510, image_end_id=511, patch_hidden=32,
)  # fmt: skip
SIZES = {"2b": NEO_2B, "9b": NEO_9B, "tiny": TINY}
GRID, NUM_SUPERVISED, NUM_DOCUMENTS = (60, 60), 120, 16


def make_row(config: NeoConfig, num_tokens: int) -> Batch:
    """One row of sixteen documents with an image each."""
    rng = np.random.default_rng(0)
    image = [config.image_start_id, *[config.image_context_id] * (GRID[0] * GRID[1] // 4), config.image_end_id]
    num_words = num_tokens // NUM_DOCUMENTS - len(image)
    if num_words <= NUM_SUPERVISED:
        raise SystemExit(f"--tokens {num_tokens}: at least {NUM_DOCUMENTS * (len(image) + NUM_SUPERVISED + 1)}")
    ids = [*image, *rng.integers(0, 500, num_words).tolist()]
    supervised = [False] * (len(ids) - NUM_SUPERVISED) + [True] * NUM_SUPERVISED
    document = Document(token_ids=ids, supervised=supervised, grids=[GRID])
    patches = [rng.integers(0, 256, (GRID[0] * GRID[1], 768)).astype(np.uint8) for _ in range(NUM_DOCUMENTS)]
    return pack([document] * NUM_DOCUMENTS, patches, image_context_id=config.image_context_id)


def counted_flops(config: NeoConfig, batch: Batch, stage: int) -> float:
    """FLOPs of one step, as the docstring of this file counts them."""
    trainable = stage1_trainable(config) if stage == 1 else set(parameter_shapes(config))
    num_patches = batch.patches.shape[0]
    flops = 0.0
    for name, shape in parameter_shapes(config).items():
        if len(shape) < 2 or "embed_tokens" in name or "lm_head" in name:
            continue
        meetings = batch.num_tokens
        if name.startswith("vision_model."):
            meetings = num_patches if "patch_embedding" in name else num_patches // 4
        flops += meetings * float(np.prod(shape)) * (6 if name in trainable else 4)
    pairs = float(work_of(batch).num_pairs)
    flops += 6 * pairs * config.num_layers * config.num_heads * (config.query_key_dim + config.head_dim)
    return flops + len(batch.supervised_index) * config.hidden * config.vocab_size * (6.0 if stage == 2 else 4.0)


def product_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large product."""
    width = 4096 if device.type == "cuda" else 512
    a, b = (torch.randn(width, width, device=device, dtype=dtype) for _ in range(2))
    return 2 * width**3 / min(seconds_of(lambda: a @ b, device) for _ in range(20))


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def through_engine(config: NeoConfig, stage: int, arguments: argparse.Namespace, row: Batch) -> tuple[float, float]:
    """Seconds of a step through the engine, and the bytes that `neo estimate` computes for the rank."""
    recipe = TrainRecipe(num_steps=1, rows_per_step=1, peak_learning_rate=1e-5, precision="bf16")
    layout = GangLayout(
        zero_stage=1,
        attention=arguments.backend or "auto",
        activation_checkpointing=True,
        compile_layers=not arguments.eager,
        reduction_buffer_values=50_000_000,
    )
    with torch.device(arguments.device):
        model = NeoModel(config)
    if stage == 1:
        freeze_for_stage1(model)
    device = f"{arguments.device.type}:0" if arguments.device.type == "cuda" else "cpu"
    set_execution(model, layout, recipe.precision, device, print)
    engine = Engine(model, recipe, layout, 1, device)

    def step() -> None:
        engine.accumulate(row, 1 / float(row.weights.sum()))
        engine.apply(1e-5)

    step()
    seconds = min(seconds_of(step, arguments.device) for _ in range(arguments.steps))
    return seconds, estimated_bytes(model, layout, row)


def estimated_bytes(model: NeoModel, layout: GangLayout, row: Batch) -> float:
    """Peak memory of the rank, as `neo estimate` computes it."""
    is_partial = any(not parameter.requires_grad for parameter in model.parameters())
    freeze = freeze_for_stage1 if is_partial else lambda _: None
    setup = TrainingSetup(
        prepare=freeze, dtype=torch.bfloat16, backend=model.backend or Backend.FLASH, activation_checkpointing=True
    )
    counts = ParameterCounts.of(model, layout.persistent_parameter_values)
    activations = activation_bytes(model.config, work_of(row), setup)
    return rank_memory(counts, layout, activations, precision="bf16", on_gpu=True).peak


def peer_seconds(config: NeoConfig, arguments: argparse.Namespace, row: Batch) -> float:
    """Seconds of forward and backward of the model written plainly, in bf16, all parameters trained."""
    with torch.device(arguments.device):
        parameters = dict(NeoModel(config).to(torch.bfloat16).named_parameters())
    placed = replace(row.to(arguments.device), patches=row.patches.to(arguments.device, torch.bfloat16))

    def step() -> None:
        for parameter in parameters.values():
            parameter.grad = None
        with torch.autocast(arguments.device.type, torch.bfloat16):
            total = plain_loss(parameters, config, placed)
        (total.loss / total.weight).backward()

    step()
    return min(seconds_of(step, arguments.device) for _ in range(arguments.steps))


def make_model(config: NeoConfig, stage: int, arguments: argparse.Namespace) -> NeoModel:
    """A model with random weights, frozen as the stage freezes it."""
    torch.manual_seed(0)
    with arguments.device:
        model = NeoModel(config, backend=arguments.backend, activation_checkpointing=True).to(torch.bfloat16)
    if stage == 1:
        freeze_for_stage1(model)
    model.regions = None if arguments.eager else compiled_regions()
    return model


def measure(model: NeoModel, row: Batch, num_steps: int) -> float:
    """Seconds of a step, the fastest of `num_steps` after a warm-up."""

    def step() -> None:
        model.zero_grad(set_to_none=True)
        total = model(row)
        (total.loss / total.weight).backward()

    step()
    return min(seconds_of(step, row.input_ids.device) for _ in range(num_steps))


def begin_group(device: torch.device) -> None:
    """A process group of this process alone, as a rank has it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meeting_point = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, init_method=meeting_point, rank=0, world_size=1)


def main() -> None:
    """Measure both stages, and print tokens/s, MFU and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="2b")
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--backend", type=Backend, choices=list(Backend))
    parser.add_argument("--bare", action="store_true", help="the model alone: no engine, no update")
    parser.add_argument("--peer", action="store_true", help="time the model written plainly as well, in stage 2")
    parser.add_argument("--eager", action="store_true", help="do not compile the layers")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--peak-tflops", type=float, help="of the device; default: the measured rate of a product")
    arguments = parser.parse_args()
    config, device = SIZES[arguments.size], arguments.device
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --device cpu --size tiny --eager shows that the benchmark runs")
    rate = arguments.peak_tflops * 1e12 if arguments.peak_tflops else product_rate(device, torch.bfloat16)
    host_row = make_row(config, arguments.tokens)
    num_tokens = host_row.num_tokens
    print(f"{arguments.size}, {num_tokens} tokens, bfloat16; MFU against {rate / 1e12:.1f} TFLOP/s")
    if not arguments.bare:
        begin_group(device)
    for stage in (1, 2):
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        estimate = float("nan")
        if arguments.bare:
            row = host_row.to(device, torch.bfloat16)
            seconds = measure(make_model(config, stage, arguments), row, arguments.steps)
        else:
            seconds, estimate = through_engine(config, stage, arguments, host_row)
        share = counted_flops(config, host_row, stage) / seconds / rate
        peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
        print(
            f"stage {stage}: {num_tokens / seconds:8.0f} tokens/s, MFU {share:.2f}, {peak:.1f} GB at peak, "
            f"{estimate / 1e9:.1f} GB by the estimate"
        )
    if arguments.peer:
        plainly = peer_seconds(config, arguments, host_row)
        print(
            f"written plainly: {num_tokens / plainly:.0f} tokens/s; stage 2 takes {seconds / plainly:.2f} of its time"
        )


if __name__ == "__main__":
    main()
