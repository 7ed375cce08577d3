"""How even the ranks of a training are on NEO-ov's mixture, where one row holds a long video and another short texts.

    python -m benchmarks.balance --num-samples 1000000

Lengths are drawn as in the mixture of texts, images, several images and videos at 2:4:1:1 (in samples): logarithmic
normal, videos of 4 to 128 frames of at most 220 tokens. They are packed by the planner that `pack_rows` uses, a row
costs what NEO-2.2B computes for it, and the rows of each step are dealt to the ranks as training deals them. Printed is
the imbalance of a step, how much longer its slowest rank takes than the mean: the median and the 99th percentile over
steps. The baseline is the order without `rows_together`, in the same run.
"""

from __future__ import annotations

import argparse
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neo_model.config import NEO_2B, NeoConfig
from neo_model.costs.flops import Work, forward_flops
from stages.contract import GangLayout
from stages.packing.alike_rows import alike_together, document_cost
from stages.packing.bin_packing import RowPlan, plan_rows
from stages.training.loading.split import RowSplit
from stages.training.loading.step_rows import RowOrder

SHARES = {"text": 2, "image": 4, "images": 1, "video": 1}
FRAME_TOKENS = 220
"""A frame of 352 x 640 px."""
LINE_TOKENS = 12
"""Tokens of the line of a frame, its time and its marks."""


class Samples(NamedTuple):
    """What decides the cost of each sample: a column [num_samples] each."""

    tokens: NDArray[np.int64]
    pairs: NDArray[np.int64]
    patches: NDArray[np.int64]
    supervised: NDArray[np.int64]


def samples_of(num_samples: int, row_tokens: int) -> Samples:
    """Samples of the mixture. Of a text all words are supervised, of all else half of the words."""
    rng = np.random.default_rng(0)
    shares = np.array(list(SHARES.values()), float)
    kinds = rng.choice(len(SHARES), num_samples, p=shares / shares.sum())
    columns = Samples(*(np.empty(num_samples, np.int64) for _ in Samples._fields))
    for number, kind in enumerate(kinds):
        images = _image_tokens(rng, list(SHARES)[kind], row_tokens)
        words = int(np.clip(rng.lognormal(np.log(500 if kind == 0 else 200), 0.8), 20, 4000 if kind == 0 else 500))
        length = min(row_tokens, words + sum(images))
        columns.tokens[number] = length
        columns.pairs[number] = length * (length + 1) // 2 + sum(one * (one - 1) // 2 for one in images)
        columns.patches[number] = 4 * sum(images)
        columns.supervised[number] = words if kind == 0 else words // 2
    return columns


def _image_tokens(rng: np.random.Generator, kind: str, row_tokens: int) -> list[int]:
    """Tokens of each picture or frame of a sample."""
    if kind == "text":
        return []
    if kind == "video":
        num_frames = int(np.clip(rng.lognormal(np.log(40), 0.8), 4, 128))
        return [min(FRAME_TOKENS, (row_tokens - 1000) // num_frames - LINE_TOKENS) + LINE_TOKENS] * num_frames
    num_images = 1 if kind == "image" else int(rng.integers(2, 6))
    largest = (row_tokens - 1000) // num_images
    return [int(np.clip(rng.lognormal(np.log(700), 0.8), 64, min(largest, 16_384))) for _ in range(num_images)]


def document_costs(samples: Samples) -> NDArray[np.float32]:
    """The cost of each sample as packing knows it."""
    columns = zip(*(column.tolist() for column in samples), strict=True)
    costs = (
        document_cost(num_tokens=tokens, num_pairs=pairs, num_patches=patches, num_supervised=supervised)
        for tokens, pairs, patches, supervised in columns
    )
    return np.fromiter(costs, np.float32, len(samples.tokens))


def costs_of(plan: RowPlan, samples: Samples, config: NeoConfig) -> NDArray[Any]:
    """FLOPs of the forward pass over each row: layers, attention, patches and head, as training deals rows by."""
    summed = [np.add.reduceat(column[plan.documents], plan.row_starts[:-1]).tolist() for column in samples]
    works = (
        Work(num_tokens=tokens, num_pairs=pairs, num_patches=patches, num_supervised=supervised)
        for tokens, pairs, patches, supervised in zip(*summed, strict=True)
    )
    return np.array([forward_flops(config, work) for work in works])


def imbalances(costs: NDArray[Any], split: RowSplit, rows_per_step: int, rows_together: int) -> NDArray[Any]:
    """The imbalance of each step of one epoch."""
    order = RowOrder(num_rows=len(costs), rows_per_step=rows_per_step, seed=0, rows_together=rows_together)
    steps = range(len(costs) // rows_per_step)
    return np.array([split.imbalance(costs[order.rows_of_step(step)].tolist()) for step in steps])


def main() -> None:
    """Print a line for each length of rows and layout."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-samples", type=int, default=1_000_000)
    num_samples = parser.parse_args().num_samples
    layouts: list[tuple[int, int, Literal[1, 2]]] = [(8, 1, 2), (128, 1, 2), (8, 8, 1), (128, 8, 1), (128, 8, 2)]
    print("row tokens  ranks  rows a rank  ZeRO   shuffled: median  p99    rows_together: median  p99    ratio")
    for row_tokens in (16_384, 36_864):
        samples = samples_of(num_samples, row_tokens)
        lengths = samples.tokens.astype(np.uint32)
        plan = plan_rows(lengths, row_tokens=row_tokens, key="balance")
        shuffled = costs_of(plan, samples, NEO_2B)
        for ranks, rows_each, zero_stage in layouts:
            rows_per_step = ranks * rows_each
            if len(shuffled) < 8 * rows_per_step:
                continue
            together = alike_together(plan, document_costs(samples), ranks, "balance")
            grouped = costs_of(together, samples, NEO_2B)
            layout = GangLayout(num_ranks=ranks, zero_stage=zero_stage)
            split = RowSplit.of(rows_per_step, layout, 0, ranks)
            before, after = (
                imbalances(shuffled, split, rows_per_step, 1),
                imbalances(grouped, split, rows_per_step, ranks),
            )
            told = [value for one in (before, after) for value in (np.median(one), np.quantile(one, 0.99))]
            ratio = (1 + told[0]) / (1 + told[2])
            print(
                f"{row_tokens:10,}  {ranks:5}  {rows_each:11}  {zero_stage:4}   {told[0]:16.4f}  {told[1]:.4f} "
                f"{told[2]:20.4f}  {told[3]:.4f}  {ratio:6.2f}"
            )


if __name__ == "__main__":
    main()
