"""A graph as SVG, top to bottom: a box for each name and a line for each edge, readable at the width of a page.

A lineage is far deeper than it is wide, so layers are rows. Text keeps the width that it was measured with
(`textLength`), whatever font a browser takes, and wraps between words: no label is cut. Boxes may be links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from pipelines.lineage.layers import Slot, depths_of, layers_of, untangle
from stages.surfaces.markup import markup_text
from stages.surfaces.visible import visible

if TYPE_CHECKING:
    from PIL import ImageFont

FONT_PX: Final = 13
LINE_PX: Final = 17
BOX_PX: Final = 196
"""Width of a box, unless one word is wider."""
PASSAGE_PX: Final = 12
"""Width of the slot that edges take through a row."""
GAP_X_PX: Final = 14
GAP_Y_PX: Final = 34
MARGIN_PX: Final = 12
PADDING_PX: Final = 8
AFTER_COMMA: Final = re.compile("(?<=,) ")
BOLD: Final = ' class="n"'
FILLS: Final = {
    "source": "#dcf2e2",
    "data": "#e2ecfa",
    "model": "#fde8d4",
    "result": "#f0e2f8",
    "missing": "#fad6d6",
}
"""Colours of boxes by role."""
STYLE: Final = (
    ".graph text{font:13px system-ui,sans-serif;fill:#222831}.graph .n{font-weight:600}.graph rect{stroke:#8c96a5}"
    ".graph path{fill:none;stroke:#8c96a5;stroke-width:1.5}.graph .h{fill:#8c96a5;stroke:none}"
)


@dataclass(frozen=True)
class Box:
    """What one box says."""

    lines: Sequence[str]
    """Lines of text, of which the first is bold."""
    role: str
    """Key of `FILLS`."""
    href: str = ""
    """What the box links to; '' for nothing."""


@dataclass(frozen=True)
class SvgLayout:
    """Where things stand, in pixels."""

    width: float
    height: float
    centres: Mapping[Slot, float]
    """Middle of each slot from the left."""
    tops: Sequence[float]
    """Top of each row."""
    heights: Sequence[float]
    """Height of each row: that of its tallest box."""
    box_width: float


def graph_svg(reads: Mapping[str, Sequence[str]], boxes: Mapping[str, Box]) -> str:
    """The graph as an SVG element that needs nothing else. `reads` has each name with those it reads, inputs first."""
    lines = {name: [part for line in boxes[name].lines for part in wrapped(visible(line))] for name in reads}
    depths = depths_of(reads)
    rows, links = layers_of(reads, depths)
    untangle(rows, links)
    place = lay_out(rows, depths, lines)
    drawn = [*_edges(links, depths, lines, place), *(_box(name, boxes[name], lines, depths, place) for name in reads)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="graph" viewBox="0 0 {place.width:g} {place.height:g}" '
        f'width="{place.width:g}" height="{place.height:g}" role="img"><style>{STYLE}</style>'
        f'<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>{"".join(drawn)}</svg>'
    )


def lay_out(rows: Sequence[Sequence[Slot]], depths: Mapping[str, int], lines: Mapping[str, Sequence[str]]) -> SvgLayout:
    """Places of all slots: each row is centred, and as high as its tallest box."""
    widest = max((text_width(line) for wrapped_lines in lines.values() for line in wrapped_lines), default=0)
    box_width = max(BOX_PX, round(widest) + 2 * PADDING_PX)

    def width(slot: Slot) -> float:
        return (box_width if depths[slot[0]] == slot[1] else PASSAGE_PX) + GAP_X_PX

    whole = max((sum(map(width, row)) for row in rows), default=0)
    centres: dict[Slot, float] = {}
    for row in rows:
        left = MARGIN_PX + (whole - sum(map(width, row))) / 2
        for slot in row:
            centres[slot] = left + width(slot) / 2
            left += width(slot)
    heights = [max((box_height(lines[name]) for name, at in row if depths[name] == at), default=0) for row in rows]
    tops, top = [], float(MARGIN_PX)
    for height in heights:
        tops.append(top)
        top += height + GAP_Y_PX
    return SvgLayout(whole + 2 * MARGIN_PX, top - GAP_Y_PX + MARGIN_PX, centres, tops, heights, box_width)


def box_height(lines: Sequence[str]) -> float:
    """Height of a box with these lines."""
    return len(lines) * LINE_PX + 2 * PADDING_PX


@cache
def _font() -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(FONT_PX)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow is built without FreeType"
    return font


def text_width(text: str) -> float:
    """Width that a line of text is given, in pixels: that of a common font, and a little more."""
    return 1.08 * _font().getlength(text)


def wrapped(text: str) -> Iterator[str]:
    """A text in lines that fit a box, broken after commas, else between words; a longer word stays uncut."""
    most = BOX_PX - 2 * PADDING_PX
    phrases = AFTER_COMMA.split(text)  # "12 parts, 12,000 items" has two: no blank follows the comma of a number
    line = ""
    for word in phrases if all(text_width(one) <= most for one in phrases) else text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and text_width(longer) > most:
            yield line
            longer = word
        line = longer
    yield line


def _box(name: str, box: Box, lines: Mapping[str, Sequence[str]], depths: Mapping[str, int], place: SvgLayout) -> str:
    depth = depths[name]
    left, top = place.centres[name, depth] - place.box_width / 2, place.tops[depth]
    height = box_height(lines[name])
    texts = "".join(
        f'<text{BOLD if number == 0 else ""} x="{left + PADDING_PX:g}" '
        f'y="{top + PADDING_PX + LINE_PX * (number + 0.75):g}" textLength="{text_width(line):.1f}" '
        f'lengthAdjust="spacingAndGlyphs">{markup_text(line)}</text>'
        for number, line in enumerate(lines[name])
        if line
    )
    drawn = (
        f'<rect x="{left:g}" y="{top:g}" width="{place.box_width:g}" height="{height:g}" rx="6" '
        f'style="fill:{FILLS[box.role]}"/>{texts}'
    )
    return f'<a href="{markup_text(box.href)}">{drawn}</a>' if box.href else drawn


def _edges(
    links: Sequence[tuple[Slot, Slot]],
    depths: Mapping[str, int],
    lines: Mapping[str, Sequence[str]],
    place: SvgLayout,
) -> Iterator[str]:
    """Lines from a box, or from the end of a passage, to the next row; with an arrowhead where they end at a box."""
    for source, target in links:
        begins = depths[source[0]] == source[1]
        row = source[1]
        y0 = place.tops[row] + (box_height(lines[source[0]]) if begins else place.heights[row])
        x0, x1, y1 = place.centres[source], place.centres[target], place.tops[target[1]]
        bend = (y1 - y0) / 2
        way = f"M{x0:g} {y0:g}C{x0:g} {y0 + bend:g} {x1:g} {y1 - bend:g} {x1:g} {y1:g}"
        if depths[target[0]] == target[1]:
            yield f'<path d="{way}"/><path class="h" d="M{x1:g} {y1:g}l-4 -7h8z"/>'
        else:
            yield f'<path d="{way}V{y1 + place.heights[target[1]]:g}"/>'
