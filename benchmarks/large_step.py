"""A training step at full size on one GPU: tokens/s, MFU and peak memory, in stages 1 and 2.

`python -m benchmarks.large_step`: the 2B size, one row of 16,384 tokens (16 documents with an image of 900 tokens
each and 120 supervised words), bfloat16, activation checkpointing, layers compiled. Gradients are taken; there is no
optimizer step.

MFU counts, for the row: 6 FLOPs for each parameter of a matrix that a token meets, 2 fewer where its weight gradient
is not taken (stage 1 freezes the language model); 6 x (E + D) x heads for each visible query-key pair; the head at
supervised positions only. Recomputation is not counted. It is divided by the time of the step and by the rate of a
4,096-wide bfloat16 product measured in the same run, or by `--peak-tflops`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from neo_model.attention.interface import Backend
from neo_model.attention.visibility import visible_intervals
from neo_model.config import NEO_2B, NEO_9B, NeoConfig
from neo_model.inputs.batch import Batch, Document, pack
from neo_model.layer import compiled_regions
from neo_model.model import NeoModel
from neo_model.weights.partition import freeze_for_stage1, parameter_shapes, stage1_trainable

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
    first, stop = visible_intervals(batch.documents.numpy(), batch.image_spans.numpy())
    pairs = float((stop - first).sum())
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


def main() -> None:
    """Measure both stages, and print tokens/s, MFU and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="2b")
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--backend", type=Backend, choices=list(Backend))
    parser.add_argument("--eager", action="store_true", help="do not compile the layers")
    parser.add_argument("--device", type=torch.device, default=torch.device("cuda"))
    parser.add_argument("--peak-tflops", type=float, help="of the device; default: the measured rate of a product")
    arguments = parser.parse_args()
    config, device = SIZES[arguments.size], arguments.device
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here; --device cpu --size tiny --eager shows that the benchmark runs")
    rate = arguments.peak_tflops * 1e12 if arguments.peak_tflops else product_rate(device, torch.bfloat16)
    host_row = make_row(config, arguments.tokens)
    row = host_row.to(device, torch.bfloat16)
    print(f"{arguments.size}, {row.num_tokens} tokens, bfloat16; MFU against {rate / 1e12:.1f} TFLOP/s")
    for stage in (1, 2):
        seconds = measure(make_model(config, stage, arguments), row, arguments.steps)
        share = counted_flops(config, host_row, stage) / seconds / rate
        peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
        print(f"stage {stage}: {row.num_tokens / seconds:8.0f} tokens/s, MFU {share:.2f}, {peak:.1f} GB at peak")


if __name__ == "__main__":
    main()
