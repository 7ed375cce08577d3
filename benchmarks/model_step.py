"""Training speed and peak memory of `neo_model` on one packed row, beside NEO written plainly.

`python -m benchmarks.model_step`: one row of 2,048 tokens (8 documents of 256, each with one image of 156 tokens and
90 supervised words), 23.7M parameters, fp32, 2 threads. Each side runs in processes of its own, alternating; the
median of five runs of several steps each is printed, with both as fractions of the rate of a matrix product measured
in the same processes, and by CPU time beside wall time.

Counted FLOPs, the same for both sides: 2 for each multiply-add of what the result needs, times 3 for forward and
backward: layers and patch embedding at every token or patch, attention at every visible pair, the head at supervised
positions only.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

from benchmarks.plain_neo import plain_loss
from neo_model.attention.visibility import visible_intervals
from neo_model.config import NeoConfig
from neo_model.costs.flops import Work, forward_flops
from neo_model.inputs.batch import Batch, Document, pack
from neo_model.model import NeoModel

GRIDS = [(24, 26), (26, 24), (12, 52), (52, 12), (8, 78)]
DOCUMENT_TOKENS, NUM_DOCUMENTS, NUM_SUPERVISED = 256, 8, 90

CONFIG = NeoConfig(
    hidden=256, num_heads=8, num_kv_heads=4, head_dim=32, ffn=768, vocab_size=32_000, num_prebuffer_layers=2,
    num_layers=8, image_start_id=31_998, image_context_id=31_997, image_end_id=31_999, patch_hidden=128,
)  # fmt: skip


def make_row() -> Batch:
    """One row of eight documents, each with one image."""
    rng = np.random.default_rng(0)
    documents, patches = [], []
    for number in range(NUM_DOCUMENTS):
        grid = GRIDS[number % len(GRIDS)]
        num_context = grid[0] * grid[1] // 4
        image = [CONFIG.image_start_id, *[CONFIG.image_context_id] * num_context, CONFIG.image_end_id]
        num_words = DOCUMENT_TOKENS - len(image)
        words = rng.integers(0, 31_000, num_words).tolist()
        before = num_words - NUM_SUPERVISED
        ids = [*words[:before], *image, *words[before:]]
        supervised = [False] * (DOCUMENT_TOKENS - NUM_SUPERVISED) + [True] * NUM_SUPERVISED
        documents.append(Document(token_ids=ids, supervised=supervised, grids=[grid]))
        patches.append(rng.normal(size=(grid[0] * grid[1], 768)).astype(np.float32))
    return pack(documents, patches, image_context_id=CONFIG.image_context_id)


def work_of(batch: Batch) -> Work:
    """How much work a row is for the network."""
    first, stop = visible_intervals(batch.documents.numpy(), batch.image_spans.numpy())
    return Work(
        num_tokens=batch.num_tokens,
        num_pairs=int((stop - first).sum()),
        num_patches=batch.patches.shape[0],
        num_supervised=len(batch.supervised_index),
    )


def counted_flops(batch: Batch) -> float:
    """FLOPs of one step, forward and backward, as the docstring of this file counts them."""
    return 3.0 * forward_flops(CONFIG, work_of(batch))


def matmul_rate(num_tries: int = 5) -> float:
    """FLOP/s of a large fp32 matrix product, the best of several."""
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    best = min(_timed(lambda: a @ b) for _ in range(num_tries))
    return 2 * 2048**3 / best


def measure(side: str, num_steps: int, checkpointing: bool) -> dict[str, float]:
    """Of one side, in this process: seconds of a step, peak memory in bytes, FLOP/s of a matrix product."""
    torch.manual_seed(0)
    batch = make_row()
    model = NeoModel(CONFIG, activation_checkpointing=checkpointing)
    parameters = dict(model.named_parameters())

    def step() -> None:
        for parameter in parameters.values():
            parameter.grad = None
        total = model(batch) if side == "ours" else plain_loss(parameters, CONFIG, batch)
        (total.loss / total.weight).backward()

    rate = matmul_rate()
    idle_bytes = _peak_bytes()
    step()
    cpu_start = time.process_time()
    seconds = [_timed(step) for _ in range(num_steps)]
    cpu_seconds = (time.process_time() - cpu_start) / num_steps
    rate = max(rate, matmul_rate())
    return {
        "seconds": statistics.median(seconds),
        "cpu_seconds": cpu_seconds,
        "peak_bytes": _peak_bytes(),
        "step_bytes": _peak_bytes() - idle_bytes,
        "matmul_rate": rate,
    }


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak_bytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def _in_process(side: str, arguments: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.model_step", "--side", side, "--threads", str(arguments.threads)]
    command += ["--steps", str(arguments.steps), *(["--checkpointing"] if arguments.checkpointing else [])]
    figures: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return figures


def report(runs: dict[str, list[dict[str, float]]], threads: int) -> None:
    """Print medians of each side, and the ratios of the two."""
    batch = make_row()
    flops, rate = counted_flops(batch), max(run["matmul_rate"] for side in runs.values() for run in side)
    num_parameters = sum(parameter.numel() for parameter in NeoModel(CONFIG).parameters())
    print(f"{num_parameters / 1e6:.1f}M parameters, {batch.num_tokens} tokens, fp32, {threads} threads")
    print(f"{flops / 1e9:.1f} counted GFLOP a step; a matrix product runs at {rate / 1e9:.1f} GFLOP/s")
    speed, memory = {}, {}
    for side, figures in runs.items():
        seconds = statistics.median(run["seconds"] for run in figures)
        speed[side], memory[side] = batch.num_tokens / seconds, max(run["peak_bytes"] for run in figures)
        step_bytes = max(run["step_bytes"] for run in figures)
        cpu_seconds = statistics.median(run["cpu_seconds"] for run in figures)
        print(f"{side:5s} {speed[side]:7.0f} tokens/s, {flops / seconds / rate:.2f} of the product's rate", end=", ")
        print(f"{batch.num_tokens / cpu_seconds:.0f} tokens a CPU-second", end="; ")
        print(f"{memory[side] / 1e9:.2f} GB at peak, {step_bytes / 1e9:.2f} GB above the idle process")
    print(f"ratio {speed['ours'] / speed['plain']:.2f} in speed, {memory['ours'] / memory['plain']:.2f} in peak memory")


def main() -> None:
    """Run both sides in alternating processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help="timed steps in each process")
    parser.add_argument("--runs", type=int, default=5, help="processes for each side")
    parser.add_argument("--checkpointing", action="store_true", help="activation checkpointing by layer (ours only)")
    parser.add_argument("--side", choices=["ours", "plain"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.steps, arguments.checkpointing)))
        return
    runs: dict[str, list[dict[str, float]]] = {"ours": [], "plain": []}
    for _ in range(arguments.runs):
        for side, figures in runs.items():
            figures.append(_in_process(side, arguments))
    report(runs, arguments.threads)


if __name__ == "__main__":
    main()
