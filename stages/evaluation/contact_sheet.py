"""Draws the contact sheet: one PNG with accuracies and blind control on top, and cards of answered questions below.

Owns the layout. The same cards and numbers give the same bytes under one version of Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from stages.evaluation.cards import Card
from stages.evaluation.scoring import kinds_of

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Canvas
    from PIL.ImageFont import FreeTypeFont

PixelBox = tuple[int, int, int, int]
"""Left, top, right and bottom edge, in pixels."""

WIDTH_PX = 1320
MARGIN_PX = 36
GAP_PX = 20
NUM_COLUMNS = 5
CARD_TEXT_PX = 132
"""Height of the text below a card's image."""
BAR_ROW_PX = 34
THUMBNAIL_PX = 42
MAX_SHOWN_PX = 100_000_000
"""Largest image that is decoded for a card, in pixels."""

GROUND, PAPER, FRAME = "#f5f4f0", "#ffffff", "#dcdad2"
INK, FAINT = "#23272e", "#7a7f87"
RIGHT, WRONG, BLIND = "#1f8a4c", "#c8402f", "#a39e8c"


class Text(NamedTuple):
    """Words to be drawn, with their size and colour."""

    words: str
    size_px: int
    colour: str


def contact_sheet(cards: Sequence[Card], numbers: Mapping[str, float], title: str) -> bytes:
    """The sheet as PNG. `numbers` is the result of `stages.evaluation.scoring.metrics`."""
    from PIL import Image, ImageDraw

    head_px = 150 + BAR_ROW_PX * len(kinds_of(numbers))
    side_px = _card_width_px()
    num_rows = -(-len(cards) // NUM_COLUMNS)
    height_px = MARGIN_PX + head_px + num_rows * (side_px + CARD_TEXT_PX + GAP_PX) + MARGIN_PX
    sheet = Image.new("RGB", (WIDTH_PX, height_px), GROUND)
    canvas = ImageDraw.Draw(sheet)
    _draw_title(canvas, numbers, title)
    _draw_bars(canvas, numbers, top=MARGIN_PX + 118)
    for number, card in enumerate(cards):
        row, column = divmod(number, NUM_COLUMNS)
        left = MARGIN_PX + column * (side_px + GAP_PX)
        top = MARGIN_PX + head_px + row * (side_px + CARD_TEXT_PX + GAP_PX)
        _draw_card(sheet, card, (left, top, left + side_px, top + side_px + CARD_TEXT_PX))
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG")
    return encoded.getvalue()


def _card_width_px() -> int:
    return (WIDTH_PX - 2 * MARGIN_PX - (NUM_COLUMNS - 1) * GAP_PX) // NUM_COLUMNS


def _draw_title(canvas: Canvas, numbers: Mapping[str, float], title: str) -> None:
    """Title, accuracies side by side, and a line on how to read the cards."""
    left, top = MARGIN_PX, MARGIN_PX
    canvas.text((left, top), title, font=_font(20), fill=FAINT, anchor="lt")
    _draw_line(canvas, (left, top + 70), accuracy_texts(numbers))
    if "accuracy" not in numbers:
        return
    asked = f"{numbers['num_questions']:,.0f} held-out questions"
    failed = f", {numbers['num_failed']:,.0f} could not be asked" if numbers["num_failed"] else ""
    small = "; small: the image exchanged for it" if "accuracy_blind" in numbers else ""
    legend = f"{asked}{failed}; the cards are taken by sample id, not chosen{small}"
    canvas.text((left, top + 86), legend, font=_font(16), fill=FAINT, anchor="lt")


def accuracy_texts(numbers: Mapping[str, float]) -> list[Text]:
    """The accuracies side by side, or that there are none."""
    if "accuracy" not in numbers:
        return [Text("No question could be answered", 38, WRONG)]
    interval = f"{numbers['accuracy_low']:.3f} to {numbers['accuracy_high']:.3f}"
    texts = [Text(f"{numbers['accuracy']:.3f} right", 38, INK), Text(f"95% interval {interval}", 20, FAINT)]
    if "accuracy_blind" in numbers:
        texts.append(Text(f"{numbers['accuracy_blind']:.3f} with images exchanged", 26, INK))
    return [*texts, Text(f"{numbers['chance']:.3f} by guessing", 20, FAINT)]


def _draw_line(canvas: Canvas, start: tuple[int, int], texts: Sequence[Text]) -> None:
    """Texts one after the other on one baseline, which begins at `start`."""
    x, y = float(start[0]), start[1]
    for text in texts:
        canvas.text((x, y), text.words, font=_font(text.size_px), fill=text.colour, anchor="ls")
        x += _font(text.size_px).getlength(text.words) + 26


def _draw_bars(canvas: Canvas, numbers: Mapping[str, float], top: int) -> None:
    """For each kind a bar of its accuracy with its interval, the blind control below it, and a tick at guessing."""
    left, full_px = MARGIN_PX + 130, 640
    for row, kind in enumerate(kinds_of(numbers)):
        y = top + row * BAR_ROW_PX
        right = numbers[f"accuracy_{kind}"]
        low, high = numbers[f"accuracy_{kind}_low"], numbers[f"accuracy_{kind}_high"]
        blind = numbers.get(f"accuracy_blind_{kind}")
        canvas.text((left - 14, y + 11), _shortened(kind, 16, 116), font=_font(16), fill=INK, anchor="rm")
        canvas.rectangle((left, y, left + full_px, y + 14), fill="#e9e7df")
        canvas.rectangle((left, y, left + round(full_px * right), y + 14), fill=RIGHT)
        canvas.line((left + full_px * low, y + 7, left + full_px * high, y + 7), fill=INK, width=2)
        canvas.rectangle((left, y + 15, left + round(full_px * (blind or 0.0)), y + 21), fill=BLIND)
        chance_x = left + full_px * numbers[f"chance_{kind}"]
        canvas.line((chance_x, y - 2, chance_x, y + 23), fill=WRONG, width=2)
        label = f"{right:.3f}  ({low:.3f} to {high:.3f})"
        label += "" if blind is None else f"   exchanged {blind:.3f}"
        label += f"   guessing {numbers[f'chance_{kind}']:.3f}"
        canvas.text((left + full_px + 18, y + 11), label, font=_font(16), fill=FAINT, anchor="lm")


def _draw_card(sheet: Image, card: Card, box: PixelBox) -> None:
    from PIL import ImageDraw

    left, top, right, bottom = box
    canvas = ImageDraw.Draw(sheet)
    colour = RIGHT if card.correct else WRONG
    canvas.rounded_rectangle(box, radius=10, fill=PAPER, outline=FRAME)
    side_px = right - left - 2
    _paste_images(sheet, card.images, (left + 1, top + 1, left + 1 + side_px, top + 1 + side_px))
    canvas.rectangle((left + 1, top + side_px, right - 1, top + side_px + 4), fill=colour)
    x, y, room_px = left + 14, top + side_px + 16, right - left - 28
    for line in _wrapped(card.question, 16, room_px, num_lines=2):
        canvas.text((x, y), line, font=_font(16), fill=INK, anchor="lt")
        y += 21
    y = top + side_px + 66
    _draw_mark(canvas, (x, y + 2), card.correct)
    canvas.text((x + 28, y), _shortened(card.answer or "(nothing)", 22, room_px - 28), font=_font(22), fill=colour)
    foot = bottom - 14
    if not card.correct:
        canvas.text((x, foot), _shortened(f"truth: {card.truth}", 16, 140), font=_font(16), fill=INK, anchor="ls")
    elif card.blind_answer is not None:
        _paste_images(sheet, card.blind_images, (x, foot - 26, x + THUMBNAIL_PX, foot + 10), margin_px=0)
        label = _shortened(f"then {card.blind_answer}", 14, 110)
        canvas.text((x + THUMBNAIL_PX + 10, foot), label, font=_font(14), fill=FAINT, anchor="ls")
    canvas.text((right - 14, foot), _shortened(card.kind, 14, 80), font=_font(14), fill=FAINT, anchor="rs")


def _paste_images(sheet: Image, images: Sequence[bytes], box: PixelBox, margin_px: int = 8) -> None:
    """Paste images side by side into a box, each scaled to fit."""
    from neo_model.inputs.pictures import open_picture

    left, top, right, bottom = box
    width_px = (right - left) // max(1, len(images))
    for number, data in enumerate(images):
        image = open_picture(data, max_pixels_px=MAX_SHOWN_PX)
        scale = min((width_px - 2 * margin_px) / image.width, (bottom - top - 2 * margin_px) / image.height)
        shown = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
        x = left + number * width_px + (width_px - shown.width) // 2
        sheet.paste(shown, (x, top + (bottom - top - shown.height) // 2))


def _draw_mark(canvas: Canvas, corner: tuple[int, int], correct: bool) -> None:
    """Draw a tick or a cross with lines, because not every font has them."""
    x, y = corner
    if correct:
        canvas.line([(x, y + 11), (x + 7, y + 18), (x + 19, y + 3)], fill=RIGHT, width=4, joint="curve")
    else:
        canvas.line([(x + 1, y + 3), (x + 17, y + 19)], fill=WRONG, width=4)
        canvas.line([(x + 17, y + 3), (x + 1, y + 19)], fill=WRONG, width=4)


def _wrapped(text: str, size_px: int, room_px: int, num_lines: int) -> Iterator[str]:
    """At most `num_lines` lines no wider than `room_px`; the last one is shortened."""
    words = text[: num_lines * room_px].split()
    for line_number in range(num_lines):
        count = len(words)
        while line_number < num_lines - 1 and count > 1 and _font(size_px).getlength(" ".join(words[:count])) > room_px:
            count -= 1
        if words:
            yield _shortened(" ".join(words[:count]), size_px, room_px)
        words = words[count:]


def _shortened(text: str, size_px: int, room_px: int) -> str:
    """The text if it is no wider than `room_px`, else its beginning and three dots."""
    if len(text) <= room_px and _font(size_px).getlength(text) <= room_px:
        return text
    text = text[:room_px]  # no letter is narrower than a pixel, so a very long text is cut before it is measured
    while text and _font(size_px).getlength(text + "...") > room_px:
        text = text[:-1]
    return text + "..."


@lru_cache(maxsize=16)
def _font(size_px: int) -> FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the wheel from PyPI (pip install pillow)")
    return font
