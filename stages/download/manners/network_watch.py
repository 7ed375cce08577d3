"""Tells a network that is gone from hosts that are gone, while a part is downloaded. Does no waiting itself.

A host is silent if its name gets no answer from the resolver, or its address takes no connection; one that refuses, or
whose name does not exist, has been answered for. Where half of the hosts asked last are silent, the network of this
machine or its resolver is taken to be down: requests pause, and now and then a host that answered before is tried, or
where none has, one request is let through. All continue as soon as that is answered. If a host that answered before
still does, it is the others that are gone, and twice as many of them are needed for the next doubt. An outage that
lasts too long fails the part, which is repeated elsewhere or later; nothing of it is recorded as lost.
"""

from __future__ import annotations

from typing import Final

from stages.contract import NetworkDownError

NUM_HOSTS: Final = 40
"""Hosts asked last that are looked at."""
MIN_HOSTS: Final = 20
"""Hosts that must have been asked before the network is judged."""
MAX_SHARE_SILENT: Final = 0.5
"""Share of them that may be silent."""
FIRST_PROBE_SECONDS: Final = 1.0
"""Wait before the first request of an outage; doubles up to `MAX_PROBE_SECONDS`."""
MAX_PROBE_SECONDS: Final = 15.0


class NetworkWatch:
    """Watches the hosts of one part. Times are seconds on the monotonic clock."""

    def __init__(self, max_outage_seconds: float | None) -> None:
        """`max_outage_seconds` bounds an outage; None watches nothing, for lists of which most hosts are gone."""
        self._max_outage_seconds = max_outage_seconds
        self._is_silent: dict[str, bool] = {}
        self._down_since: float | None = None
        self._wait_seconds = FIRST_PROBE_SECONDS
        self._next_probe = 0.0
        self._tolerance = 1
        """Factor of the numbers of hosts, which grows when a doubt was refuted."""
        self.num_outages = 0

    @property
    def is_on(self) -> bool:
        """Whether anything is watched."""
        return self._max_outage_seconds is not None

    @property
    def is_down(self) -> bool:
        """Whether the network is taken to be down."""
        return self._down_since is not None

    def answered(self, host: str) -> None:
        """A host answered, refused, or is known not to exist: an outage is over."""
        if self._down_since is not None:
            self._down_since = None
            self._is_silent.clear()
        self._note(host, is_silent=False)

    def refute(self, host: str) -> None:
        """A host that answered before still does, so the silent ones are gone."""
        if self.is_down:
            self._tolerance *= 2
        self.answered(host)

    def silent(self, host: str, now: float) -> None:
        """A host could not be reached."""
        if not self.is_on or self.is_down:
            return
        self._note(host, is_silent=True)
        num_hosts = len(self._is_silent)
        if num_hosts >= self._tolerance * MIN_HOSTS and sum(self._is_silent.values()) >= MAX_SHARE_SILENT * num_hosts:
            self._down_since = now
            self._wait_seconds = FIRST_PROBE_SECONDS
            self._next_probe = now + FIRST_PROBE_SECONDS
            self.num_outages += 1

    def probe_in_seconds(self, now: float) -> float:
        """How long to wait for the next request of an outage; 0 lets one through. Raises `NetworkDownError`."""
        if self._down_since is None or self._max_outage_seconds is None:
            return 0.0
        if now - self._down_since > self._max_outage_seconds:
            raise NetworkDownError(
                f"hosts could not be reached for {self._max_outage_seconds:g} s (max_outage_seconds), so the network "
                "of this machine or its resolver is taken to be down and nothing was recorded; check it, then run the "
                "command again. If it is the hosts of the list that are gone, set accept_unreachable=True"
            )
        if now < self._next_probe:
            return self._next_probe - now
        self._wait_seconds = min(2 * self._wait_seconds, MAX_PROBE_SECONDS)
        self._next_probe = now + self._wait_seconds
        return 0.0

    def _note(self, host: str, *, is_silent: bool) -> None:
        self._is_silent.pop(host, None)
        self._is_silent[host] = is_silent
        if len(self._is_silent) > self._tolerance * NUM_HOSTS:
            del self._is_silent[next(iter(self._is_silent))]
