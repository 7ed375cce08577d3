"""Numbers over steps as a picture: the curves that people look at first.

Owns how curves are drawn. The same numbers give the same bytes under one version of Pillow.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw as Canvas

Curve: TypeAlias = Sequence[tuple[int, float]]
"""(step, value), by rising step."""

SCALE = 2
"""Pixels for each unit of length below, so that text is sharp on pages that shrink the picture."""
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 64, 170, 40, 40
FONT = 12
PAPER, INK, GRID = "#ffffff", "#22282f", "#e4e6ea"
COLOURS = ("#1f5fa8", "#c8402f", "#1f8a4c", "#b07812", "#7a3fa0", "#4a8f9b", "#8a5a44", "#70757d")
NUM_TICKS = 5


def draw_curves(curves: Mapping[str, Curve], title: str) -> bytes:
    """The curves in one frame as a PNG, each named beside its end. Values that are not finite are gaps."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE), PAPER)
    canvas = ImageDraw.Draw(image)
    finite = {name: [point for point in curve if math.isfinite(point[1])] for name, curve in curves.items()}
    shown = {name: curve for name, curve in finite.items() if curve}
    _text(canvas, (LEFT, 14), title, INK, "lt")
    if shown:
        frame = _Frame(shown)
        frame.draw(canvas)
        for number, (name, curve) in enumerate(shown.items()):
            colour = COLOURS[number % len(COLOURS)]
            _draw_line(canvas, [frame.place(*point) for point in curve], colour)
            _text(canvas, (WIDTH - RIGHT + 14, TOP + 18 * number), f"{name} {curve[-1][1]:.4g}", colour, "lt")
    encoded = io.BytesIO()
    image.save(encoded, "PNG", optimize=True)
    return encoded.getvalue()


class _Frame:
    """The axes: which place a step and a value have."""

    def __init__(self, curves: Mapping[str, Curve]) -> None:
        steps = [step for curve in curves.values() for step, _ in curve]
        values = [value for curve in curves.values() for _, value in curve]
        self._steps = min(steps), max(*steps, min(steps) + 1)
        self._ticks = list(_ticks(min(values), max(values)))
        self._values = min(self._ticks[0], *values), max(self._ticks[-1], *values)

    def place(self, step: float, value: float) -> tuple[float, float]:
        (first, last), (low, high) = self._steps, self._values
        across, up = (step - first) / (last - first), (value - low) / (high - low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def draw(self, canvas: Canvas) -> None:
        for tick in self._ticks:
            (left, y), (right, _) = self.place(self._steps[0], tick), self.place(self._steps[1], tick)
            canvas.line([left * SCALE, y * SCALE, right * SCALE, y * SCALE], fill=GRID, width=SCALE)
            _text(canvas, (LEFT - 8, y), f"{tick:g}", INK, "rm")
        for step in self._steps:
            x, y = self.place(step, self._values[0])
            _text(canvas, (x, y + 8), f"{step:,}", INK, "mt")
        _text(canvas, ((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 8), "step", INK, "mt")


def _ticks(low: float, high: float) -> Iterator[float]:
    """Round numbers from at most `low` to at least `high`."""
    span = max(high - low, 1e-6 * max(abs(high), 1.0))
    power = 10.0 ** math.floor(math.log10(span / NUM_TICKS))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor * NUM_TICKS >= span)
    first = math.floor(low / step)
    for number in range(first, max(math.ceil(high / step), first + 1) + 1):
        yield float(f"{number * step:.10g}")


def _draw_line(canvas: Canvas, places: Sequence[tuple[float, float]], colour: str) -> None:
    points = [(x * SCALE, y * SCALE) for x, y in places]
    if len(points) > 1:
        canvas.line(points, fill=colour, width=2 * SCALE, joint="curve")
    x, y = points[-1]
    canvas.ellipse((x - 3 * SCALE, y - 3 * SCALE, x + 3 * SCALE, y + 3 * SCALE), fill=colour)


def _text(canvas: Canvas, place: tuple[float, float], words: str, colour: str, anchor: str) -> None:
    from PIL import ImageFont

    font = ImageFont.load_default(FONT * SCALE)
    canvas.text((place[0] * SCALE, place[1] * SCALE), words, font=font, fill=colour, anchor=anchor)
