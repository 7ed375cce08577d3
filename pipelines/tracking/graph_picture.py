"""Graphs as pictures: a PNG with a box for each name and a line for each edge, left to right.

Owns the layout. Boxes stand in columns by depth; an edge that is longer than a column passes through free places in
the columns between, ordered like boxes, so that lines do not run behind boxes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL import ImageDraw

Place: TypeAlias = "tuple[str, int]"
"""A name in a column: its box where that is its depth, else where its edges pass."""

SCALE = 2
"""Pixels for each unit of length below, so that text is sharp on pages that shrink the picture."""
BOX_WIDTH, BOX_HEIGHT, PASSAGE_HEIGHT = 176, 62, 10
GAP_X, GAP_Y, MARGIN = 44, 16, 16
FONT, LINE_HEIGHT = 12, 16
NUM_SWEEPS = 8
PAPER, INK, EDGE = (255, 255, 255), (34, 40, 49), (140, 150, 165)
FILLS = {
    "source": (220, 242, 226),
    "data": (226, 236, 250),
    "model": (253, 232, 212),
    "result": (240, 226, 248),
    "missing": (250, 214, 214),
}
"""Colour of a box by role."""


def draw_graph(
    reads: Mapping[str, Sequence[str]], texts: Mapping[str, Sequence[str]], roles: Mapping[str, str], path: Path
) -> Path:
    """Draw a graph (each name with the names it reads, inputs first) as a PNG; returns its path.

    `texts` has the lines inside each box, the first one heavier; `roles` its colour, a key of `FILLS`.
    """
    from PIL import Image, ImageDraw

    depths = _depths(reads)
    columns, links = _columns(reads, depths)
    _untangle(columns, links)
    centres, height = _centres(columns, depths)
    width = len(columns) * (BOX_WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    image = Image.new("RGB", (width * SCALE, height * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    for source, target in links:
        _edge(pen, source, target, centres, depths)
    for name, depth in depths.items():
        _box(pen, _left(depth), centres[name, depth], texts[name], FILLS[roles[name]])
    image.save(path, format="PNG", optimize=True)
    return path


def _depths(reads: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """The column of each name: one right of what it reads; what reads nothing stands just left of its first reader."""
    depths: dict[str, int] = {}
    for name, sources in reads.items():
        depths[name] = 1 + max((depths[source] for source in sources), default=-1)
    for name, sources in reads.items():
        if not sources:
            depths[name] = max(0, min((depths[reader] for reader in _readers(reads, name)), default=1) - 1)
    return depths


def _readers(reads: Mapping[str, Sequence[str]], name: str) -> Iterator[str]:
    return (reader for reader, sources in reads.items() if name in sources)


def _columns(
    reads: Mapping[str, Sequence[str]], depths: Mapping[str, int]
) -> tuple[list[list[Place]], list[tuple[Place, Place]]]:
    """The places of each column, and the links between neighbouring columns. Edges of one name share their passage."""
    columns: list[list[Place]] = [[] for _ in range(max(depths.values()) + 1)]
    links: dict[tuple[Place, Place], None] = {}
    for name, depth in depths.items():
        columns[depth].append((name, depth))
    for name, sources in reads.items():
        for source in sources:
            for depth in range(depths[source], depths[name] - 1):
                if (source, depth + 1) not in columns[depth + 1]:
                    columns[depth + 1].append((source, depth + 1))
                links[(source, depth), (source, depth + 1)] = None
            links[(source, depths[name] - 1), (name, depths[name])] = None
    return columns, list(links)


def _untangle(columns: list[list[Place]], links: Sequence[tuple[Place, Place]]) -> None:
    """Order each column by the mean position of its neighbours, to and fro (the barycentre heuristic)."""
    before: dict[Place, list[Place]] = {}
    after: dict[Place, list[Place]] = {}
    for source, target in links:
        before.setdefault(target, []).append(source)
        after.setdefault(source, []).append(target)
    for sweep in range(NUM_SWEEPS):
        neighbours, ordered = (before, columns) if sweep % 2 == 0 else (after, columns[::-1])
        rank = {place: _rank(column, place) for column in columns for place in column}
        for column in ordered:
            wanted = {place: _mean([rank[near] for near in neighbours.get(place, [place])]) for place in column}
            column.sort(key=wanted.__getitem__)
            rank |= {place: _rank(column, place) for place in column}


def _rank(column: Sequence[Place], place: Place) -> float:
    return (column.index(place) + 0.5) / len(column)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _centres(columns: Sequence[Sequence[Place]], depths: Mapping[str, int]) -> tuple[dict[Place, float], int]:
    """The height of the middle of each place, columns centred, and the height of the whole picture."""

    def size(place: Place) -> int:
        return (BOX_HEIGHT if depths[place[0]] == place[1] else PASSAGE_HEIGHT) + GAP_Y

    tallest = max(sum(map(size, column)) for column in columns)
    centres: dict[Place, float] = {}
    for column in columns:
        top = MARGIN + (tallest - sum(map(size, column))) / 2
        for place in column:
            centres[place] = top + size(place) / 2
            top += size(place)
    return centres, tallest + 2 * MARGIN


def _left(depth: int) -> int:
    return MARGIN + depth * (BOX_WIDTH + GAP_X)


def _edge(
    pen: ImageDraw.ImageDraw,
    source: Place,
    target: Place,
    centres: Mapping[Place, float],
    depths: Mapping[str, int],
) -> None:
    arrives = depths[target[0]] == target[1]
    x0, y0 = _left(source[1]) + BOX_WIDTH, centres[source]
    x1, y1 = _left(target[1]), centres[target]
    points = [_bezier(x0, y0, x1, y1, step / 16) for step in range(17)]
    if not arrives:
        points.append((x1 + BOX_WIDTH, y1))
    pen.line([(x * SCALE, y * SCALE) for x, y in points], fill=EDGE, width=SCALE + 1, joint="curve")
    if arrives:
        head = [(x1, y1), (x1 - 6, y1 - 3), (x1 - 6, y1 + 3)]
        pen.polygon([(x * SCALE, y * SCALE) for x, y in head], fill=EDGE)


def _bezier(x0: float, y0: float, x1: float, y1: float, t: float) -> tuple[float, float]:
    a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    bend = (x1 - x0) / 2
    return a * x0 + b * (x0 + bend) + c * (x1 - bend) + d * x1, (a + b) * y0 + (c + d) * y1


def _box(pen: ImageDraw.ImageDraw, left: int, middle: float, lines: Sequence[str], fill: tuple[int, int, int]) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(FONT * SCALE)
    top = middle - BOX_HEIGHT / 2
    corners = (left, top, left + BOX_WIDTH, top + BOX_HEIGHT)
    pen.rounded_rectangle([c * SCALE for c in corners], radius=6 * SCALE, fill=fill, outline=EDGE, width=SCALE)
    for index, line in enumerate(lines):
        shown = line
        while shown and pen.textlength(shown, font=font) > (BOX_WIDTH - 14) * SCALE:
            shown = shown[:-1]
        at = ((left + 8) * SCALE, (top + 5 + index * LINE_HEIGHT) * SCALE)
        pen.text(at, shown, fill=INK, font=font, stroke_width=0.6 if index == 0 else 0, stroke_fill=INK)
