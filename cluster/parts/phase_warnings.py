"""What people are told of machines that fail in a phase, in sentences and not too many of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cluster.failure import Failure
from cluster.parts.nodes import NodeWatch
from cluster.parts.retry_policy import LeftOut
from stages.contract import Post, WarningPosted

MAX_RETRIES_TOLD: Final = 10
"""Retries of a phase that are told one by one; the end of the phase tells the sums."""


class PhaseWarnings:
    """The warnings of one phase."""

    def __init__(self, step: str, phase: str, nodes: NodeWatch, post: Post) -> None:
        self._step, self._phase = step, phase
        self._nodes = nodes
        self._post = post
        self._num_told = 0

    def tried_again(self, failure: Failure) -> None:
        """A part that failed is made again."""
        self._num_told += 1
        if self._num_told <= MAX_RETRIES_TOLD:
            cause = failure.fault or "this may be due to the machine, so another one tries it"
            self._say(f"{failure.message} ({cause}; {self._nodes.name(failure.node)}); the part is made again")

    def left_out(self, one: LeftOut) -> None:
        """A node gets no parts for a while."""
        self._say(
            f"{self._nodes.name(one.node)} gets no parts of phase {self._phase!r} for {one.seconds:.0f} s: the last "
            f"{sum(one.causes.values())} parts failed there ({_counts(one.causes)})"
        )

    def sums(self, faults: Mapping[str, Mapping[str, int]]) -> None:
        """What failed in the whole phase, by node and cause."""
        if faults:
            nodes = "; ".join(f"{self._nodes.name(node)}: {_counts(causes)}" for node, causes in faults.items())
            self._say(f"failures in phase {self._phase!r} that were the machine's: {nodes}")

    def _say(self, message: str) -> None:
        self._post(WarningPosted(step=self._step, message=message))


def _counts(causes: Mapping[str, int]) -> str:
    return ", ".join(f"{cause} {number} times" if number > 1 else f"{cause} once" for cause, number in causes.items())
