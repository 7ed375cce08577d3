"""The weighted cross-entropy of a large vocabulary: chunked, and on whole logits.

`python -m benchmarks.weighted_loss`: 2,048 supervised positions, 151,936 rows, fp32, forward and backward to hidden
states and head. Sides: `ours`; `whole`, F.cross_entropy on all logits; `torch`, torch's own linear_cross_entropy with
its chunking, which cannot weigh positions and gets no weights. Sides alternate in processes of their
own; medians are printed, and the largest difference of gradients between ours and whole.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from neo_model.loss import weighted_loss

VOCAB_SIZE, SIDES = 151_936, ("ours", "whole", "torch")


def problem(num_positions: int, hidden: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """States [positions, H], head [V, H], targets and weights [positions]."""
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(num_positions, hidden, generator=generator).requires_grad_()
    head = (0.02 * torch.randn(VOCAB_SIZE, hidden, generator=generator)).requires_grad_()
    targets = torch.randint(0, VOCAB_SIZE, (num_positions,), generator=generator)
    return states, head, targets, torch.rand(num_positions, generator=generator)


def loss_of(side: str, states: Tensor, head: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """The loss of one side."""
    if side == "ours":
        return weighted_loss(states, head, targets, weights).loss
    if side == "whole":
        return (F.cross_entropy(F.linear(states, head), targets, reduction="none") * weights).sum()
    from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

    options = LinearCrossEntropyOptions()
    return F.linear_cross_entropy(states, head, targets, reduction="sum", options=options)


def measure(side: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Of one side, in this process: seconds, CPU seconds, and extra memory in bytes."""
    states, head, targets, weights = problem(arguments.positions, arguments.hidden)
    head.grad, states.grad = torch.zeros_like(head), torch.zeros_like(states)
    idle_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, cpu = time.perf_counter(), time.process_time()
    loss = loss_of(side, states, head, targets, weights)
    gradients = torch.autograd.grad(loss, (states, head))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    extra_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle_kib
    if arguments.save:
        torch.save([loss.detach(), *gradients], arguments.save)
    return {"seconds": wall, "cpu_seconds": cpu, "extra_bytes": extra_kib * 1024.0}


def run_sides(arguments: argparse.Namespace, folder: Path) -> dict[str, list[dict[str, float]]]:
    """Run each side in processes of its own, alternating; returns the figures of each run."""
    measured: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for _ in range(arguments.runs):
        for side, runs in measured.items():
            command = [sys.executable, "-m", "benchmarks.weighted_loss", "--side", side]
            command += ["--positions", str(arguments.positions), "--hidden", str(arguments.hidden)]
            command += ["--threads", str(arguments.threads), "--save", str(folder / f"{side}.pt")]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return measured


def main() -> None:
    """Run all sides, print medians, and compare the gradients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--positions", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=5, help="processes for each side")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments)))
        return
    with tempfile.TemporaryDirectory() as folder:
        measured = run_sides(arguments, Path(folder))
        ours, whole = (torch.load(Path(folder) / f"{side}.pt", weights_only=True) for side in ("ours", "whole"))
    for side, runs in measured.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        print(f"{side:5s} {middle['seconds']:6.2f} s, {middle['cpu_seconds']:6.2f} CPU-s", end=", ")
        print(f"{middle['extra_bytes'] / 1e9:5.2f} GB extra at peak")
    print(f"of the extra memory, the head's gradient is {4 * ours[2].numel() / 1e9:.2f} GB")
    differences = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, whole, strict=True)]
    print("largest difference of loss, states and head: " + ", ".join(f"{value:.1e}" for value in differences))
    if max(differences) > 1e-5:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
