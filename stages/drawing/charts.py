"""Histograms and ranked names, drawn in panels on one picture.

Owns the layout of such pictures. The same numbers give the same bytes under one version of Pillow.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from stages.drawing.palette import (
    COLOURS,
    FAINT,
    FRAME,
    GAP_PX,
    GRID,
    GROUND,
    INK,
    LIMIT,
    MARGIN_PX,
    PAPER,
    WIDTH_PX,
    as_png,
    share,
    short_number,
)
from stages.drawing.words import drawable, font, shortened, wide_font

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Canvas

PixelBox: TypeAlias = tuple[int, int, int, int]
"""Left, top, right and bottom edge, in pixels."""

HEAD_PX: Final = 92
"""Height of the title and the legend."""
NUM_COLUMNS: Final = 3
HISTOGRAM_PX: Final = 252
"""Height of the panel of a histogram."""
NAME_ROW_PX: Final = 21
"""Height of one of several ranked names."""
PADDING_PX: Final = 14
AXIS_PX: Final = 46
"""Room for the numbers beside a histogram."""
MIN_SHOWN_BINS: Final = 12
MAX_TICKS: Final = 6
HEADROOM: Final = 1.12
"""Height of a histogram over its highest bar, so that names of limits stand above it."""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often values lie in each bin, by how their items ended."""

    title: str
    """What is measured, with its unit."""
    edges: Sequence[float]
    """Rising edges of the bins: bin 0 lies below the first one, bin i from edge i - 1 to edge i."""
    counts: Mapping[str, Sequence[int]]
    """How items ended (a key of `COLOURS`) to the items in each bin."""
    ticks: Sequence[tuple[float, str]] = ()
    """Edges that may be labelled, with their labels, the most important ones at equal distances."""
    limits: Sequence[tuple[str, float]] = ()
    """Fields of the recipe that limit the values, with their numbers."""
    num_without: int = 0
    """Items that have no such value."""

    @property
    def height(self) -> int:
        """Height of the panel, in pixels."""
        return HISTOGRAM_PX

    @property
    def num_items(self) -> int:
        """Items that have a value."""
        return sum(map(sum, self.counts.values()))

    def shown(self) -> range:
        """The bins that are shown: those that hold anything, and as many beside them as make a chart."""
        filled = [one for one in range(len(self.edges) + 1) if any(row[one] for row in self.counts.values())]
        first, last = (filled[0], filled[-1]) if filled else (0, 0)
        missing = max(2, MIN_SHOWN_BINS - (last - first + 1))
        first = max(0, first - missing // 2)
        last = min(len(self.edges), max(last + missing - missing // 2, first + MIN_SHOWN_BINS - 1))
        return range(max(0, min(first, last - MIN_SHOWN_BINS + 1)), last + 1)

    def place(self, value: float) -> float:
        """Where a value lies among the bins: 3.5 in the middle of bin 3; ends at the first and the last edge."""
        one = bisect.bisect_right(self.edges, value)
        if one in (0, len(self.edges)):
            return float(max(one, 1))
        low, high = self.edges[one - 1], self.edges[one]
        return one + (value - low) / (high - low)


@dataclass(frozen=True, kw_only=True)
class RankedNames:
    """The most frequent names, by how their items ended."""

    title: str
    """What is named."""
    rows: Sequence[tuple[str, Mapping[str, int]]]
    """Name to the number of items by how they ended, the most frequent one first."""
    num_others: int = 0
    """Items of other names."""
    num_without: int = 0
    """Items without a name."""
    is_least: bool = False
    """Whether the numbers are the least there may be, since each part counts its most frequent names alone."""

    @property
    def height(self) -> int:
        """Height of the panel, in pixels."""
        return 66 + NAME_ROW_PX * max(1, len(self.rows))


Panel: TypeAlias = "Histogram | RankedNames"


def chart_picture(panels: Sequence[Panel], title: str, note: str = "") -> bytes:
    """Panels in columns, each in the shortest column so far, below a title; as PNG."""
    from PIL import Image, ImageDraw

    width = (WIDTH_PX - 2 * MARGIN_PX - (NUM_COLUMNS - 1) * GAP_PX) // NUM_COLUMNS
    bottoms = [HEAD_PX + MARGIN_PX] * NUM_COLUMNS
    boxes: list[PixelBox] = []
    for panel in panels:
        column = bottoms.index(min(bottoms))
        left, top = MARGIN_PX + column * (width + GAP_PX), bottoms[column]
        boxes.append((left, top, left + width, top + panel.height))
        bottoms[column] += panel.height + GAP_PX
    sheet = Image.new("RGB", (WIDTH_PX, max(bottoms) - GAP_PX + MARGIN_PX), GROUND)
    canvas = ImageDraw.Draw(sheet)
    draw_head(canvas, title, note)
    for panel, box in zip(panels, boxes, strict=True):
        canvas.rounded_rectangle(box, radius=8, fill=PAPER, outline=FRAME)
        if isinstance(panel, Histogram):
            _draw_histogram(canvas, panel, box)
        else:
            _draw_names(canvas, panel, box)
    return as_png(sheet)


def draw_head(canvas: Canvas, title: str, note: str, roles: Sequence[str] = tuple(COLOURS)) -> None:
    """The title of a picture, a note below it, and what its colours mean on the right."""
    room = WIDTH_PX - 2 * MARGIN_PX - 330
    canvas.text((MARGIN_PX, MARGIN_PX), shortened(title, 24, room), font=font(24), fill=INK, anchor="lt")
    room = WIDTH_PX - 2 * MARGIN_PX
    canvas.text((MARGIN_PX, MARGIN_PX + 40), shortened(note, 15, room), font=font(15), fill=FAINT, anchor="lt")
    x = WIDTH_PX - MARGIN_PX
    for role in reversed(roles):
        x -= round(font(15).getlength(role))
        canvas.text((x, MARGIN_PX + 12), role, font=font(15), fill=INK, anchor="lm")
        canvas.rounded_rectangle((x - 22, MARGIN_PX + 5, x - 8, MARGIN_PX + 19), radius=3, fill=COLOURS[role])
        x -= 44


def _draw_histogram(canvas: Canvas, panel: Histogram, box: PixelBox) -> None:
    left, top, right, bottom = box
    x0, x1, y0, y1 = left + PADDING_PX + AXIS_PX, right - PADDING_PX, top + 62, bottom - 34
    _draw_panel_title(canvas, panel.title, _without(panel), box)
    shown, rows = panel.shown(), [role for role in COLOURS if role in panel.counts]
    sums = [sum(panel.counts[role][one] for role in rows) for one in shown]
    step = nice_step(max(sums, default=0))
    highest = max(1.0, HEADROOM * max(sums, default=0), step)
    for line in range(0, math.floor(highest) + 1, step):
        y = y1 - (y1 - y0) * line / highest
        canvas.line((x0, y, x1, y), fill=FRAME if line == 0 else GRID)
        canvas.text((x0 - 8, y), short_number(line), font=font(12), fill=FAINT, anchor="rm")
    width = (x1 - x0) / len(shown)
    for number, one in enumerate(shown):
        base = float(y1)
        for role in rows:
            tall = (y1 - y0) * panel.counts[role][one] / highest
            if tall > 0:
                tall = max(tall, 1.0 if base == y1 else 0.0)
                edges = (x0 + number * width + 0.5, base - tall, x0 + (number + 1) * width - 1.5, base)
                canvas.rectangle(edges, fill=COLOURS[role])
                base -= tall

    def x_of(value: float) -> float:
        return x0 + (panel.place(value) - shown.start) * width

    for value, label in chosen_ticks(panel, shown):
        canvas.line((x_of(value), y1, x_of(value), y1 + 4), fill=FAINT)
        canvas.text((x_of(value), y1 + 8), label, font=font(12), fill=FAINT, anchor="mt")
    for number, (name, value) in enumerate(panel.limits):
        x = x_of(value)
        if not x0 - 1 <= x <= x1 + 1:
            continue
        canvas.line((x, y0 - 12, x, y1), fill=LIMIT, width=2)
        anchor, beside = ("ls", x + 5) if x < (x0 + x1) / 2 else ("rs", x - 5)
        room = round(x1 - x if anchor == "ls" else x - x0)
        label = shortened(name, 12, room, font)
        canvas.text((beside, y0 - 2 + 13 * (number % 2)), label, font=font(12), fill=LIMIT, anchor=anchor)


def nice_step(highest: int) -> int:
    """The distance of lines on an axis from 0 to `highest`: 1, 2 or 5 times a power of ten, for three to six lines."""
    step = 1
    while highest / step > 5:
        step = step * 5 // 2 if str(step)[0] == "2" else step * 2
    return step


def chosen_ticks(panel: Histogram, shown: range) -> list[tuple[float, str]]:
    """Those of the ticks that lie in the bins that are shown; of many, some at equal distances."""
    inside = [(value, label) for value, label in panel.ticks if shown.start <= panel.place(value) <= shown.stop]
    every = -(-len(inside) // MAX_TICKS) or 1
    return inside[::every]


def _draw_names(canvas: Canvas, panel: RankedNames, box: PixelBox) -> None:
    left, top, right, _ = box
    _draw_panel_title(canvas, panel.title, _further(panel), box)
    if not panel.rows:
        return
    most = max(sum(counts.values()) for _, counts in panel.rows)
    name_px = round((right - left) * 0.42)
    x0, x1 = left + PADDING_PX + name_px, right - PADDING_PX - 58
    for number, (name, counts) in enumerate(panel.rows):
        y = top + 54 + number * NAME_ROW_PX
        label = shortened(drawable(name), 12, name_px - 8, wide_font)
        canvas.text((x0 - 8, y + 8), label, font=wide_font(12), fill=INK, anchor="rm")
        x = float(x0)
        for role in (role for role in COLOURS if counts.get(role)):
            wide = (x1 - x0) * counts[role] / most
            canvas.rectangle((x, y + 2, x + max(wide, 1.0), y + 14), fill=COLOURS[role])
            x += wide
        total = short_number(sum(counts.values()))
        canvas.text((x + 6, y + 8), total, font=font(12), fill=FAINT, anchor="lm")


def _draw_panel_title(canvas: Canvas, title: str, note: str, box: PixelBox) -> None:
    left, top, right, _ = box
    room = right - left - 2 * PADDING_PX
    canvas.text((left + PADDING_PX, top + 12), shortened(title, 16, room), font=font(16), fill=INK, anchor="lt")
    canvas.text((left + PADDING_PX, top + 33), shortened(note, 12, room), font=font(12), fill=FAINT, anchor="lt")


def _without(panel: Histogram) -> str:
    total = panel.num_items + panel.num_without
    without = f", {share(panel.num_without, total)} without" if panel.num_without else ""
    return f"{panel.num_items:,} items{without}"


def _further(panel: RankedNames) -> str:
    named = sum(sum(counts.values()) for _, counts in panel.rows)
    total = named + panel.num_others + panel.num_without
    told = [f"{'at least ' if panel.is_least else ''}{share(named, total)} of {short_number(total)} items"]
    if panel.num_without:
        told.append(f"{share(panel.num_without, total)} without")
    return ", ".join(told)
