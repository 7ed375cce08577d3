"""The overhead of the training stage: its whole loop beside the same engine on rows in memory.

`python -m benchmarks.train [--zero-stage 2] [--num-ranks 2]`: gloo ranks of one core each, DeepSpeed, a NEO of 1.5M
parameters in fp32, two rows of 512 tokens in a step, pictures of 160 x 192 px decoded as they are read. The sides
alternate in the same processes on the same engine, windows of 40 steps:

    stage     rows read from the store, checked, decoded and packed ahead; agreement of the ranks; losses by source;
              one committed checkpoint in each window
    plain     the same without the checkpoint
    memory    forward, backward and update on micro-batches made beforehand, and nothing else

Printed: tokens/s of each side, median of five windows, their ratio by wall and by CPU time, how long steps wait for a
checkpoint, how long they would wait for its commit, what it costs the next three steps, and bare torch in one process
on the same rows for comparison. The ranks are processes of this machine without Ray Train, which takes no part in a
step.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from neo_model.inputs.batch import Weighting
from stages.artifacts.kinds import BaseLlm, Rows
from stages.contract import GangLayout, Rank
from stages.train_prebuffer import TrainPrebufferRecipe, untrained_model
from stages.training.checkpoints.checkpoint import Checkpoints
from stages.training.checkpoints.in_flight import CheckpointInFlight
from stages.training.checkpoints.probe import Probe
from stages.training.damaged_rows import DamagedRowPolicy
from stages.training.engine.engine import Engine
from stages.training.load_together import JointLoader
from stages.training.loading.micro_batches import PackedRows, StepLoader
from stages.training.loading.prefetch import prefetch
from stages.training.loading.split import RowSplit
from stages.training.loading.step_rows import spans
from stages.training.loop import REPORT_EVERY_STEPS
from stages.training.metrics import Meter
from stages.training.optimizer_step import optimizer_step
from stages.training.skipped import LeftOutOfSteps
from stages.training.weight_digests import WeightDigests
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

WINDOW_STEPS, NUM_WINDOWS = 40, 5
SIDES = ("stage", "plain", "memory")
LLM = make_llm.bind("llm", LlmRecipe(hidden=128, num_layers=3, num_heads=4, head_dim=32, ffn=384))
ROWS = make_rows.bind(
    "rows",
    RowsRecipe(
        num_rows=400, max_row_tokens=600, num_documents=(10, 12), num_words=(14, 26), picture_px=(160, 192),
        max_pixels_px=65_536,
    ),
    LLM,
)  # fmt: skip
RECIPE = TrainPrebufferRecipe(
    num_steps=10_000, rows_per_step=2, num_prebuffer_layers=2, patch_hidden=256, precision="fp32"
)


def measure_rank(rank: Rank, rows: Rows, llm: BaseLlm, result: Path) -> None:
    """Alternate the sides; rank 0 writes its figures to `result`, as JSON."""
    import torch.distributed as dist

    model = untrained_model(llm.copy_to(rank.scratch / "llm"), RECIPE).requires_grad_(True)
    loader = StepLoader.of(RECIPE, [rows], rank, model.config)
    engine = Engine(model, RECIPE, rank.layout, loader.split.num_micro_batches, rank.device)
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in SIDES}
    steps = range(2 * (NUM_WINDOWS + 1) * WINDOW_STEPS)
    reading = prefetch(loader, steps, loader.split.num_micro_batches, 0, rank.warn)
    with CheckpointInFlight(rank.rank) as in_flight, reading as loaded:
        damage, before = DamagedRowPolicy(rank, RECIPE.on_damaged_row, [rows]), WeightDigests({}, {})
        checkpoints = Checkpoints(rank, RECIPE, engine, [rows], before, Probe(engine, loader, damage), in_flight)
        joint = JointLoader(rank, loaded, damage, in_flight, Meter(), LeftOutOfSteps())
        sides = Sides(rank, engine, loader, joint, checkpoints)
        takes: tuple[Callable[[int], None], ...] = (
            partial(sides.stage, commits=True),
            partial(sides.stage, commits=False),
            sides.memory,
        )
        for window in range(NUM_WINDOWS + 1):
            for place, (name, take) in enumerate(zip(SIDES, takes, strict=True)):
                figures[name].append(timed(partial(take, (2 * window + place) * WINDOW_STEPS), dist.barrier))
        in_flight.finish()
        commits = [timed(partial(commit_at_once, checkpoints, steps[-1] + n), dist.barrier)[0] for n in range(5)]
    if rank.rank == 0:
        told = {"figures": figures, "pauses": sides.pauses, "commits": commits, "after": sides.after}
        result.write_text(json.dumps({**told, "window_tokens": sides.num_tokens * rank.world_size}))


class Sides:
    """The ways in which one rank takes a window of steps, on one engine."""

    def __init__(
        self, rank: Rank, engine: Engine, loader: StepLoader, joint: JointLoader, checkpoints: Checkpoints
    ) -> None:
        self.rank, self.engine, self.loader, self.joint, self.checkpoints = rank, engine, loader, joint, checkpoints
        self.in_memory = [loader.load(step) for step in range(WINDOW_STEPS)]
        self.pauses: list[float] = []
        """Seconds for which steps wait while a checkpoint is taken."""
        self.after: list[float] = []
        """How many times as long the three steps after a checkpoint take as those before it in their window."""

    @property
    def num_tokens(self) -> int:
        """Tokens of one window on this rank."""
        return sum(micro_batch.batch.num_tokens for taken in self.in_memory for micro_batch in taken)

    def stage(self, first: int, *, commits: bool) -> None:
        """What the loop of a training does, with a checkpoint in the middle of the window where it `commits`."""
        seconds: list[float] = []
        for step in range(first, first + WINDOW_STEPS):
            began = time.monotonic()
            self._step(step)
            seconds.append(time.monotonic() - began)
            if commits and step == first + WINDOW_STEPS // 2:
                self.pauses.append(timed(partial(self.checkpoints.begin, step, {}), lambda: None)[0])
        if commits:
            middle = WINDOW_STEPS // 2 + 1
            self.after.append(statistics.mean(seconds[middle : middle + 3]) / statistics.mean(seconds[1:middle]))

    def memory(self, _first: int) -> None:
        """The same engine on micro-batches that lie in memory."""
        for micro_batches in self.in_memory:
            for micro_batch in micro_batches:
                self.engine.accumulate(micro_batch.batch, 1e-2)
            self.engine.apply(1e-5)

    def _step(self, step: int) -> None:
        meter = self.joint.meter
        micro_batches, totals = self.joint.load(step)
        optimizer_step(step, self.engine, micro_batches, totals, rank=self.rank, recipe=RECIPE, meter=meter)
        capacity_tokens = totals.num_rows * self.loader.row_tokens(step)
        meter.end_step(totals.num_tokens, capacity_tokens, micro_batches[0].imbalance)
        if (step + 1) % REPORT_EVERY_STEPS == 0:
            meter.read()


def commit_at_once(checkpoints: Checkpoints, step: int) -> None:
    """Take a checkpoint and wait until it is committed."""
    checkpoints.begin(step, {})
    checkpoints.in_flight.finish()


def timed(work: Callable[[], None], barrier: Callable[[], Any]) -> tuple[float, float]:
    """Seconds and CPU seconds of `work` between two barriers of all ranks."""
    barrier()
    began, began_cpu = time.monotonic(), time.process_time()
    work()
    barrier()
    return time.monotonic() - began, time.process_time() - began_cpu


def bare_seconds(rows: Rows, llm: BaseLlm, scratch: Path) -> tuple[float, int]:
    """One window in one process by torch alone: seconds and tokens."""
    import torch

    torch.set_num_threads(1)
    model = untrained_model(llm.copy_to(scratch / "llm"), RECIPE).requires_grad_(True)
    split = RowSplit.of(RECIPE.rows_per_step, GangLayout(micro_rows=2), 0, 1)
    loader = StepLoader((PackedRows.of(rows),), spans(10_000, ()), split, 2, 0, Weighting.SQUARE, model.config)
    batches = [loader.load(step)[0].batch for step in range(WINDOW_STEPS)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)

    def window() -> None:
        for batch in batches:
            sums = model(batch)
            (sums.loss / sums.weight).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()

    runs = [timed(window, lambda: None)[0] for _ in range(3)]
    return statistics.median(runs), sum(batch.num_tokens for batch in batches)


def ratios(figures: dict[str, list[tuple[float, float]]], upper: str, lower: str) -> tuple[float, float]:
    """Median over the windows of one side's time over another's, by wall and by CPU; the first window warms up."""
    pairs = list(zip(figures[upper][1:], figures[lower][1:], strict=True))
    wall, cpu = (statistics.median(one[place] / other[place] for one, other in pairs) for place in (0, 1))
    return wall, cpu


def main() -> None:
    """Run the ranks and bare torch, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zero-stage", type=int, default=2, choices=(0, 1, 2, 3))
    parser.add_argument("--num-ranks", type=int, default=2, choices=(1, 2))
    asked = parser.parse_args()
    multiprocessing.set_forkserver_preload(["stages.training.loop"])
    with tempfile.TemporaryDirectory() as folder:
        world, result = SmallWorld.at(Path(folder)), Path(folder) / "result.json"
        world.make(ROWS)
        rows, llm = world.open(ROWS), world.open(LLM)
        work = partial(measure_rank, rows=rows, llm=llm, result=result)
        world.run_gang(work, GangLayout(num_ranks=asked.num_ranks, zero_stage=asked.zero_stage))
        measured = json.loads(result.read_text())
        bare, bare_tokens = bare_seconds(rows, llm, Path(folder))
    rates = {}
    for name, windows in measured["figures"].items():
        seconds, cpu = (statistics.median(one[place] for one in windows[1:]) for place in (0, 1))
        rates[name] = measured["window_tokens"] / seconds
        print(f"{name:7s} {rates[name]:8,.0f} tokens/s  {cpu / WINDOW_STEPS * 1000:7.1f} CPU-s for 1,000 steps")
    print(f"ZeRO-{asked.zero_stage}, ranks: {asked.num_ranks}")
    for name in ("plain", "stage"):
        wall, cpu = ratios(measured["figures"], "memory", name)
        print(f"{name} runs at {wall:.3f} of the engine on rows in memory, by CPU time {cpu:.3f}")
    wall, cpu = ratios(measured["figures"], "stage", "plain")
    pause_ms, commit_ms = (1000 * statistics.median(measured[name][1:]) for name in ("pauses", "commits"))
    print(
        f"a checkpoint every {WINDOW_STEPS} steps makes them {wall:.3f} times as long, by CPU time {cpu:.3f}; "
        f"they wait {pause_ms:.0f} ms for it, {commit_ms:.0f} ms for one that is committed at once"
    )
    after = statistics.median(measured["after"][1:])
    print(f"the three steps after a checkpoint take {after:.3f} times as long as those before it")
    print(f"bare torch, one process: {bare_tokens / bare:8,.0f} tokens/s")


if __name__ == "__main__":
    main()
