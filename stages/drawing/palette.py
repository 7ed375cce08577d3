"""Colours and measures that all pictures of a stage's work share, and numbers as they are written there."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH_PX: Final = 1320
"""Width of every picture."""
MARGIN_PX: Final = 36
GAP_PX: Final = 18

GROUND, PAPER, FRAME, GRID = "#f5f4f0", "#ffffff", "#dcdad2", "#ecebe5"
INK, FAINT = "#23272e", "#6f747c"
KEPT, DROPPED, FAILED = "kept", "dropped", "failed"
COLOURS: Final = {KEPT: "#2f9374", DROPPED: "#e3a53a", FAILED: "#c8402f"}
"""Colours by how items ended."""
LIMIT: Final = "#2f5fa8"
"""Colour of the limits of a recipe."""


def short_number(number: float) -> str:
    """A number of items in at most six characters: `9,999`, `12.3k`, `390M`."""
    if abs(number) < 10_000:
        return f"{number:,.0f}"
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(number) >= 0.9995 * size:
            scaled = number / size
            return f"{scaled:.0f}{unit}" if scaled >= 100 or scaled == round(scaled) else f"{scaled:.1f}{unit}"
    raise AssertionError("unreachable: the number has a thousand")


def share(part: int, whole: int) -> str:
    """A share in percent, with as many digits as tell it from nothing: `62%`, `3.4%`, `<0.01%`."""
    percent = 100 * part / whole if whole else 0.0
    if part and percent < 0.01:
        return "<0.01%"
    return f"{percent:.0f}%" if percent in (0, 100) or 10 <= percent < 99.5 else f"{percent:.2g}%"


def as_png(picture: Image) -> bytes:
    """A picture as PNG: the same bytes for the same pixels under one version of Pillow."""
    encoded = io.BytesIO()
    picture.save(encoded, "PNG")
    return encoded.getvalue()
