"""Which step of one side of a comparison is which of the other.

Steps of the same artifact go first, then those of the same name and stage, then those of the same stage where each side
has one left, which was renamed. Others are on one side alone. Two steps of one name and stage, as where a lineage goes
through two pipelines, are aligned in their order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias

from pipelines.comparing.sides import ComparedStep

Pair: TypeAlias = tuple[ComparedStep | None, ComparedStep | None]
"""A step of the first side and that of the second which it is compared with; None for a step of one side alone."""


def aligned(first: Sequence[ComparedStep], second: Sequence[ComparedStep]) -> list[Pair]:
    """The pairs in the order of the first side, then what the second has alone."""
    partner: dict[int, ComparedStep] = {}
    left, right = list(first), list(second)

    def pair_by(key: Callable[[ComparedStep], Hashable], *, only_single: bool = False) -> None:
        groups: dict[Hashable, tuple[list[ComparedStep], list[ComparedStep]]] = defaultdict(lambda: ([], []))
        for side, steps in enumerate((left, right)):
            for step in steps:
                groups[key(step)][side].append(step)
        for ours, theirs in groups.values():
            if only_single and (len(ours), len(theirs)) != (1, 1):
                continue
            for one, other in zip(ours, theirs, strict=False):
                partner[id(one)] = other
                left.remove(one)
                right.remove(other)

    pair_by(lambda step: (step.stage, step.fingerprint))
    pair_by(lambda step: (step.stage, step.step))
    pair_by(lambda step: step.stage, only_single=True)
    return [*((step, partner.get(id(step))) for step in first), *((None, step) for step in right)]
