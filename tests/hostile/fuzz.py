"""Hostile inputs drawn from a seed, for as long as is asked: pictures, answers of servers, model folders, texts.

    python -m tests.hostile.fuzz --minutes 10 --seed 7

The seed is printed; the same seed draws the same inputs in the same order. Each fuzzer has numbered mutations: a number
gives the same bytes on every machine. A round of each fuzzer runs in turn, in a process of its own, until the time is
over. Where a round fails, its command is printed, and the numbers belong into `found.json`, which `make test` tries.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
ROUNDS: Final = {
    "pictures": ("tests.stages.download.test_mutated_pictures:check_mutations", 500),
    "answers": ("tests.stages.download.engines.test_mutated_answers:check", 300),
    "tokenizers": ("tests.stages.model_folders.test_mutated_tokenizers:check", 300),
    "configs": ("tests.stages.model_folders.test_mutated_configs:check", 500),
    "texts": ("tests.hostile.test_mutated_texts:check", 300),
    "weights": ("tests.stages.model_folders.test_mutated_weights:check", 500),
}
"""Name of a fuzzer to the function that tries the mutations of a range of numbers, and how many make a round."""
NUM_NUMBERS: Final = 10**9
"""Numbers are drawn below it."""


def command(fuzzer: str, first: int, stop: int) -> list[str]:
    """What tries the mutations `first` to `stop - 1` of a fuzzer in a process of its own."""
    module, function = ROUNDS[fuzzer][0].split(":")
    return [sys.executable, "-c", f"from {module} import {function}; {function}({first}, {stop})"]


def fuzz(seed: int, seconds: float) -> list[str]:
    """Try rounds until the time is over; returns the commands of those that failed."""
    drawn, until, failed = random.Random(seed), time.monotonic() + seconds, []
    num_rounds = 0
    while time.monotonic() < until:
        for fuzzer, (_, num_each) in ROUNDS.items():
            first = drawn.randrange(NUM_NUMBERS)
            words = command(fuzzer, first, first + num_each)
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
            num_rounds += 1
            print(f"{fuzzer} {first} to {first + num_each - 1}: {'FAILED' if done.returncode else 'well'}", flush=True)
            if done.returncode:
                print(done.stdout[-2000:] + done.stderr[-2000:])
                failed.append(f"python -c {words[-1]!r}")
    print(f"{num_rounds} rounds, {len(failed)} failed")
    return failed


def main() -> None:
    """Exit code 1 where a round failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.minutes:g} minutes")
    if failed := fuzz(arguments.seed, arguments.minutes * 60):
        print("\n".join(failed))
        sys.exit(1)


if __name__ == "__main__":
    main()
