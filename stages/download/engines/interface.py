"""The interface of a fetching engine: what it is given and what it gives back.

An engine decides how many requests run at once and on what (threads, an event loop). Which addresses may be asked,
how long a try may take and what becomes of the bytes is decided elsewhere, alike for every engine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, Protocol, TypeAlias

from stages.download.manners.usage_terms import USER_AGENT_TOKEN, Manners, UsageTerms
from stages.download.reasons import Reason
from stages.origins.routes import Routes

EngineName: TypeAlias = Literal["event_loop", "img2dataset"]
"""The engines there are."""
USER_AGENT: Final = f"Mozilla/5.0 (compatible; {USER_AGENT_TOKEN})"
"""How a client of ours names itself, in the form of browsers, which some servers want."""


@dataclass(frozen=True, kw_only=True)
class FetchLimits:
    """How long and how often a URL is asked for, and how much may come. Part of the recipe, so part of identity."""

    deadline_seconds: float
    """Time for one try, from resolving the name to the last byte, redirects included."""
    num_tries: int
    """Tries for a URL whose failure is retriable, the first one included."""
    max_body_bytes: int
    """Largest response body in bytes, as sent and after decompression."""
    max_requests_per_host: int = 8
    """Requests that one part has open at a host at once. The engine of img2dataset knows no such limit."""
    seconds_between_requests: float = 0.0
    """Least time between the beginnings of two requests of one part at a host."""
    max_outage_seconds: float | None = 600.0
    """How long the engine waits for a network that is down before the part fails; None does not tell such a network
    from hosts that are gone. The engine of img2dataset does not wait."""
    manners: Manners = field(default_factory=Manners)
    """Which wishes of servers are respected."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that may be on a private network, and suffixes of such hosts that begin with a dot."""


@dataclass(frozen=True, kw_only=True)
class FetchTask:
    """What an engine is given."""

    urls: Sequence[str]
    """URLs to ask for, checked and normalised to ASCII; the same URL may stand in several places."""
    routes: Routes
    """Hosts that are reached at a fixed address instead of where their names resolve to."""
    limits: FetchLimits
    scratch: Path
    """A private local folder for files that the engine needs meanwhile."""


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """Why there is no response body."""

    reason: Reason
    remark: str = ""
    """What happened, in words, where the reason is `unexplained`."""


Deliver: TypeAlias = Callable[[int, bytes | FetchFailure, UsageTerms], None]
"""Takes the index of a URL in the task, its response body or its failure, and what was said about its use.

An engine calls it once for each URL, in any order, and never from two threads at once: it judges and writes the
picture, so a slow disk slows the engine down and memory does not grow with the part.
"""


class FetchEngine(Protocol):
    """Fetches the URLs of one task."""

    def __call__(self, task: FetchTask, deliver: Deliver) -> None:
        """Deliver every URL, then return. Raises what `deliver` raised, so that a full disk fails the part."""
