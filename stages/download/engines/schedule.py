"""Which request begins next: hosts in turn, so many at once for each, and none before its time. Does no waiting itself.

A request that stands in the queue of a busy host holds up no other host. Memory grows with the requests of a part, a
few hundred bytes each.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class _Host(Generic[_T]):
    name: str
    waiting: deque[_T] = field(default_factory=deque)
    num_open: int = 0
    not_before: float = 0.0
    """Seconds on the monotonic clock."""
    is_in_turn: bool = False


class Schedule(Generic[_T]):
    """The requests of a part that wait. Times are seconds on the monotonic clock."""

    def __init__(self, *, max_per_host: int, seconds_between: float = 0.0) -> None:
        """At most `max_per_host` requests of a host are open at once, and begin `seconds_between` apart at least."""
        self._max_per_host = max_per_host
        self._seconds_between = seconds_between
        self._hosts: dict[str, _Host[_T]] = {}
        self._turns: deque[_Host[_T]] = deque()
        self._later: list[tuple[float, int, _Host[_T], _T | None]] = []
        self._numbers = count()

    def add(self, host: str, item: _T, not_before: float = 0.0) -> None:
        """A request of `host`, to be begun behind those that wait, and not before a moment."""
        state = self._state(host)
        if not_before > 0.0:
            heapq.heappush(self._later, (not_before, next(self._numbers), state, item))
        else:
            state.waiting.append(item)
            self._give_turn(state)

    def hold(self, host: str, until: float) -> None:
        """Begin no request of `host` before a moment."""
        state = self._state(host)
        state.not_before = max(state.not_before, until)

    def take(self, now: float) -> _T | None:
        """The next request that may begin, which counts as open from now on; None where none may."""
        while self._later and self._later[0][0] <= now:
            _, _, state, item = heapq.heappop(self._later)
            if item is not None:
                state.waiting.append(item)
            self._give_turn(state)
        while self._turns:
            state = self._turns.popleft()
            state.is_in_turn = False
            if not state.waiting or state.num_open >= self._max_per_host:
                continue
            if state.not_before > now:
                heapq.heappush(self._later, (state.not_before, next(self._numbers), state, None))
                continue
            state.num_open += 1
            if self._seconds_between:
                state.not_before = now + self._seconds_between
            item = state.waiting.popleft()
            self._give_turn(state)
            return item
        return None

    def close(self, host: str) -> None:
        """A request of `host` has ended."""
        state = self._state(host)
        state.num_open -= 1
        self._give_turn(state)

    def has_waiting(self, host: str) -> bool:
        """Whether more requests of `host` wait, so that its connection is worth keeping."""
        state = self._hosts.get(host)
        return state is not None and bool(state.waiting)

    def next_moment(self) -> float | None:
        """When something that has to wait may begin; None where nothing waits for a moment."""
        return self._later[0][0] if self._later else None

    def _state(self, host: str) -> _Host[_T]:
        state = self._hosts.get(host)
        if state is None:
            state = self._hosts[host] = _Host(host)
        return state

    def _give_turn(self, state: _Host[_T]) -> None:
        if state.waiting and not state.is_in_turn and state.num_open < self._max_per_host:
            state.is_in_turn = True
            self._turns.append(state)
