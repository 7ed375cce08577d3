"""The mixed mask of a long row for FlexAttention: from intervals, and by `create_block_mask`.

`python -m benchmarks.block_mask`: a row of 16,384 tokens, 16 documents with two images each. Both sides alternate in
processes of their own; the median time and the peak memory above the idle process are printed, and the blocks are
compared.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from functools import partial

import numpy as np
import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from neo_model.attention.flex import block_mask
from neo_model.inputs.batch import Batch, Document, pack

NUM_DOCUMENTS, GRID, CONTEXT = 16, (40, 40), 2


def make_row(num_tokens: int) -> Batch:
    """Documents of equal length: words, an image of 400 tokens, words, another, words."""
    image = [0, *[CONTEXT] * (GRID[0] * GRID[1] // 4), 1]
    num_words = num_tokens // NUM_DOCUMENTS - 2 * len(image)
    if num_words < 3:
        raise SystemExit(f"--tokens {num_tokens} leaves no words: at least {NUM_DOCUMENTS * (2 * len(image) + 3)}")
    ids = [3] * (num_words // 3) + image + [4] * (num_words // 3) + image
    ids += [5] * (num_tokens // NUM_DOCUMENTS - len(ids))
    document = Document(token_ids=ids, supervised=[False] * len(ids), grids=[GRID] * 2)
    patches = [np.zeros((GRID[0] * GRID[1], 768), np.uint8)] * (2 * NUM_DOCUMENTS)
    return pack([document] * NUM_DOCUMENTS, patches, image_context_id=CONTEXT)


def dense_way(batch: Batch) -> BlockMask:
    """As the released kit: a mask function over documents and images, evaluated at every pair."""
    index = torch.arange(batch.num_tokens)
    document = torch.bucketize(index, batch.documents[1:], right=True)
    image = torch.full((batch.num_tokens,), -1)
    for number, (start, end) in enumerate(batch.image_spans.tolist()):
        image[start:end] = number

    def visible(_batch: torch.Tensor, _head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        same_image = (image[query] == image[key]) & (image[query] >= 0)
        return (document[query] == document[key]) & ((key <= query) | same_image)

    return create_block_mask(visible, None, None, batch.num_tokens, batch.num_tokens, device="cpu", _compile=False)


def measure(side: str, num_tokens: int) -> dict[str, float]:
    """Of one side, in this process: seconds to build the mask, extra memory in bytes, and numbers of blocks."""
    batch = make_row(num_tokens)
    build = partial(block_mask, batch, torch.device("cpu")) if side == "ours" else partial(dense_way, batch)
    idle_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(20 if side == "ours" else 2):
        start = time.perf_counter()
        mask = build()
        seconds.append(time.perf_counter() - start)
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": statistics.median(seconds),
        "extra_bytes": max(peak_kib - idle_kib, 1) * 1024.0,
        "partial_blocks": float(mask.kv_num_blocks.sum()),
        "full_blocks": float(mask.full_kv_num_blocks.sum()) if mask.full_kv_num_blocks is not None else 0.0,
    }


def main() -> None:
    """Run both sides in alternating processes, print medians, and compare the blocks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=16_384)
    parser.add_argument("--runs", type=int, default=5, help="processes for each side")
    parser.add_argument("--side", choices=["ours", "dense"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.side:
        print(json.dumps(measure(arguments.side, arguments.tokens)))
        return
    measured: dict[str, list[dict[str, float]]] = {"ours": [], "dense": []}
    for _ in range(arguments.runs):
        for side, runs in measured.items():
            command = [sys.executable, "-m", "benchmarks.block_mask", "--side", side, "--tokens", str(arguments.tokens)]
            runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    seconds = {side: statistics.median(run["seconds"] for run in runs) for side, runs in measured.items()}
    extra = {side: statistics.median(run["extra_bytes"] for run in runs) for side, runs in measured.items()}
    for side, runs in measured.items():
        print(
            f"{side:5s} {seconds[side] * 1e3:9.2f} ms  {extra[side] / 1e6:8.1f} MB extra  "
            f"{runs[0]['partial_blocks']:.0f} partial and {runs[0]['full_blocks']:.0f} full blocks"
        )
    batch = make_row(arguments.tokens)
    equal = torch.equal(block_mask(batch, torch.device("cpu")).to_dense(), dense_way(batch).to_dense())
    ratios = f"{seconds['dense'] / seconds['ours']:.0f} times faster, {extra['dense'] / extra['ours']:.0f} times leaner"
    print(f"{ratios}, blocks {'identical' if equal else 'DIFFERENT'}")
    if not equal:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
