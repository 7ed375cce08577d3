"""What a step costs that learns more than the next token: pairs compared, or text masked, beside the same step without.

`python -m benchmarks.objectives [--num-steps 12]`: one gloo rank on one core, DeepSpeed, a NEO of 1.5M parameters in
fp32, eight rows a step, two thirds of their documents pairs of a picture of 160 x 192 px and its caption. Of each side
the same rows are read beforehand, and forward, backward and update are timed; the sides alternate in one process on
one engine. Once with all rows in one micro-batch, where a step computes nothing twice, and once with one row in each,
where pooled states cost a forward pass more.

Printed: CPU seconds of a step beside the step of next token alone, medians, and how many tokens a step has beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

from stages.artifacts.kinds import BaseLlm, Rows
from stages.contract import GangLayout, Rank
from stages.tune_end_to_end import TuneRecipe
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

LLM = make_llm.bind("llm", LlmRecipe(hidden=128, num_layers=3, num_heads=4, head_dim=32, ffn=384))
ROWS = make_rows.bind(
    "rows",
    RowsRecipe(
        num_rows=64, max_row_tokens=600, num_documents=(10, 12), num_words=(14, 26), picture_px=(160, 192),
        max_pixels_px=65_536,
    ),
    LLM,
)  # fmt: skip
NEXT_TOKEN: Final = "next token"
OPTIONS: Final[dict[str, dict[str, Any]]] = {
    NEXT_TOKEN: {},
    "pairs compared": {"contrastive_weight": 0.1},
    "text masked": {"masked_share": 0.15},
}
MASK_ID: Final = 0
"""A token that stands for masked ones; which one does not matter to the time."""


def recipe_of(options: dict[str, Any]) -> TuneRecipe:
    """The recipe of one side."""
    return TuneRecipe(num_steps=10_000, rows_per_step=8, num_warmup_steps=0, precision="fp32", **options)


def measure_rank(rank: Rank, rows: Rows, llm: BaseLlm, result: Path, num_steps: int) -> None:
    """Alternate the sides; writes the CPU seconds and the tokens of their steps to `result`, as JSON."""
    from stages.train_prebuffer import TrainPrebufferRecipe, untrained_model
    from stages.training.engine.engine import Engine
    from stages.training.loading.micro_batches import StepLoader
    from stages.training.metrics import Meter
    from stages.training.objectives.masking import Masking
    from stages.training.optimizer_step import optimizer_step

    buffer = TrainPrebufferRecipe(
        num_steps=1, rows_per_step=1, num_prebuffer_layers=2, patch_hidden=256, precision="fp32"
    )
    model = untrained_model(llm.copy_to(rank.scratch / "llm"), buffer).requires_grad_(True)
    recipes = {side: recipe_of(options) for side, options in OPTIONS.items()}
    steps = {}
    for side, recipe in recipes.items():
        share, documents = recipe.masked_share, recipe.masked_documents
        masking = Masking(MASK_ID, share, documents, recipe.seed) if share else None
        loader = StepLoader.of(recipe, [rows], rank, model.config, masking=masking)
        steps[side] = [loader.load(step) for step in range(num_steps)]
    engine = Engine(model, recipes[NEXT_TOKEN], rank.layout, len(steps[NEXT_TOKEN][0]), rank.device)
    meter = Meter()
    seconds: dict[str, list[float]] = {side: [] for side in OPTIONS}
    for step in range(num_steps):
        for side, recipe in recipes.items():
            mine = steps[side][step]
            totals: Any = SimpleNamespace(weight=sum(one.batch.weights.sum().item() for one in mine))
            began = time.process_time()
            optimizer_step(step, engine, mine, totals, rank=rank, recipe=recipe, meter=meter)
            seconds[side].append(time.process_time() - began)
    tokens = {side: sum(one.batch.num_tokens for mine in of_side for one in mine) for side, of_side in steps.items()}
    num_pairs = meter.read()["pairs_per_step"]
    result.write_text(json.dumps({"seconds": seconds, "tokens": tokens, "pairs": num_pairs}))


def main() -> None:
    """Run the rank with both layouts, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--num-steps", type=int, default=12)
    asked = parser.parse_args()
    multiprocessing.set_forkserver_preload(["stages.training.loop"])
    for micro_rows in (8, 1):
        with tempfile.TemporaryDirectory() as folder:
            world, result = SmallWorld.at(Path(folder)), Path(folder) / "result.json"
            world.make(ROWS)
            work = partial(
                measure_rank, rows=world.open(ROWS), llm=world.open(LLM), result=result, num_steps=asked.num_steps
            )
            world.run_gang(work, GangLayout(micro_rows=micro_rows))
            measured = json.loads(result.read_text())
        print(f"{8 // micro_rows} micro-batches a step, {measured['pairs']:.0f} pairs", flush=True)
        plain = measured["seconds"][NEXT_TOKEN]
        for side, seconds in measured["seconds"].items():
            ratio = statistics.median(one / other for one, other in zip(seconds[1:], plain[1:], strict=True))
            tokens = measured["tokens"][side] / measured["tokens"][NEXT_TOKEN]
            milliseconds = 1000 * statistics.median(seconds[1:])
            print(f"  {side:14s} {milliseconds:6.0f} CPU ms, {ratio:.2f} times; tokens {tokens:.2f}")


if __name__ == "__main__":
    main()
