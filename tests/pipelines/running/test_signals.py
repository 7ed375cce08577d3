"""Signals while a run is executed: what the first and the second one do, and what `neo cancel` changes."""

import os
import signal
import threading
from collections.abc import Callable

import pytest

from pipelines.running.signals import stop_on_signals


def never() -> bool:
    return False


def send(
    *numbers: signal.Signals, stop: threading.Event | None = None, is_requested: Callable[[], bool] = never
) -> list[str]:
    """Send signals to this process while they are handled; returns the lines that were said."""
    said: list[str] = []
    with stop_on_signals(stop or threading.Event(), said.append, is_requested):
        for number in numbers:
            os.kill(os.getpid(), number)
    return said


def test_the_first_signal_asks_for_a_stop_at_the_next_commit() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        stop = threading.Event()
        (line,) = send(number, stop=stop)
        assert stop.is_set() and line.startswith("Stopping at the next commit")


def test_a_second_ctrl_c_stops_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT, signal.SIGINT)


def test_a_sigterm_after_a_noticed_cancel_stops_at_once() -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGTERM, stop=stop)


def test_a_sigterm_stops_at_once_if_cancel_asked_but_nobody_had_noticed_yet() -> None:
    """`neo cancel --grace 1` sends it before the driver has looked at the store again."""
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGTERM, is_requested=lambda: True)


def test_ctrl_c_alone_is_not_taken_for_the_end_of_a_cancels_patience() -> None:
    (line,) = send(signal.SIGINT, is_requested=lambda: True)
    assert "Ctrl-C again" in line
