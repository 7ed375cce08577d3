"""A film as a stream: frames are appended to a cache, and a question is asked after every 16 of them.

`python -m benchmarks.stream`: 256 frames of 40 visual tokens, each with its line of time; 16 questions with answers of
8 tokens; 27M parameters with random weights, fp32, one thread. Beside it, at the same moments and alternating in the
same process: the whole film so far and the question through `generate`, as evaluation asks. Both give the same tokens,
which is checked.

For each stretch of 16 frames with its question: CPU seconds of both sides and their ratio. Then how both grow with the
film: a frame costs its own tokens, and each of them attends to all frames before, so that the last stretches cost more
than the first; counted FLOPs say how much more, for this model and for NEO 2B. Last, the memory of the cache.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch

from neo_model.cached_conversation import CachedConversation
from neo_model.config import NEO_2B, NeoConfig
from neo_model.costs.flops import Work, forward_flops
from neo_model.generate import Prompt, generate
from neo_model.model import NeoModel

Made = TypeVar("Made")

CONFIG = NeoConfig(
    hidden=384, num_heads=8, num_kv_heads=4, head_dim=48, ffn=1_152, vocab_size=8_192, num_prebuffer_layers=2,
    num_layers=8, image_start_id=8_190, image_context_id=8_189, image_end_id=8_191, patch_hidden=128,
)  # fmt: skip
GRID = (10, 16)
NUM_WORDS_OF_TIME, NUM_WORDS_OF_QUESTION, NUM_ANSWER_TOKENS = 8, 16, 8
LIKE_NEO_2B_BYTES = 245_760
"""Cache memory of one token of NEO 2B in bfloat16."""


def make_frames(number: int) -> list[Prompt]:
    """Frames as a stream has them: words of time, the frame, an end of line."""
    rng = np.random.default_rng(0)
    image = [CONFIG.image_start_id, *[CONFIG.image_context_id] * (GRID[0] * GRID[1] // 4), CONFIG.image_end_id]
    return [
        Prompt(
            token_ids=[*rng.integers(0, 8_000, NUM_WORDS_OF_TIME).tolist(), *image],
            patches=[rng.normal(size=(GRID[0] * GRID[1], 768)).astype(np.float32)],
            grids=[GRID],
        )
        for _ in range(number)
    ]


def joined(parts: list[Prompt]) -> Prompt:
    """The parts as one prompt."""
    return Prompt(
        token_ids=[token for part in parts for token in part.token_ids],
        patches=[image for part in parts for image in part.patches],
        grids=[grid for part in parts for grid in part.grids],
    )


def measured(work: Callable[[], Made]) -> tuple[Made, float]:
    """What `work` returns, and its CPU seconds."""
    start = time.process_time()
    made = work()
    return made, time.process_time() - start


def counted_flops(config: NeoConfig, image_tokens: int, num_stretches: int, num_frames: int) -> dict[str, list[float]]:
    """FLOPs of each stretch of `num_frames` frames with its question, of both sides."""
    frame_tokens = NUM_WORDS_OF_TIME + image_tokens + 2
    flops: dict[str, list[float]] = {"stream": [], "whole": []}
    for number in range(num_stretches):
        first = number * num_frames
        shown = [(frame * frame_tokens, frame_tokens) for frame in range(first + num_frames)]
        end = (first + num_frames) * frame_tokens
        words = [(end, NUM_WORDS_OF_QUESTION)]
        words += [(end + NUM_WORDS_OF_QUESTION + step, 1) for step in range(NUM_ANSWER_TOKENS - 1)]
        for side, pieces in (("stream", shown[first:]), ("whole", shown)):
            work = Work(
                num_tokens=sum(length for _, length in pieces + words),
                # All of a piece is taken to see all of it, which is true of images, and words are few.
                num_pairs=sum(length * (before + length) for before, length in pieces + words),
                num_patches=4 * image_tokens * len(pieces),
                num_supervised=NUM_ANSWER_TOKENS,
            )
            flops[side].append(forward_flops(config, work))
    return flops


def run(num_frames: int, frames_per_question: int) -> dict[str, Any]:
    """Both sides over the film, a stretch at a time; returns seconds, FLOPs and memory."""
    torch.manual_seed(0)
    model = NeoModel(CONFIG).requires_grad_(False)
    frames = make_frames(num_frames)
    question = Prompt(token_ids=np.random.default_rng(1).integers(0, 8_000, NUM_WORDS_OF_QUESTION).tolist())
    options: dict[str, Any] = {"max_new_tokens": NUM_ANSWER_TOKENS, "stop_ids": ()}
    conversation = CachedConversation(model)
    found: dict[str, Any] = {"stream": [], "whole": [], "same": 0}

    def stretch(new: list[Prompt]) -> list[int]:
        for frame in new:
            conversation.append(frame)
        return conversation.ask(question, **options)

    for start in range(0, num_frames, frames_per_question):
        new = frames[start : start + frames_per_question]
        answer, stream_seconds = measured(lambda new=new: stretch(new))  # type: ignore[misc]
        asked = joined([*frames[: start + len(new)], question])
        (expected,), whole_seconds = measured(lambda asked=asked: generate(model, [asked], **options))  # type: ignore[misc]
        found["stream"].append(stream_seconds)
        found["whole"].append(whole_seconds)
        found["same"] += answer == expected
        print(
            f"frames {start + 1:3d} to {start + len(new):3d}: stream {stream_seconds:6.2f} CPU-s, "
            f"whole film again {whole_seconds:7.2f} CPU-s, {whole_seconds / stream_seconds:5.1f} times"
        )
    return found | {"conversation": conversation}


def growth(costs: list[float]) -> float:
    """The median of the last quarter over the median of the first."""
    end = max(1, len(costs) // 4)
    return statistics.median(costs[-end:]) / statistics.median(costs[:end])


def straight_line(costs: list[float]) -> str:
    """The line that fits the costs best, by the number of stretches before, and how far the costs lie from it."""
    before = np.arange(len(costs))
    slope, start = np.polyfit(before, costs, 1)
    apart = np.abs(np.array(costs) / (start + slope * before) - 1).max()
    return f"{start:.2f} CPU-s, and {slope:.3f} for each stretch before; at most {apart:.0%} beside that line"


def main() -> None:
    """Run both sides, and print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--frames-per-question", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1, help="CPU time of more counts their waiting")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = run(arguments.frames, arguments.frames_per_question)
    stream, whole = found["stream"], found["whole"]
    print(
        f"all: stream {sum(stream):.1f} CPU-s, whole film again {sum(whole):.1f}: {sum(whole) / sum(stream):.1f} times"
    )
    print(f"a stretch of the stream: {straight_line(stream)}")
    print(f"the last quarter of stretches over the first: {growth(stream):.2f}, whole film again {growth(whole):.2f}")
    for name, config, image_tokens in (("this model", CONFIG, GRID[0] * GRID[1] // 4), ("NEO 2B", NEO_2B, 220)):
        counted = counted_flops(config, image_tokens, len(stream), arguments.frames_per_question)
        print(
            f"counted FLOPs of {name}, {image_tokens} tokens a frame: whole film again "
            f"{sum(counted['whole']) / sum(counted['stream']):.1f} times; last quarter over first "
            f"{growth(counted['stream']):.2f}, whole film again {growth(counted['whole']):.2f}"
        )
    conversation: CachedConversation = found["conversation"]
    length, size = conversation.num_tokens, conversation.bytes_per_token
    print(
        f"cache: {length:,} tokens of {size:,} bytes are {length * size / 1e6:.0f} MB, of "
        f"{conversation.num_bytes / 1e6:.0f} MB that it holds; "
        f"as many of NEO 2B in bfloat16 are {length * LIKE_NEO_2B_BYTES / 1e9:.1f} GB"
    )
    print(f"{found['same']} of {len(stream)} answers are the same tokens")
    if found["same"] < len(stream):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
