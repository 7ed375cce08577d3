"""Plots of metrics over optimizer steps, drawn by matplotlib without a display (its Agg backend).

Called in the delivery thread: matplotlib is imported inside functions, and pyplot, which is not thread-safe, never.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curve: TypeAlias = Sequence[tuple[int, float]]
"""(optimizer step, value), by rising step."""

WIDTH_INCHES, HEIGHT_INCHES, DOTS_PER_INCH = 7.2, 4.0, 200
FONT_POINTS = 8


def draw_curves(curves: Mapping[str, Curve], title: str) -> bytes:
    """The curves by label in one frame, as the bytes of a PNG. NaN and infinite values are left out."""
    encoded = io.BytesIO()
    curve_figure(curves, title).savefig(encoded, format="png")
    return encoded.getvalue()


def curve_figure(curves: Mapping[str, Curve], title: str) -> Figure:
    """The figure of `draw_curves`: a line for each curve, and a legend with each last value."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=FONT_POINTS + 1)
    axes.set_xlabel("step", fontsize=FONT_POINTS)
    axes.tick_params(labelsize=FONT_POINTS)
    axes.grid(visible=True, alpha=0.3)
    for name, curve in curves.items():
        if finite := [(step, value) for step, value in curve if math.isfinite(value)]:
            steps, values = zip(*finite, strict=True)
            axes.plot(steps, values, label=f"{name} {values[-1]:.4g}", marker="o", markersize=4, markevery=[-1])
    if axes.lines:
        figure.legend(loc="outside right upper", fontsize=FONT_POINTS, frameon=False)
    return figure
