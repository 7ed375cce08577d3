"""Which parts that failed are made again, where and when; and which machines get no more parts for a while.

Owns the policy, and no Ray: it is told what happened and on which node, and answers. What a machine can cause is tried
again elsewhere within budgets; what the work itself causes must fail on a second machine to count; the loss of a
machine counts against nobody.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from cluster.failure import Failure
from stages.contract import LASTING_FAULTS

RETRIES_AFTER_DEATHS: Final = 3
"""Retries of one part after the worker that made it died, on a machine that goes on."""
RETRIES_AFTER_FAULTS: Final = 4
"""Retries of one part after faults of machines."""
MIN_RETRIES_OF_PHASE: Final = 20
"""A phase makes as many retries after faults of machines as it has parts, and at least this many."""
PAUSE_SECONDS: Final = 5.0
"""Pause before a part is made again on a machine where it failed, because no other is left; doubled at each retry."""
FAILURES_IN_A_ROW: Final = 3
"""Different parts that fail on one node, with none made there in between, before the node is left out."""
LEFT_OUT_SECONDS: Final = 60.0
"""How long a node is left out at first; doubled each time, while it makes no part."""
MAX_LEFT_OUT_SECONDS: Final = 3600.0

WORKER_DIED: Final = "worker died"
FAILED_THERE_ALONE: Final = "failed there alone"


@dataclass(frozen=True)
class LeftOut:
    """A node that gets no parts of the phase for a while."""

    node: str
    seconds: float
    causes: Mapping[str, int]
    """Cause, such as `disk full`, to the number of parts that failed there in a row because of it."""


@dataclass
class _Node:
    """What happened on one node since it last made a part."""

    failed_parts: dict[str, str] = field(default_factory=dict)
    """Part to the cause of its failure."""
    num_times_left_out: int = 0
    left_out_until: float = 0.0


@dataclass
class _Tries:
    """The tries of one part that failed."""

    failures: list[Failure] = field(default_factory=list)
    death_nodes: list[str] = field(default_factory=list)
    not_before: float = 0.0
    """Earliest time of a try on a node where the part failed before, in seconds of the monotonic clock."""

    def num_faults(self) -> int:
        return sum(failure.fault is not None for failure in self.failures)

    def nodes(self) -> frozenset[str]:
        """Nodes where the part failed or its worker died."""
        return frozenset({failure.node for failure in self.failures} | set(self.death_nodes)) - {""}


class RetryPolicy:
    """The policy of one phase.

    Times are seconds of the monotonic clock; `able` are the ids of the nodes that could hold a part.
    """

    def __init__(self, num_parts: int) -> None:
        self._tries: dict[str, _Tries] = {}
        self._nodes: defaultdict[str, _Node] = defaultdict(_Node)
        self._retries_left = max(MIN_RETRIES_OF_PHASE, num_parts)
        self.faults: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Node to the causes of what failed there, with counts."""
        self._newly_left_out: list[LeftOut] = []

    def made(self, part: str, node: str, now: float) -> None:
        """A part was made. What failed of it elsewhere was due to the machine there: a lost mount, a broken library."""
        for failure in self._tries.pop(part, _Tries()).failures:
            if failure.fault is None and failure.node != node:
                self._count(failure.node, part, FAILED_THERE_ALONE, frozenset({node}), now)
        if node in self._nodes and self._nodes[node].left_out_until <= now:
            del self._nodes[node]

    def failed(self, part: str, failure: Failure, able: frozenset[str], now: float) -> Failure | None:
        """A try of a part failed; returns the failure that ends the part, or None if it is to be tried again."""
        tries = self._tries.setdefault(part, _Tries())
        tries.failures.append(failure)
        elsewhere = able - tries.nodes() - self.nodes_left_out(now)
        if failure.fault is None:
            hosts = {one.node: one.host for one in tries.failures if one.fault is None}
            if len(hosts) > 1:
                return replace(failure, message=f"{failure.message} (the same on {len(hosts)} machines)")
            return None if failure.node and elsewhere else failure
        self._count(failure.node, part, failure.fault, able, now)
        if failure.fault in LASTING_FAULTS and not able - tries.nodes():
            return _worded(failure, tries, "no other machine could make it")
        if tries.num_faults() > RETRIES_AFTER_FAULTS:
            return _worded(failure, tries, f"that was try {tries.num_faults()}")
        if not self._retries_left:
            return _worded(failure, tries, "its phase has used up its retries")
        self._retries_left -= 1
        tries.not_before = now + PAUSE_SECONDS * 2 ** (tries.num_faults() - 1)
        return None

    def worker_died(
        self, part: str, node: str, is_lost: Callable[[str], bool], able: frozenset[str], now: float
    ) -> int | None:
        """The worker of a part died; returns how often, if that ends the part, or None if it is to be tried again.

        `is_lost` says of a node whether it is gone or being taken away, which explains a death and counts for nothing.
        """
        tries = self._tries.setdefault(part, _Tries())
        tries.death_nodes.append(node)
        tries.death_nodes = [one for one in tries.death_nodes if not is_lost(one)]
        if not is_lost(node):
            self._count(node, part, WORKER_DIED, able, now)
        num_deaths = len(tries.death_nodes)
        return num_deaths if num_deaths > RETRIES_AFTER_DEATHS else None

    def nodes_to_avoid(self, part: str, able: frozenset[str], now: float) -> frozenset[str] | None:
        """The nodes on which this part is not to run, or None while it is to wait."""
        left_out = self.nodes_left_out(now)
        tries = self._tries.get(part)
        if tries is not None and able - left_out - tries.nodes():
            return left_out | tries.nodes()
        is_paused = tries is not None and now < tries.not_before
        return None if is_paused or (able and not able - left_out) else left_out

    def nodes_left_out(self, now: float) -> frozenset[str]:
        """The nodes that get no parts now."""
        return frozenset(node for node, seen in self._nodes.items() if seen.left_out_until > now)

    def newly_left_out(self) -> list[LeftOut]:
        """The nodes that were left out since the last call."""
        left_out, self._newly_left_out = self._newly_left_out, []
        return left_out

    def _count(self, node: str, part: str, cause: str, able: frozenset[str], now: float) -> None:
        """Count a failure against a node, and leave it out if that is one too many. The only node is never left out."""
        self.faults[node][cause] += 1
        if not node:
            return
        seen = self._nodes[node]
        seen.failed_parts[part] = cause
        is_one_too_many = len(seen.failed_parts) >= FAILURES_IN_A_ROW and seen.left_out_until <= now
        if is_one_too_many and able - {node}:
            seconds = min(LEFT_OUT_SECONDS * 2**seen.num_times_left_out, MAX_LEFT_OUT_SECONDS)
            seen.num_times_left_out += 1
            seen.left_out_until = now + seconds
            self._newly_left_out.append(LeftOut(node, seconds, Counter(seen.failed_parts.values())))


def _worded(failure: Failure, tries: _Tries, why: str) -> Failure:
    """The failure with the machines on which the part failed, what was wrong with each, and why it ends there."""
    faults = Counter((one.host or "a machine", one.fault) for one in tries.failures if one.fault is not None)
    where = ", ".join(
        f"{fault} on {host}" + (f" {number} times" if number > 1 else "") for (host, fault), number in faults.items()
    )
    return replace(failure, message=f"{failure.message} ({where}; {why})")
