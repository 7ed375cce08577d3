"""Where clips begin and end: pure rules over seconds, from what a source asks for and where scenes change."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias

from stages.cutting.reasons import ClipReason

CutAt: TypeAlias = Literal["nothing", "scenes"]
"""Whether a stretch stays whole or is cut where the scene changes."""


class Stretch(NamedTuple):
    """A stretch of a video, and why it becomes no clip."""

    start_seconds: float
    end_seconds: float
    reason: ClipReason | None = None


@dataclass(frozen=True, kw_only=True)
class LengthRule:
    """How long clips may be. Part of the recipe, so part of identity."""

    min_clip_seconds: float
    """Shortest clip."""
    max_clip_seconds: float | None
    """Longest clip; None for any."""
    longer: Literal["cut", "drop"]
    """Whether a longer stretch is cut into pieces of equal length, as few as may be, or dropped."""


def asked_for(start_seconds: float | None, end_seconds: float | None, duration_seconds: float) -> Stretch:
    """The stretch of a video that a row asks for: to the end of the video where it names no end, or a later one.

    >>> asked_for(2.0, None, 10.0)
    Stretch(start_seconds=2.0, end_seconds=10.0, reason=None)
    >>> asked_for(12.0, 20.0, 10.0).reason
    <ClipReason.OUTSIDE_VIDEO: 'outside_video'>
    """
    start = 0.0 if start_seconds is None else start_seconds
    end = duration_seconds if end_seconds is None else end_seconds
    if end_seconds is not None and end <= start:
        return Stretch(start, end, ClipReason.BAD_TIMES)
    if start >= duration_seconds:
        return Stretch(start, end, ClipReason.OUTSIDE_VIDEO)
    return Stretch(start, min(end, duration_seconds))


def cut_stretch(stretch: Stretch, scene_starts: Iterable[float], rule: LengthRule) -> Iterator[Stretch]:
    """The clips of a stretch, in order: cut at the scene starts inside it, then by length.

    >>> rule = LengthRule(min_clip_seconds=1.0, max_clip_seconds=4.0, longer="cut")
    >>> [(one.start_seconds, one.end_seconds, one.reason) for one in cut_stretch(Stretch(0.0, 10.0), [0.0, 9.5], rule)]
    [(0.0, 3.1666666666666665, None), (3.1666666666666665, 6.333333333333333, None), (6.333333333333333, 9.5, None), \
(9.5, 10.0, <ClipReason.TOO_SHORT: 'too_short'>)]
    """
    if stretch.reason is not None:
        yield stretch
        return
    inside = sorted({at for at in scene_starts if stretch.start_seconds < at < stretch.end_seconds})
    for start, end in pairwise([stretch.start_seconds, *inside, stretch.end_seconds]):
        yield from _by_length(start, end, rule)


def _by_length(start: float, end: float, rule: LengthRule) -> Iterator[Stretch]:
    length = end - start
    if length < rule.min_clip_seconds:
        yield Stretch(start, end, ClipReason.TOO_SHORT)
    elif rule.max_clip_seconds is None or length <= rule.max_clip_seconds:
        yield Stretch(start, end)
    elif rule.longer == "drop":
        yield Stretch(start, end, ClipReason.CLIP_TOO_LONG)
    else:
        yield from _pieces(start, end, math.ceil(length / rule.max_clip_seconds))


def _pieces(start: float, end: float, number: int) -> Iterator[Stretch]:
    ends: Sequence[float] = [start + (end - start) * one / number for one in range(number)] + [end]
    for first, last in pairwise(ends):
        yield Stretch(first, last)
