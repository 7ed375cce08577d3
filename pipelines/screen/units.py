"""Numbers and times in the units of people."""

from __future__ import annotations

import time

from pipelines.screen.progress import clock_time


def counted(number: int, what: str) -> str:
    """A number of things.

    >>> counted(1, "attempt"), counted(1200, "row")
    ('1 attempt', '1,200 rows')
    """
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def moment(at_seconds: float) -> str:
    """A Unix time as a person of this machine reads it, to the minute: `2026-12-01 10:02`."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(at_seconds))


def times_in_words(began_seconds: float, ended_seconds: float | None) -> str:
    """When something began, and how long it took: `2026-12-01 10:02, 14:07 long`."""
    took = "" if ended_seconds is None else f", {clock_time(max(0.0, ended_seconds - began_seconds))} long"
    return f"{moment(began_seconds)}{took}"
