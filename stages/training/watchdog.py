"""Watchdog of a rank that hangs: by the time since its last step, it keeps the stacks and ends the process.

Owns the thread that watches one rank from inside. A collective that one rank never enters raises nothing anywhere, so
only a timeout can detect it. Each rank keeps the stacks of all its threads, then ends itself, which backends treat as
any other death: a new worker group resumes from the last committed checkpoint.
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import threading
import time
from types import TracebackType
from typing import Final

from stages.contract import Rank
from stages.contract.ranks import WATCHDOG_LATENESS

EXIT_CODE: Final = 71
"""Exit code of a rank that the watchdog ended; no signal and no Python error has it."""
LOOKS_PER_SILENCE: Final = round(1 / (WATCHDOG_LATENESS - 1))
"""Polls of the clock in the longest allowed silence: 20, so a hang is noticed at most 5% late."""


class Watchdog:
    """Watches while it is entered; call `alive` once a step, and before the last commit."""

    def __init__(self, rank: Rank) -> None:
        self._rank = rank
        self._max_silent_seconds = rank.layout.max_silent_seconds
        self._last_seconds = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def alive(self) -> None:
        """Restart the timeout: a step or a commit begins."""
        self._last_seconds = time.monotonic()

    def _watch(self) -> None:
        while not self._over.wait(self._max_silent_seconds / LOOKS_PER_SILENCE):
            silent_seconds = time.monotonic() - self._last_seconds
            if silent_seconds > self._max_silent_seconds:
                self._end(silent_seconds)

    def _end(self, silent_seconds: float) -> None:
        rank = self._rank
        headline = f"rank {rank.rank} of {rank.world_size} took no step for {silent_seconds:.0f} s"
        try:
            rank.keep_log(f"rank{rank.rank}", f"{headline}; its threads were at:\n\n{self._stacks()}")
        finally:
            for (
                child
            ) in multiprocessing.active_children():  # a stopped process (SIGSTOP) does not notice that its rank is gone
                child.kill()
            os._exit(EXIT_CODE)

    def _stacks(self) -> str:
        """The stacks of all threads, innermost call first."""
        path = self._rank.scratch / "stacks.txt"
        with path.open("w") as file:
            faulthandler.dump_traceback(file)
        return path.read_text(encoding="utf-8", errors="replace")
