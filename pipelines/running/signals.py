"""Signal handlers for Ctrl-C and SIGTERM while a run is executed or watched.

The first signal requests a stop at the next commit. The run stops at once at a second Ctrl-C within 3 seconds, and at a
SIGTERM after a stop was requested by `neo cancel`, whose time to stop is then over.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SECOND_PRESS_SECONDS = 3.0
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class CtrlC:
    """Whether Ctrl-C was pressed."""

    pressed = False


@contextmanager
def deferred_ctrl_c() -> Iterator[CtrlC]:
    """Set `pressed` at the first Ctrl-C; the second raises KeyboardInterrupt.

    An exception at the first one could be raised inside a callback of the garbage collector, where it is lost.
    """
    ctrl_c = CtrlC()

    def remember(number: int, frame: FrameType | None) -> None:
        if ctrl_c.pressed:
            signal.default_int_handler(number, frame)
        ctrl_c.pressed = True

    with _handled_by(remember, signal.SIGINT):
        yield ctrl_c


@contextmanager
def stop_on_signals(
    stop: threading.Event, say: Callable[[str], None], is_stop_requested: Callable[[], bool]
) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`; `say` prints a line. Raises KeyboardInterrupt to stop at once.

    `is_stop_requested` says whether `neo cancel` has asked for a stop, even if nobody has noticed it yet: with a short
    grace period its SIGTERM arrives before the next look at the store.
    """
    last_seconds = float("-inf")

    def request_stop(number: int, _frame: FrameType | None) -> None:
        nonlocal last_seconds
        now_seconds = time.monotonic()
        if number == signal.SIGINT and now_seconds - last_seconds < SECOND_PRESS_SECONDS:
            raise KeyboardInterrupt
        is_first = last_seconds == float("-inf")
        if number == signal.SIGTERM and is_first and (stop.is_set() or is_stop_requested()):
            raise KeyboardInterrupt
        last_seconds = now_seconds
        stop.set()
        hint = f"; Ctrl-C again within {SECOND_PRESS_SECONDS:.0f} s stops at once" if number == signal.SIGINT else ""
        say(f"Stopping at the next commit{hint}. Nothing that is committed is lost.")

    with _handled_by(request_stop, *SIGNALS):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Let `handler` handle these signals inside the block. Python delivers signals to the main thread alone: in other
    threads nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
