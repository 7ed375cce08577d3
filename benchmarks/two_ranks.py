"""Two ranks killed in the middle of training and resumed, under every ZeRO stage, with and without offload.

`python -m benchmarks.two_ranks` on two GPUs over NCCL; `--device cpu` shows over gloo that it runs. For each layout
three groups of processes train the same small NEO in bf16: one to the end, one that kills itself with SIGKILL after a
checkpoint, one that resumes from it. Printed is the largest difference of a loss between the first group and the
resumed one, as a fraction. Expected: 0 on a CPU, and on GPUs with `--deterministic`; below 1e-2 on GPUs without.

`--sequence-ranks 2` has two ranks share each row; printed is then also how far the losses are from those of ranks that
share none, on the same rows. Expected: below 2e-2, as in bf16 sums are rounded in another order.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.multiprocessing.spawn import ProcessExitedException, spawn

from benchmarks.large_step import TINY
from neo_model.inputs.batch import Batch, Document, ensure_image, pack
from neo_model.model import NeoModel
from stages.contract import GangLayout
from stages.training.engine.engine import Engine
from stages.training.engine.execution import set_execution
from stages.training.engine.files import read_shards
from stages.training.loading.sequence_place import SequencePlace
from stages.training.recipe import TrainRecipe

NUM_STEPS, STEPS_BEFORE, LEARNING_RATE = 8, 4, 1e-3
SHARED_TOLERANCE = 2e-2
RECIPE = TrainRecipe(num_steps=NUM_STEPS, rows_per_step=2, peak_learning_rate=LEARNING_RATE, precision="bf16")


def make_row(step: int, rank: int) -> Batch:
    """Four documents of a picture of 64 tokens and some words, as many as no other step and rank has."""
    rng = np.random.default_rng((step, rank))
    image = [TINY.image_start_id, *[TINY.image_context_id] * 64, TINY.image_end_id]
    words = rng.integers(0, 500, (4, 60 + 7 * step + rank)).tolist()
    documents = [
        Document(token_ids=[*image, *some], supervised=[False] * 66 + [True] * len(some), grids=[(16, 16)])
        for some in words
    ]
    patches = [rng.integers(0, 256, (256, 768)).astype(np.uint8) for _ in words]
    return pack(documents, patches, image_context_id=TINY.image_context_id)


def train(rank: int, layout: GangLayout, folder: Path, what: str, port: int, kind: str) -> None:
    """One rank: `whole` trains to the end, `killed` dies after its checkpoint, `resumed` continues from there."""
    os.environ.update(LOCAL_RANK=str(rank), RANK=str(rank), WORLD_SIZE=str(layout.num_ranks))
    device = f"cuda:{rank}" if kind == "cuda" else "cpu"
    if kind == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group(
        "nccl" if kind == "cuda" else "gloo",
        init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=layout.num_ranks,
    )  # fmt: skip
    torch.manual_seed(0)
    model = NeoModel(TINY)
    set_execution(model, layout, RECIPE.precision, device, print)
    engine = Engine(model, RECIPE, layout, layout.sequence_ranks, device)
    if what == "resumed":
        read_shards(folder, engine.slices())
        engine.resume(STEPS_BEFORE)
    losses = []
    place = SequencePlace.of(layout, rank, layout.num_ranks, on_grid=model.is_compiled)
    for step in range(STEPS_BEFORE if what == "resumed" else 0, NUM_STEPS):
        losses.append(0.0)
        for number in range(layout.sequence_ranks):  # as many rows a step, however they are shared
            row = make_row(step, place.group * layout.sequence_ranks + number)
            weight = float(row.weights.sum())
            sums = engine.accumulate(ensure_image(place.take(row)[0]), 1.0 / weight)
            total = sums.loss.double() / (weight * layout.num_ranks)
            dist.all_reduce(total)
            losses[-1] += float(total)
        engine.apply(LEARNING_RATE)
        if what == "killed" and step + 1 == STEPS_BEFORE:
            engine.snapshot().write(folder)
            dist.barrier()
            os.kill(os.getpid(), signal.SIGKILL)
    if rank == 0:
        (folder / f"{what}.json").write_text(json.dumps(losses))
    dist.destroy_process_group()


def run(layout: GangLayout, folder: Path, what: str, kind: str) -> None:
    """A group of ranks, to its end or its death."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    try:
        spawn(train, (layout, folder, what, port, kind), nprocs=layout.num_ranks)
    except ProcessExitedException:
        if what != "killed":
            raise


def layouts(arguments: argparse.Namespace) -> Iterator[GangLayout]:
    """Every ZeRO stage that bf16 has, and each with its optimizer in host memory."""
    for zero_stage in (1, 2, 3):
        for offload in (False, True):
            yield GangLayout(
                num_ranks=arguments.ranks,
                sequence_ranks=arguments.sequence_ranks,
                zero_stage=zero_stage,
                offload_optimizer=offload,
                persistent_parameter_values=100,
                reduction_buffer_values=2_000_000,
                compile_layers=arguments.compile,
                deterministic=arguments.deterministic,
            )


def difference(layout: GangLayout, kind: str) -> float:
    """Largest difference between the losses after the resume and those of the group that was never killed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for what in ("whole", "killed", "resumed"):
            run(layout, folder, what, kind)
        whole, resumed = (json.loads((folder / f"{what}.json").read_text()) for what in ("whole", "resumed"))
    return max(float(abs(one - other) / one) for one, other in zip(whole[STEPS_BEFORE:], resumed, strict=True))


def difference_from_unshared(layout: GangLayout, kind: str) -> float:
    """Largest difference between the losses of ranks that share rows and of as many that do not, on the same rows."""
    found = []
    for one in (layout, layout.model_copy(update={"sequence_ranks": 1})):
        with tempfile.TemporaryDirectory() as name:
            run(one, Path(name), "whole", kind)
            found.append(json.loads((Path(name) / "whole.json").read_text()))
    return max(float(abs(one - other) / one) for one, other in zip(*found, strict=True))


def main() -> None:
    """Print one line for each layout; exit with 1 where losses differ by more than rounding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--sequence-ranks", type=int, default=1, help="ranks that share each row")
    parser.add_argument("--compile", action="store_true", help="compile the layers, where ZeRO allows it")
    parser.add_argument("--deterministic", action="store_true", help="kernels that repeat their bits")
    arguments: Any = parser.parse_args()
    if arguments.device == "cuda" and torch.cuda.device_count() < arguments.ranks:
        sys.exit(f"{torch.cuda.device_count()} GPUs here for {arguments.ranks} ranks; --ranks 1 or --device cpu")
    allowed = 0.0 if arguments.device == "cpu" or arguments.deterministic else 1e-2
    fails = False
    for layout in layouts(arguments):
        found = difference(layout, arguments.device)
        line = f"ZeRO {layout.zero_stage}, offload {layout.offload_optimizer!s:5}: losses differ by {found:.2g}"
        fails |= found > allowed
        if layout.sequence_ranks > 1:
            shared = difference_from_unshared(layout, arguments.device)
            line += f", and by {shared:.2g} from those of ranks that share no rows"
            fails |= shared > SHARED_TOLERANCE
        print(line, flush=True)
    sys.exit(int(fails))


if __name__ == "__main__":
    main()
