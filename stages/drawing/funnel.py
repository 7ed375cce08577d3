"""The funnel of a stage: what entered, what went for each reason, and what was kept.

Each row removes from what the row above left. Owns the layout of that picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from stages.drawing.charts import HEAD_PX, draw_head
from stages.drawing.palette import (
    COLOURS,
    DROPPED,
    FAILED,
    FAINT,
    GROUND,
    INK,
    KEPT,
    MARGIN_PX,
    WIDTH_PX,
    as_png,
    share,
)
from stages.drawing.words import drawable, font, shortened, wide_font

ROW_PX: Final = 34
BAR_PX: Final = 22
NAME_PX: Final = 300
"""Room for the names of reasons."""
NUMBERS_PX: Final = 230
"""Room for numbers and shares behind the bars."""
MAX_REASONS: Final = 40
"""Reasons with a row of their own; further ones are summed in one row."""
LEFT_OVER: Final = "#d8e6df"
"""Colour of what a row leaves to the next one."""

ENTERED: Final = "#8fa39b"
"""Colour of all that entered."""


class Removal(NamedTuple):
    """What went for one reason."""

    role: str
    """`dropped` or `failed`."""
    reason: str
    num_items: int


def removals(dropped: Mapping[str, int], failed: Mapping[str, int]) -> list[Removal]:
    """What went, failures first, each by falling number; the rarest of many reasons are summed."""
    rows: list[Removal] = []
    for role, reasons in ((FAILED, failed), (DROPPED, dropped)):
        ordered = sorted(reasons.items(), key=lambda item: (-item[1], item[0]))
        rows += [Removal(role, reason, number) for reason, number in ordered[: MAX_REASONS // 2]]
        if rest := ordered[MAX_REASONS // 2 :]:
            rows.append(Removal(role, f"{len(rest)} further reasons", sum(number for _, number in rest)))
    return rows


def funnel_picture(kept: int, dropped: Mapping[str, int], failed: Mapping[str, int], title: str, note: str) -> bytes:
    """The funnel as PNG."""
    from PIL import Image, ImageDraw

    rows = removals(dropped, failed)
    entered = kept + sum(row.num_items for row in rows)
    sheet = Image.new("RGB", (WIDTH_PX, HEAD_PX + 2 * MARGIN_PX + ROW_PX * (len(rows) + 2)), GROUND)
    canvas = ImageDraw.Draw(sheet)
    draw_head(canvas, title, note)
    x0, x1 = MARGIN_PX + NAME_PX, WIDTH_PX - MARGIN_PX - NUMBERS_PX

    def x_of(number: int) -> float:
        return x0 + (x1 - x0) * number / max(1, entered)

    left = entered
    for number, row in enumerate([Removal("", "entered", entered), *rows, Removal(KEPT, "kept", kept)]):
        y = MARGIN_PX + HEAD_PX + number * ROW_PX
        is_loss = row.role in (DROPPED, FAILED)
        name = shortened(drawable(row.reason), 15, NAME_PX - 16, wide_font)
        canvas.text((x0 - 14, y + BAR_PX // 2), name, font=wide_font(15), fill=INK, anchor="rm")
        if is_loss:
            left -= row.num_items
            canvas.rectangle((x0, y, x_of(left), y + BAR_PX), fill=LEFT_OVER)
            canvas.rectangle(
                (x_of(left), y, max(x_of(left) + 1, x_of(left + row.num_items)), y + BAR_PX), fill=COLOURS[row.role]
            )
        else:
            colour = COLOURS[KEPT] if row.role else ENTERED
            canvas.rectangle((x0, y, max(x0 + 1, x_of(row.num_items)), y + BAR_PX), fill=colour)
        middle = y + BAR_PX // 2
        canvas.text((x1 + 130, middle), f"{row.num_items:,}", font=font(15), fill=INK, anchor="rm")
        canvas.text((x1 + 205, middle), share(row.num_items, entered), font=font(15), fill=FAINT, anchor="rm")
    return as_png(sheet)
