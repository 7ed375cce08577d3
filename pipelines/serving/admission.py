"""Which requests are let in, and how each ends.

Owns the bound on requests that are inside at once, from before their bodies are read until their answers are sent, and
with it on the memory of bodies, pictures and queues. A request beyond it is told when to come again. Every request
ends with one outcome, which is counted. Used on the event loop alone.
"""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from pipelines.serving.errors import ProtocolError

MAX_RETRY_SECONDS: Final = 60
"""Longest time after which a client that was turned away is told to come again."""
NUM_REMEMBERED: Final = 32
"""Answered requests from whose times the wait is estimated."""


class Outcome(StrEnum):
    """How a request ended: a closed list."""

    ANSWERED = "answered"
    """The whole answer was sent."""
    REFUSED = "refused"
    """The request was malformed, too large, or one too many."""
    CANCELLED = "cancelled"
    """The client went away before its answer was whole."""
    FAILED = "failed"
    """The model failed, or the server was stopped."""


class Admission:
    """Counts requests inside, and what became known of those that ended."""

    def __init__(self, *, max_requests: int, max_sequences: int) -> None:
        """At most `max_requests` are inside at once; `max_sequences` answers are made side by side."""
        self.max_requests = max_requests
        self.num_inside = 0
        """Requests that were let in and have not ended."""
        self.outcomes: Counter[Outcome] = Counter()
        """Requests that have ended, by how."""
        self.is_closed = False
        """Whether the server is stopping: then nothing is let in any more."""
        self._max_sequences = max_sequences
        self._seconds: deque[float] = deque(maxlen=NUM_REMEMBERED)

    @contextmanager
    def entry(self, lost: str | None = None) -> Iterator[None]:
        """A request is inside as long as the block runs. Raises ProtocolError (429, 503) where it may not come in.

        `lost` is why nothing can be answered any more, if that is so.
        """
        if lost is not None:
            raise ProtocolError(503, lost, code="device_lost")
        if self.is_closed:
            raise ProtocolError(503, "the server is stopping", code="server_stopping", headers={"Retry-After": "5"})
        if self.num_inside >= self.max_requests:
            wait = self.retry_seconds()
            told = f"{self.num_inside} requests are being answered or wait: come again in {wait} s"
            raise ProtocolError(429, told, code="rate_limit_exceeded", headers={"Retry-After": str(wait)})
        self.num_inside += 1
        try:
            yield
        finally:
            self.num_inside -= 1

    def count(self, outcome: Outcome, began_seconds: float) -> None:
        """Count a request that has ended; `began_seconds` is when it came, by the monotonic clock."""
        self.outcomes[outcome] += 1
        if outcome is Outcome.ANSWERED:
            self._seconds.append(time.monotonic() - began_seconds)

    def retry_seconds(self) -> int:
        """When some of the requests inside will have ended, by the time that the last ones took.

        Ten inside, four at a time, two seconds each: 5 s.
        """
        mean = sum(self._seconds) / len(self._seconds) if self._seconds else 1.0
        return min(MAX_RETRY_SECONDS, max(1, math.ceil(mean * self.num_inside / self._max_sequences)))
