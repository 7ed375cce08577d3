"""Graphs as pictures: a PNG with a box for each name and a line for each edge, left to right.

Owns the layout (layered graph drawing). Boxes stand in columns by depth. An edge that spans several columns gets a slot
in each column between, ordered like the boxes, so no line runs behind a box. Text is wrapped between words and boxes
grow with it: no label is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.lineage.graph import Lineage
from pipelines.lineage.layers import Slot, depths_of, layers_of, untangle
from pipelines.report.lineage_svg import lineage_boxes

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

SCALE = 2
"""Pixels per unit of length: with 2, text stays sharp on pages that shrink the picture. Lengths below are in units."""
MIN_BOX_WIDTH, PASSAGE_HEIGHT = 176, 10
GAP_X, GAP_Y, MARGIN = 44, 16, 16
FONT, LINE_HEIGHT, PADDING_X, PADDING_Y = 12, 16, 8, 7
AFTER_COMMA = re.compile("(?<=,) ")
PAPER, INK, EDGE = (255, 255, 255), (34, 40, 49), (140, 150, 165)
FILLS = {
    "source": (220, 242, 226),
    "data": (226, 236, 250),
    "model": (253, 232, 212),
    "result": (240, 226, 248),
    "missing": (250, 214, 214),
}
"""Colours of boxes by role."""


@dataclass(frozen=True)
class GraphLayout:
    """Positions of the boxes and lines of a picture, in units of length; a unit has `SCALE` pixels."""

    depths: Mapping[str, int]
    """The column of each box."""
    lines: Mapping[str, tuple[str, ...]]
    """The lines of text of each box, wrapped."""
    links: Sequence[tuple[Slot, Slot]]
    """Edges, divided at the columns that they pass through."""
    middles: Mapping[Slot, float]
    """Distance of the middle of each slot from the top."""
    box_width: int
    """Width of every box."""
    height: int
    """Height of the whole picture."""

    @property
    def width(self) -> int:
        """Width of the whole picture."""
        return self.left(max(self.depths.values())) + self.box_width + MARGIN

    def left(self, column: int) -> int:
        """Distance of a column's left edge from the left of the picture."""
        return MARGIN + column * (self.box_width + GAP_X)

    def box(self, name: str) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a box."""
        left, middle = self.left(self.depths[name]), self.middles[name, self.depths[name]]
        half = box_height(self.lines[name]) / 2
        return left, middle - half, left + self.box_width, middle + half


def draw_graph(
    reads: Mapping[str, Sequence[str]], texts: Mapping[str, Sequence[str]], roles: Mapping[str, str], path: Path
) -> Path:
    """Draw a graph as a PNG at `path`, which is returned.

    `reads` has each name with the names that it reads, inputs first; `texts` the lines in each box, of which the first
    is bold; `roles` the key of `FILLS` that gives the box its colour.
    """
    from PIL import Image, ImageDraw

    layout = lay_out(reads, texts)
    image = Image.new("RGB", (layout.width * SCALE, layout.height * SCALE), PAPER)
    pen = ImageDraw.Draw(image)
    for source, target in layout.links:
        _edge(pen, source, target, layout)
    for name in layout.depths:
        _box(pen, name, layout, FILLS[roles[name]])
    image.save(path, format="PNG", optimize=True)
    return path


def lay_out(reads: Mapping[str, Sequence[str]], texts: Mapping[str, Sequence[str]]) -> GraphLayout:
    """The layout of a graph with these lines of text in its boxes; arguments as in `draw_graph`."""
    font = load_font()
    most = (MIN_BOX_WIDTH - 2 * PADDING_X) * SCALE
    lines = {name: tuple(part for line in texts[name] for part in _wrapped(line, font, most)) for name in reads}
    widest = max(font.getlength(line) for wrapped in lines.values() for line in wrapped)
    box_width = max(MIN_BOX_WIDTH, round(widest / SCALE) + 2 * PADDING_X)
    depths = depths_of(reads)
    columns, links = layers_of(reads, depths)
    untangle(columns, links)
    heights = {name: box_height(wrapped) for name, wrapped in lines.items()}
    middles, height = _middles(columns, depths, heights)
    return GraphLayout(depths, lines, links, middles, box_width, height)


def load_font() -> ImageFont.FreeTypeFont:
    """The font of all text."""
    from PIL import ImageFont

    font = ImageFont.load_default(FONT * SCALE)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
    return font


def box_height(lines: Sequence[str]) -> int:
    """The height of a box with these wrapped lines."""
    return len(lines) * LINE_HEIGHT + 2 * PADDING_Y


def _wrapped(text: str, font: ImageFont.FreeTypeFont, most_pixels: float) -> Iterator[str]:
    """A text in lines of at most this width, broken after commas, else between words; a longer word stays uncut."""
    line = ""
    phrases = AFTER_COMMA.split(text)  # "12 parts, 12,000 items" has two: no blank follows the comma of a number
    fits = all(font.getlength(phrase) <= most_pixels for phrase in phrases)
    for word in phrases if fits else text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and font.getlength(longer) > most_pixels:
            yield line
            longer = word
        line = longer
    yield line


def _middles(
    columns: Sequence[Sequence[Slot]], depths: Mapping[str, int], heights: Mapping[str, int]
) -> tuple[dict[Slot, float], int]:
    """The middle of each slot, with columns centred, and the height of the whole picture."""

    def size(slot: Slot) -> int:
        name, column = slot
        return (heights[name] if depths[name] == column else PASSAGE_HEIGHT) + GAP_Y

    tallest = max(sum(map(size, column)) for column in columns)
    middles: dict[Slot, float] = {}
    for column in columns:
        top = MARGIN + (tallest - sum(map(size, column))) / 2
        for slot in column:
            middles[slot] = top + size(slot) / 2
            top += size(slot)
    return middles, tallest + 2 * MARGIN


def _edge(pen: ImageDraw.ImageDraw, source: Slot, target: Slot, layout: GraphLayout) -> None:
    """Draw one link: with an arrowhead if it ends at a box, else extended through the slot that it passes."""
    arrives = layout.depths[target[0]] == target[1]
    x0, y0 = layout.left(source[1]) + layout.box_width, layout.middles[source]
    x1, y1 = layout.left(target[1]), layout.middles[target]
    points = [_bezier(x0, y0, x1, y1, step / 16) for step in range(17)]
    if not arrives:
        points.append((x1 + layout.box_width, y1))
    pen.line([(x * SCALE, y * SCALE) for x, y in points], fill=EDGE, width=SCALE + 1, joint="curve")
    if arrives:
        head = [(x1, y1), (x1 - 6, y1 - 3), (x1 - 6, y1 + 3)]
        pen.polygon([(x * SCALE, y * SCALE) for x, y in head], fill=EDGE)


def _bezier(x0: float, y0: float, x1: float, y1: float, t: float) -> tuple[float, float]:
    a, b, c, d = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3
    bend = (x1 - x0) / 2
    return a * x0 + b * (x0 + bend) + c * (x1 - bend) + d * x1, (a + b) * y0 + (c + d) * y1


def _box(pen: ImageDraw.ImageDraw, name: str, layout: GraphLayout, fill: tuple[int, int, int]) -> None:
    """Draw a box with its text, the first line bold."""
    font = load_font()
    left, top, right, bottom = layout.box(name)
    corners = [c * SCALE for c in (left, top, right, bottom)]
    pen.rounded_rectangle(corners, radius=6 * SCALE, fill=fill, outline=EDGE, width=SCALE)
    for index, line in enumerate(layout.lines[name]):
        at = ((left + PADDING_X) * SCALE, (top + PADDING_Y + index * LINE_HEIGHT) * SCALE)
        pen.text(at, line, fill=INK, font=font, stroke_width=0.6 if index == 0 else 0, stroke_fill=INK)


def lineage_picture(lineage: Lineage, path: Path) -> Path:
    """Draw a lineage as a PNG at `path`, which is returned: a box for each artifact with step, kind and counts.

    A training that a fork began from has a box too, with the step of the checkpoint.
    """
    boxes = lineage_boxes(lineage)
    texts = {name: box.lines for name, box in boxes.items()}
    return draw_graph(lineage.reads, texts, {name: box.role for name, box in boxes.items()}, path)
