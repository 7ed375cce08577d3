"""Heartbeats: a counter that a living process raises in the store, and an observer that decides who is dead.

A process of this machine that has ended is dead. Of a process elsewhere only its counter is known: it counts as lost
once the counter stood still long enough on the observer's own clock. Clocks of two machines are never compared, and
time in which the observer did not look does not count. A wrong verdict does no harm: a process that is taken for dead
and lives loses its next exclusive create, and with it work, but nothing that was committed.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from stages.store.store import Store

logger = logging.getLogger(__name__)

LOST_AFTER_SECONDS = 60.0
"""A heartbeat that stands still for so long counts as lost: many beats, and longer than a store's own retries."""
LOST_AFTER_VARIABLE = "NEO_LOST_AFTER_SECONDS"
BEAT_SECONDS = 2.0
MIN_BEATS_BEFORE_LOST = 10
MAX_BEATS_BETWEEN_LOOKS = 3
"""Most beats that one interval between two looks counts for. A longer interval means that the observer, or the store,
stood still: an observer that was suspended for an hour has not watched for an hour."""

Life = Literal["alive", "unknown", "dead"]


def lost_after_seconds() -> float:
    """Seconds that a heartbeat must stand still to count as lost; `NEO_LOST_AFTER_SECONDS`, set alike everywhere."""
    return float(os.environ.get(LOST_AFTER_VARIABLE, LOST_AFTER_SECONDS))


def beat_seconds() -> float:
    """Seconds from beat to beat, and from look to look: 2, or less if heartbeats are lost in less than 20."""
    return min(BEAT_SECONDS, lost_after_seconds() / MIN_BEATS_BEFORE_LOST)


class ProcessMark(BaseModel):
    """Identifies a process, so that an observer on its machine can tell whether it still runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    """Name of the machine, for people."""
    machine: str
    """Boot id and process namespace, within which a process id is unique; '' where the system does not tell."""
    process_id: int
    process_started_ticks: int
    """Start of the process in clock ticks since boot: tells it from a later process with the same id."""

    @classmethod
    def here(cls) -> dict[str, Any]:
        """The fields of this process."""
        number = os.getpid()
        return {
            "host": socket.gethostname(),
            "machine": _this_machine(),
            "process_id": number,
            "process_started_ticks": _started_ticks(number) or 0,
        }

    @property
    def is_of_this_machine(self) -> bool:
        """Whether the process runs, or ran, where its id can be looked up."""
        return bool(self.machine) and self.machine == _this_machine()

    @property
    def is_gone(self) -> bool:
        """Whether the process is known to have ended. False where nothing is known, as on other machines."""
        return self.is_of_this_machine and _started_ticks(self.process_id) != self.process_started_ticks


def _this_machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started_ticks(process_id: int) -> int | None:
    """Start of a process in clock ticks since boot; None if there is none, or only a zombie."""
    try:
        state, *fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])


class Heartbeat:
    """Raises a counter in the store from a thread of its own, until it is stopped."""

    def __init__(self, store: Store, key: str, also: Callable[[], None] | None = None) -> None:
        """`also` is called after each beat, in the thread."""
        self._store = store
        self._key = key
        self._also = also
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heartbeat", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No beat comes after this."""
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        num_beats = 0
        while not self._stopped.is_set():
            num_beats += 1
            try:
                self._store.overwrite(self._key, str(num_beats).encode())
                if self._also is not None:
                    self._also()
            except Exception:  # the store does not answer: others may take this process for dead, which does no harm
                logger.info("beat %d of %s failed", num_beats, self._key, exc_info=True)
            self._stopped.wait(beat_seconds())


def lived_seconds(store: Store, key: str) -> float:
    """How long a process lived by its heartbeats: by the time that the beats took to write less than it did."""
    beats = store.read(key)
    return int(beats) * beat_seconds() if beats is not None and beats.isdigit() else 0.0


@dataclass(frozen=True)
class HeartbeatReading:
    """What an observer knows of a heartbeat."""

    stood_still_seconds: float
    """Seconds for which the counter was watched without moving."""
    age_seconds: float | None
    """Seconds since the counter was last seen to move; None if it never was."""

    @property
    def is_lost(self) -> bool:
        """Whether the counter stood still for too long."""
        return self.stood_still_seconds >= lost_after_seconds()

    def life_of(self, mark: ProcessMark) -> Life:
        """Whether the process behind the counter lives; unknown of one elsewhere whose counter was seen only once."""
        if mark.is_gone or self.is_lost:
            return "dead"
        return "alive" if self.age_seconds is not None or mark.is_of_this_machine else "unknown"


@dataclass
class Observer:
    """Watches heartbeats in a store, on one clock: that of this process."""

    store: Store
    clock: Callable[[], float] = time.monotonic
    _watched: dict[str, _Watched] = field(default_factory=dict)

    def look(self, key: str) -> HeartbeatReading:
        """Read a heartbeat, for the first time or again; returns what is known since the first look."""
        value, now_seconds = self.store.read(key), self.clock()
        watched = self._watched.setdefault(key, _Watched(value, now_seconds))
        if value != watched.value:
            watched.value, watched.stood_still_seconds, watched.moved_at_seconds = value, 0.0, now_seconds
        else:
            # Looks at 0, 2 and 60 s with beats of 2 s: it stood still for 2 + min(58, 6) = 8 s, not for 60.
            most_seconds = MAX_BEATS_BETWEEN_LOOKS * beat_seconds()
            watched.stood_still_seconds += min(now_seconds - watched.looked_at_seconds, most_seconds)
        watched.looked_at_seconds = now_seconds
        moved_at = watched.moved_at_seconds
        return HeartbeatReading(watched.stood_still_seconds, None if moved_at is None else now_seconds - moved_at)


@dataclass
class _Watched:
    value: bytes | None
    looked_at_seconds: float
    stood_still_seconds: float = 0.0
    moved_at_seconds: float | None = None
