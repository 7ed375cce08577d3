"""Signals: the first asks the run to stop at its next commit; a second Ctrl-C soon after stops it at once, and so does
SIGTERM once somebody else has asked, since whoever sends it then has waited long enough."""

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
    """Whether it was pressed."""

    pressed = False


@contextmanager
def ctrl_c_noted() -> Iterator[CtrlC]:
    """Note the first Ctrl-C: an exception may be raised where nobody hears it, in a callback of the garbage collector
    say. The second raises KeyboardInterrupt."""
    noted = CtrlC()

    def note(number: int, frame: FrameType | None) -> None:
        if noted.pressed:
            signal.default_int_handler(number, frame)
        noted.pressed = True

    with _handled_by(note, signal.SIGINT):
        yield noted


@contextmanager
def stop_on_signals(stop: threading.Event, say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM set `stop`; `say` tells the person. Raises KeyboardInterrupt where it is to stop at once."""
    last_seconds = float("-inf")

    def ask(number: int, _frame: FrameType | None) -> None:
        nonlocal last_seconds
        now_seconds = time.monotonic()
        if number == signal.SIGINT and now_seconds - last_seconds < SECOND_PRESS_SECONDS:
            raise KeyboardInterrupt
        if number == signal.SIGTERM and stop.is_set() and last_seconds == float("-inf"):
            raise KeyboardInterrupt
        last_seconds = now_seconds
        stop.set()
        hint = f"; Ctrl-C again within {SECOND_PRESS_SECONDS:.0f} s stops at once" if number == signal.SIGINT else ""
        say(f"Stopping at the next commit{hint}. Nothing that is committed is lost.")

    with _handled_by(ask, *SIGNALS):
        yield


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Let `handler` take these signals while inside. Only the main thread is told of any: in others nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
