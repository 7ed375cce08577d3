"""What the progress of many parts asks of the board: one message for each report, against one for a machine and second.

`python -m benchmarks.board [--workers 32] [--seconds 10]`: that many simulated workers on one machine report progress
twice a second, as parts do. First each report is posted for itself, then the machine's are gathered
(`cluster/progress.py`), against the same board in the same session. CPU seconds are those of the board's process and of
the process that reports, so a busy machine is fair to both sides.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ray

from cluster.board import open_board
from cluster.progress import MachineProgress
from cluster.session import ray_session
from cluster.site import load_site
from stages.contract import PartProgress

if TYPE_CHECKING:
    from ray.actor import ActorHandle

SECONDS_BETWEEN_REPORTS = 0.5
"""As in `stages/commit/parts.py`."""
FLEETS = (1, 64, 200)
"""Numbers of machines for which the rates are printed."""


@dataclass(frozen=True)
class Cost:
    """What one way of reporting asked of the board."""

    num_messages: int
    num_events: int
    board_seconds: float
    """CPU seconds of the board's process."""
    reporting_seconds: float
    """CPU seconds of the process that reports."""
    seconds: float

    def lines(self, name: str) -> str:
        """A line of figures, and one of what fleets would ask."""
        rate = self.num_messages / self.seconds
        board_us = 1e6 * self.board_seconds / max(1, self.num_messages)
        share = 100 * self.board_seconds / self.seconds
        fleets = ", ".join(f"{size} machines {rate * size:,.0f}/s" for size in FLEETS)
        return (
            f"{name:>9}: {rate:7.1f} messages/s, {self.num_events / self.seconds:6.1f} events/s, board "
            f"{board_us:5.0f} us a message and {share:4.1f} % of a CPU, reporting "
            f"{100 * self.reporting_seconds / self.seconds:4.1f} %\n{'':>11}{fleets}"
        )


def main(num_workers: int, seconds: float) -> None:
    with ray_session(load_site("embedded")), open_board() as board, tempfile.TemporaryDirectory() as folder:
        messages = [0]

        def post_one(event: PartProgress) -> None:
            messages[0] += 1
            board.post.options(num_returns=0).remote(event)

        def post_all(noted: Sequence[PartProgress]) -> None:
            messages[0] += 1
            board.post_all.options(num_returns=0).remote(noted)

        each = [post_one] * num_workers
        gathered = [MachineProgress(Path(folder), str(number), post_all).note for number in range(num_workers)]
        print(
            f"{num_workers} workers on one machine, a report each {SECONDS_BETWEEN_REPORTS} s, for {seconds:g} s each"
        )
        before = _measured(board, each, seconds, messages)
        after = _measured(board, gathered, seconds, messages)
    print(before.lines("each"))
    print(after.lines("gathered"))
    print(f"messages: 1 in {before.num_messages / max(1, after.num_messages):.0f}; CPU of the board: ", end="")
    print(f"{after.board_seconds / before.board_seconds:.2f} of that before, counted over the same time")


def _measured(
    board: ActorHandle, workers: Sequence[Callable[[PartProgress], None]], seconds: float, messages: list[int]
) -> Cost:
    """Let all workers report for a while, evenly spread over time."""
    ray.get(board.collect.remote())
    messages[0] = 0
    cpu_seconds, board_seconds = time.process_time(), _cpu_seconds(board)
    began_seconds = time.monotonic()
    pause_seconds = SECONDS_BETWEEN_REPORTS / len(workers)
    number = 0
    while (now_seconds := time.monotonic()) < began_seconds + seconds:
        part, num_done = number % len(workers), number // len(workers)
        workers[part](PartProgress(step="pairs", phase="download", part=f"{part:05d}", num_done=num_done))
        number += 1
        time.sleep(max(0.0, began_seconds + number * pause_seconds - now_seconds))
    num_events = len(ray.get(board.collect.remote()))
    took_seconds = time.monotonic() - began_seconds
    reporting_seconds = time.process_time() - cpu_seconds
    return Cost(messages[0], num_events, _cpu_seconds(board) - board_seconds, reporting_seconds, took_seconds)


def _cpu_seconds(board: ActorHandle) -> float:
    """CPU seconds that the board's process has used, threads of Ray included."""
    times: os.times_result = ray.get(board.__ray_call__.remote(lambda _: os.times()))
    return times.user + times.system


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10.0)
    asked = parser.parse_args()
    main(asked.workers, asked.seconds)
