"""URLs whose hosts could not be reached: while the network itself is in doubt, they are asked again at the end.

A resolver that fails for half of the names would else lose a quarter of a part, two tries each. After an outage the
URLs that ended so before and during it are asked again, in rounds, as long as a round brings some of them back.
"""

from __future__ import annotations

from typing import Final, Generic, TypeVar

MAX_ROUNDS: Final = 8
"""Rounds in which doubtful URLs are asked again, at most: of a resolver that fails every second time, 1 URL in 65,000
is then still missing."""

_T = TypeVar("_T")


class Doubtful(Generic[_T]):
    """The URLs of a part that wait for the end, and whether they are worth another round."""

    def __init__(self) -> None:
        self._waiting: list[_T] = []
        self._num_before: int | None = None
        self._num_rounds = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, fetch: _T) -> None:
        """Let a URL wait."""
        self._waiting.append(fetch)

    def next_round(self, num_outages: int) -> tuple[list[_T], bool]:
        """The URLs that waited, and whether to ask them again; called once nothing else is left."""
        waiting, self._waiting = self._waiting, []
        brought_some = self._num_before is None or len(waiting) < self._num_before
        again = num_outages > 0 and brought_some and self._num_rounds < MAX_ROUNDS
        self._num_before = len(waiting)
        self._num_rounds += 1
        return waiting, again
