"""Requests and tokens a second of `neo serve`, beside the same questions answered one after the other without batching.

`python -m benchmarks.serve`: 8M parameters with random weights, fp32, on CPU; 32 questions about a photograph of 384 x
256 pixels (96 visual tokens), answers of 32 tokens. 1, 4 and 16 clients on loopback send them by plain HTTP, each its
next question once it has the answer to the last; the server has a batch of 16. Beside it, in the same process and in
turns, the same bodies are parsed, their pictures opened, and the prompts given to `generate` one by one. Answers are
compared: they should be the same strings, but for tokens that are equal to the last bit.

Prints medians over the rounds, by the clock and in CPU seconds of this process, and the ratio of the latter to one
after the other: a busy machine distorts clocks. Clients are threads of the process, so their work counts against the
server.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import torch
from PIL import Image
from skimage import data

from neo_model.config import NeoConfig
from neo_model.generate import generate
from neo_model.inputs.conversation import add_special_tokens, special_ids
from neo_model.model import NeoModel
from pipelines.serving.chat_request import read_request
from pipelines.serving.prompts import prepare
from stages.toy_world.tokenizer import train_tokenizer
from tests.neo_model.tiny import lively_model
from tests.pipelines.serving.served_models import ServedHere, served_here

CLIENTS = (1, 4, 16)
NUM_NEW_TOKENS = 32


def make_model() -> tuple[NeoModel, Any]:
    """A model of 8M parameters and its tokenizer."""
    tokenizer = train_tokenizer(["what colour is the ball? it is red", "a picture of a house"] * 20, 60)
    add_special_tokens(tokenizer)
    ids = special_ids(tokenizer)
    config = NeoConfig(
        hidden=256, num_heads=8, num_kv_heads=4, head_dim=32, ffn=768, vocab_size=tokenizer.get_vocab_size(),
        num_prebuffer_layers=2, num_layers=6, patch_hidden=128, image_start_id=ids.image_start,
        image_context_id=ids.image_context, image_end_id=ids.image_end, min_pixels_px=4_096, max_pixels_px=1_000_000,
    )  # fmt: skip
    return lively_model(config).eval(), tokenizer


def make_messages(number: int) -> list[list[dict[str, Any]]]:
    """Questions about one photograph, each in other words."""
    written, photograph = io.BytesIO(), cast("Any", data.coffee)
    Image.fromarray(photograph()).resize((384, 256)).save(written, "JPEG")
    uri = f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"
    picture = {"type": "image_url", "image_url": {"url": uri}}
    return [
        [{"role": "user", "content": [picture, {"type": "text", "text": f"what is {'it ' * (one % 7)}{one}?"}]}]
        for one in range(number)
    ]


def by_clients(served: ServedHere, asked: Sequence[Any], num_clients: int) -> list[str]:
    """The answers, in the order of the questions."""
    with ThreadPoolExecutor(num_clients) as clients:
        return list(clients.map(lambda one: served.content(one, max_tokens=NUM_NEW_TOKENS), asked))


def one_by_one(served: ServedHere, model: NeoModel, tokenizer: Any, asked: Sequence[Any]) -> list[str]:
    """The answers without server and batch."""
    ids = special_ids(tokenizer)
    answers = []
    for one in asked:
        body = json.dumps({"model": "tiny", "messages": one, "max_tokens": NUM_NEW_TOKENS}).encode()
        limits = served.session.served.limits
        ready = prepare(read_request(body), tokenizer, model.config, limits)
        stop_ids = [ids.turn_end, ids.end_of_text]
        (tokens,) = generate(model, [ready.prompt], max_new_tokens=ready.max_new_tokens, stop_ids=stop_ids)
        answers.append(tokenizer.decode(tokens))
    return answers


def main() -> None:
    """Measure all sides in turns, and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, tokenizer = make_model()
    asked = make_messages(options.questions)
    with served_here(model, tokenizer, max_sequences=max(CLIENTS), max_requests=2 * max(CLIENTS)) as served:
        sides: dict[str, Callable[[], list[str]]] = {
            "one after the other": lambda: one_by_one(served, model, tokenizer, asked),
            **{f"{one} clients": lambda one=one: by_clients(served, asked, one) for one in CLIENTS},  # type: ignore[misc]
        }
        seconds, answers = measure(sides, options.rounds)
    told = answers["one after the other"]
    num_tokens = sum(len(tokenizer.encode(answer).ids) for answer in told)
    plain = statistics.median(cpu for _, cpu in seconds["one after the other"])
    print(f"{options.questions} questions, {num_tokens:,} tokens of answers, {options.threads} threads")
    print(f"{'':<20} {'requests/s':>10} {'tokens/s':>9} {'CPU s':>7} {'x':>5} {'same answers':>13}")
    for name, taken in seconds.items():
        clock, cpu = (statistics.median(one) for one in zip(*taken, strict=True))
        same = sum(one.strip() == other.strip() for one, other in zip(answers[name], told, strict=True))
        rates = f"{options.questions / clock:>10.1f} {num_tokens / clock:>9.0f} {cpu:>7.1f} {plain / cpu:>5.2f}"
        print(f"{name:<20} {rates} {same:>7} of {len(told)}")


def measure(
    sides: dict[str, Callable[[], list[str]]], rounds: int
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[str]]]:
    """Seconds of each side in each round by the clock and of CPU, taken in turns, and its answers."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    answers: dict[str, list[str]] = {}
    for _ in range(rounds):
        for name, answered in sides.items():
            clock, cpu = time.perf_counter(), time.process_time()
            answers[name] = answered()
            seconds[name].append((time.perf_counter() - clock, time.process_time() - cpu))
    return seconds, answers


if __name__ == "__main__":
    main()
