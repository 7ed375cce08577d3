"""Who is still at work: a counter that a living process raises in the store, and an observer that watches counters.

Owns the verdict that somebody is dead. A process of this very machine that is gone is dead. Of any other nothing is
known but its counter: it counts as lost once the counter stood still long enough on the observer's own clock. Clocks
of two machines are never compared, and time in which the observer did not look does not count. A wrong verdict does no
harm: whoever was taken for dead loses work, never truth.
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
"""A counter that stands still for so long has nobody behind it: many beats, and longer than a store's own retries."""
LOST_AFTER_VARIABLE = "NEO_LOST_AFTER_SECONDS"
BEAT_SECONDS = 2.0
MIN_BEATS_BEFORE_LOST = 10
MAX_BEATS_BETWEEN_LOOKS = 3
"""A longer pause between two looks was the observer's own, or the store's: it counts as no more than this."""

Life = Literal["alive", "unknown", "dead"]


def lost_after_seconds() -> float:
    """For how long a counter must stand still. The environment may say otherwise, for all processes alike."""
    return float(os.environ.get(LOST_AFTER_VARIABLE, LOST_AFTER_SECONDS))


def beat_seconds() -> float:
    """Seconds from beat to beat, and from look to look."""
    return min(BEAT_SECONDS, lost_after_seconds() / MIN_BEATS_BEFORE_LOST)


class ProcessMark(BaseModel):
    """Which process it is, so that it can be found again, or be found to be gone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    """For people."""
    machine: str
    """Boot and process namespace: where a process number means the same. '' where the system does not tell."""
    process_id: int
    process_started_ticks: int
    """Since boot, which tells a process from a later one with the same number."""

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
        return bool(self.machine) and self.machine == _this_machine()

    @property
    def is_gone(self) -> bool:
        """Whether the process is known to have ended. False where nothing is known."""
        return self.is_of_this_machine and _started_ticks(self.process_id) != self.process_started_ticks


def _this_machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started_ticks(process_id: int) -> int | None:
    """When a process started, or None if there is none, or only what its parent has not asked after."""
    try:
        state, *fields = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else int(fields[18])


class Heart:
    """Raises a counter in the store from a thread of its own, until it is stopped."""

    def __init__(self, store: Store, key: str, also: Callable[[], None] | None = None) -> None:
        """`also` is called after each beat, in the thread."""
        self._store = store
        self._key = key
        self._also = also
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="heart", daemon=True)
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
            except Exception:  # the store is away: others may take us for dead, which does no harm
                logger.info("beat %d of %s did not go well", num_beats, self._key, exc_info=True)
            self._stopped.wait(beat_seconds())


@dataclass(frozen=True)
class Sighting:
    """What an observer knows of a counter."""

    stood_still_seconds: float
    """For how long it was watched without moving."""
    age_seconds: float | None
    """Since it was last seen to move; None if it was never seen to."""

    @property
    def is_lost(self) -> bool:
        return self.stood_still_seconds >= lost_after_seconds()

    def life_of(self, mark: ProcessMark) -> Life:
        """What is known of the process behind the counter."""
        if mark.is_gone or self.is_lost:
            return "dead"
        return "alive" if self.age_seconds is not None or mark.is_of_this_machine else "unknown"


@dataclass
class Observer:
    """Watches counters in a store, on one clock: that of this process."""

    store: Store
    clock: Callable[[], float] = time.monotonic
    _watched: dict[str, _Watched] = field(default_factory=dict)

    def look(self, key: str) -> Sighting:
        """Look at a counter, for the first time or again."""
        value, now_seconds = self.store.read(key), self.clock()
        watched = self._watched.setdefault(key, _Watched(value, now_seconds))
        if value != watched.value:
            watched.value, watched.stood_still_seconds, watched.moved_at_seconds = value, 0.0, now_seconds
        else:
            most_seconds = MAX_BEATS_BETWEEN_LOOKS * beat_seconds()
            watched.stood_still_seconds += min(now_seconds - watched.looked_at_seconds, most_seconds)
        watched.looked_at_seconds = now_seconds
        moved_at = watched.moved_at_seconds
        return Sighting(watched.stood_still_seconds, None if moved_at is None else now_seconds - moved_at)


@dataclass
class _Watched:
    value: bytes | None
    looked_at_seconds: float
    stood_still_seconds: float = 0.0
    moved_at_seconds: float | None = None
