"""Graphs as lanes of text, for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def lanes(reads: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, str]]:
    """Lines of text for each name, that together draw the graph: a dot for it, and lines to what reads it later. And
    what is drawn below, where a row of text beside it takes more lines than one.

    A ring reads nothing; a dot right below another in its lane reads that one.

    >>> for name, (line, _) in lanes({"a": [], "b": [], "c": ["a", "b"]}).items():
    ...     print(line, name)
    ○   a
    │ ○ b
    ●─╯ c
    """
    last_reader = {source: name for name, sources in reads.items() for source in sources}
    open_lanes: list[str | None] = []
    drawn: dict[str, tuple[str, str]] = {}
    for name, sources in reads.items():
        inputs = {open_lanes.index(source) for source in sources}
        closing = {lane for lane in inputs if last_reader[str(open_lanes[lane])] == name}
        own = _lane_for(open_lanes, closing)
        row = _row(open_lanes, own, inputs - {own}, closing, bool(sources))
        for lane in closing:
            open_lanes[lane] = None
        open_lanes[own] = name if name in last_reader else None
        while open_lanes and open_lanes[-1] is None:
            open_lanes.pop()
        drawn[name] = row, "".join("  " if lane is None else "│ " for lane in open_lanes)
    width = max((len(line) for line, _ in drawn.values()), default=0)
    return {name: (line.ljust(width), below.rstrip().ljust(width)) for name, (line, below) in drawn.items()}


def _lane_for(open_lanes: list[str | None], closing: set[int]) -> int:
    free = [lane for lane, name in enumerate(open_lanes) if name is None or lane in closing]
    if free:
        return min(free)
    open_lanes.append(None)
    return len(open_lanes) - 1


def _row(open_lanes: Sequence[str | None], own: int, inputs: set[int], closing: set[int], reads_any: bool) -> str:
    first, last = min({own, *inputs}), max({own, *inputs})
    cells = []
    for lane, name in enumerate(open_lanes):
        if lane == own:
            cell = "●" if reads_any else "○"
        elif lane in inputs:
            cell = _corner(lane == first, lane == last, lane in closing)
        elif first < lane < last:
            cell = "┼" if name is not None else "─"
        else:
            cell = "│" if name is not None else " "
        cells.append(cell + ("─" if first <= lane < last else " "))
    return "".join(cells).rstrip()


def _corner(first: bool, last: bool, closing: bool) -> str:
    if closing:
        return "╰" if first else "╯" if last else "┴"
    return "├" if first else "┤" if last else "┼"
