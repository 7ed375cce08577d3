"""Draws the contact sheet: one PNG with accuracies and blind control on top, and cards of answered questions below.

Owns the layout. The same cards and numbers give the same bytes under one version of Pillow.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from stages.drawing.words import font, shortened, wrapped
from stages.evaluation.cards import Card
from stages.evaluation.metrics import MEANS, asked_kinds, kinds_of
from stages.evaluation.strips import draw_strip, paste_within, size_of_strip

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Canvas

PixelBox = tuple[int, int, int, int]
"""Left, top, right and bottom edge, in pixels."""

WIDTH_PX = 1320
MARGIN_PX = 36
GAP_PX = 20
NUM_COLUMNS = 5
CARD_MARGIN_PX = 14
CARD_TEXT_PX = 132
"""Height of the text below a card's image."""
BAR_ROW_PX = 34
THUMBNAIL_PX = 42
STRIP_TEXT_PX = 270
"""Width of the text beside the strips of a wide card."""
MIN_WIDE_PX = 196
"""Height of a wide card, at least."""

GROUND, PAPER, FRAME = "#f5f4f0", "#ffffff", "#dcdad2"
INK, FAINT = "#23272e", "#7a7f87"
RIGHT, WRONG, BLIND, SHUFFLED = "#1f8a4c", "#c8402f", "#a39e8c", "#2f6fc8"


class Text(NamedTuple):
    """Words to be drawn, with their size and colour."""

    words: str
    size_px: int
    colour: str


def contact_sheet(cards: Sequence[Card], numbers: Mapping[str, float], title: str) -> bytes:
    """The sheet as PNG. `numbers` is the result of `metrics`, and the scores of a benchmark where it is one."""
    from PIL import Image, ImageDraw

    drawn = bars(numbers)
    head_px = 150 + BAR_ROW_PX * len(drawn)
    boxes = card_boxes(cards, top=MARGIN_PX + head_px)
    bottom = max((box[3] + GAP_PX for box in boxes), default=MARGIN_PX + head_px)
    sheet = Image.new("RGB", (WIDTH_PX, bottom + MARGIN_PX), GROUND)
    canvas = ImageDraw.Draw(sheet)
    _draw_title(canvas, numbers, title)
    _draw_bars(canvas, drawn, top=MARGIN_PX + 118)
    for card, box in zip(cards, boxes, strict=True):
        draw = _draw_wide_card if card.strips else _draw_card
        draw(sheet, card, box)
    encoded = io.BytesIO()
    sheet.save(encoded, "PNG")
    return encoded.getvalue()


def card_boxes(cards: Sequence[Card], top: int) -> list[PixelBox]:
    """Where each card is drawn: narrow cards in columns from `top` on, wide cards below them, each on its own."""
    side_px, height_px = _card_width_px(), _card_width_px() + CARD_TEXT_PX
    boxes: dict[int, PixelBox] = {}
    narrow = [number for number, card in enumerate(cards) if not card.strips]
    for place, number in enumerate(narrow):
        row, column = divmod(place, NUM_COLUMNS)
        left, above = MARGIN_PX + column * (side_px + GAP_PX), top + row * (height_px + GAP_PX)
        boxes[number] = (left, above, left + side_px, above + height_px)
    top += -(-len(narrow) // NUM_COLUMNS) * (height_px + GAP_PX)
    for number, card in enumerate(cards):
        if card.strips:
            height_px = max(MIN_WIDE_PX, _strips_px(card) + 2 * CARD_MARGIN_PX)
            boxes[number] = (MARGIN_PX, top, WIDTH_PX - MARGIN_PX, top + height_px)
            top += height_px + GAP_PX
    return [boxes[number] for number in range(len(cards))]


def _strip_width_px() -> int:
    return WIDTH_PX - 2 * MARGIN_PX - STRIP_TEXT_PX - 3 * CARD_MARGIN_PX


def _strips_px(card: Card) -> int:
    """Height of the strips of a card, in pixels."""
    heights = [size_of_strip(strip, _strip_width_px()).height for strip in card.strips]
    return sum(heights) + CARD_MARGIN_PX * (len(heights) - 1)


def _card_width_px() -> int:
    return (WIDTH_PX - 2 * MARGIN_PX - (NUM_COLUMNS - 1) * GAP_PX) // NUM_COLUMNS


def _draw_title(canvas: Canvas, numbers: Mapping[str, float], title: str) -> None:
    """Title, accuracies side by side, and a line on how to read the cards."""
    left, top = MARGIN_PX, MARGIN_PX
    canvas.text((left, top), title, font=font(20), fill=FAINT, anchor="lt")
    _draw_line(canvas, (left, top + 70), accuracy_texts(numbers))
    canvas.text((left, top + 86), legend(numbers), font=font(16), fill=FAINT, anchor="lt")


def legend(numbers: Mapping[str, float]) -> str:
    """How many questions were asked and how to read the cards; '' where none was answered."""
    means = [mean for mean in ("accuracy", *MEANS) if mean in numbers]
    if not means:
        return ""
    asked = f"{numbers['num_questions']:,.0f} held-out questions"
    failed = f", {numbers['num_failed']:,.0f} could not be asked" if numbers["num_failed"] else ""
    small = "; small: the image exchanged for it" if any(f"{mean}_blind" in numbers for mean in means) else ""
    guessing = "; red: guessing" if "chance" in numbers else ""
    shuffled = "; blue: frames shuffled" if any(f"{mean}_shuffled" in numbers for mean in means) else ""
    return f"{asked}{failed}; the cards are taken by sample id, not chosen{small}{guessing}{shuffled}"


def accuracy_texts(numbers: Mapping[str, float]) -> list[Text]:
    """The accuracies side by side, those of another mean where no answer is right or wrong, or that there are none."""
    mean, called = next(
        ((mean, called) for mean, called in {"accuracy": "right", **MEANS}.items() if mean in numbers), (None, "")
    )
    if mean is None:
        return [Text("No question could be answered", 38, WRONG)]
    interval = f"{numbers[f'{mean}_low']:.3f} to {numbers[f'{mean}_high']:.3f}"
    value = f"{numbers[mean]:.3f}"
    is_marked = mean == "accuracy"
    texts = [Text(f"{value} {called}", 38, INK)] if is_marked else [Text(value, 38, INK), Text(called, 22, INK)]
    texts.append(Text(f"95% interval {interval}", 18, FAINT))
    if f"{mean}_blind" in numbers:
        texts.append(Text(f"{numbers[f'{mean}_blind']:.3f} with images exchanged", 22, INK))
    if f"{mean}_shuffled" in numbers:
        texts.append(Text(f"{numbers[f'{mean}_shuffled']:.3f} with frames shuffled", 18, INK))
    return [*texts, Text(f"{numbers['chance']:.3f} by guessing", 18, FAINT)] if is_marked else texts


def _draw_line(canvas: Canvas, start: tuple[int, int], texts: Sequence[Text]) -> None:
    """Texts one after the other on one baseline, which begins at `start`."""
    x, y = float(start[0]), start[1]
    for text in texts:
        canvas.text((x, y), text.words, font=font(text.size_px), fill=text.colour, anchor="ls")
        x += font(text.size_px).getlength(text.words) + 26


class Bar(NamedTuple):
    """What is drawn of one kind of questions: an accuracy, or another mean of answers that are more or less right."""

    kind: str
    value: float
    interval: tuple[float, float]
    """Its 95% interval."""
    blind: float | None
    shuffled: float | None
    chance: float | None
    """Accuracy of guessing; None for another mean."""
    mean: str = ""
    """What another mean is called; '' for an accuracy."""

    @property
    def label(self) -> str:
        """The numbers in words."""
        between = f"  ({self.interval[0]:.3f} to {self.interval[1]:.3f})"
        measured = f" {self.mean}" if self.mean else ""
        others = (("exchanged", self.blind), ("shuffled", self.shuffled), ("guessing", self.chance))
        told = "".join(f"   {name} {number:.3f}" for name, number in others if number is not None)
        return f"{self.value:.3f}{measured}{between}{told}"


def bars(numbers: Mapping[str, float]) -> list[Bar]:
    """A bar for each kind whose answers are right or wrong, then for each kind of other means, one mean at a time."""
    marked = [_bar(numbers, kind, "accuracy") for kind in kinds_of(numbers)]
    kinds = asked_kinds(numbers)
    return marked + [_bar(numbers, kind, mean) for mean in MEANS for kind in kinds if f"{mean}_{kind}_low" in numbers]


def _bar(numbers: Mapping[str, float], kind: str, mean: str) -> Bar:
    return Bar(
        kind=kind,
        value=numbers[f"{mean}_{kind}"],
        interval=(numbers[f"{mean}_{kind}_low"], numbers[f"{mean}_{kind}_high"]),
        blind=numbers.get(f"{mean}_blind_{kind}"),
        shuffled=numbers.get(f"{mean}_shuffled_{kind}"),
        chance=numbers[f"chance_{kind}"] if mean == "accuracy" else None,
        mean=MEANS.get(mean, ""),
    )


def _draw_bars(canvas: Canvas, drawn: Sequence[Bar], top: int) -> None:
    """For each kind a bar of its accuracy with its interval, the blind control below it, and a tick at guessing."""
    left, full_px = MARGIN_PX + 130, 560
    for row, bar in enumerate(drawn):
        y = top + row * BAR_ROW_PX
        canvas.text((left - 14, y + 11), shortened(bar.kind, 16, 116), font=font(16), fill=INK, anchor="rm")
        canvas.rectangle((left, y, left + full_px, y + 14), fill="#e9e7df")
        canvas.rectangle((left, y, left + round(full_px * bar.value), y + 14), fill=RIGHT)
        low, high = bar.interval
        canvas.line((left + full_px * low, y + 7, left + full_px * high, y + 7), fill=INK, width=2)
        canvas.rectangle((left, y + 15, left + round(full_px * (bar.blind or 0.0)), y + 21), fill=BLIND)
        if bar.shuffled is not None:
            x = left + full_px * bar.shuffled
            canvas.line((x, y + 8, x, y + 23), fill=SHUFFLED, width=3)
        if bar.chance is not None:
            x = left + full_px * bar.chance
            canvas.line((x, y - 2, x, y + 23), fill=WRONG, width=2)
        canvas.text((left + full_px + 18, y + 11), bar.label, font=font(15), fill=FAINT, anchor="lm")


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
    for line in wrapped(card.question, 16, room_px, num_lines=2):
        canvas.text((x, y), line, font=font(16), fill=INK, anchor="lt")
        y += 21
    y = top + side_px + 66
    _draw_mark(canvas, (x, y + 2), card.correct)
    canvas.text((x + 28, y), shortened(card.answer or "(nothing)", 22, room_px - 28), font=font(22), fill=colour)
    foot = bottom - 14
    if not card.correct:
        canvas.text((x, foot), shortened(_truth(card), 16, 126), font=font(16), fill=INK, anchor="ls")
    elif card.blind_answer is not None:
        _paste_images(sheet, card.blind_images, (x, foot - 26, x + THUMBNAIL_PX, foot + 10), margin_px=0)
        label = shortened(f"then {card.blind_answer}", 14, 110)
        canvas.text((x + THUMBNAIL_PX + 10, foot), label, font=font(14), fill=FAINT, anchor="ls")
    canvas.text((right - 14, foot), shortened(card.kind, 14, 80), font=font(14), fill=FAINT, anchor="rs")


def _draw_wide_card(sheet: Image, card: Card, box: PixelBox) -> None:
    """A card of strips: the words on the left, the pictures beside them."""
    from PIL import ImageDraw

    left, top, _, bottom = box
    canvas = ImageDraw.Draw(sheet)
    colour = RIGHT if card.correct else WRONG
    canvas.rounded_rectangle(box, radius=10, fill=PAPER, outline=FRAME)
    canvas.rectangle((left, top + 10, left + 4, bottom - 10), fill=colour)
    x, y = left + CARD_MARGIN_PX + 6, top + CARD_MARGIN_PX + 2
    room_px = STRIP_TEXT_PX - 10
    for line in wrapped(card.question, 16, room_px, num_lines=4):
        canvas.text((x, y), line, font=font(16), fill=INK, anchor="lt")
        y += 21
    _draw_mark(canvas, (x, y + 4), card.correct)
    canvas.text((x + 28, y + 2), shortened(card.answer or "(nothing)", 22, room_px - 28), font=font(22), fill=colour)
    y += 42
    for line in _notes(card):
        canvas.text((x, y), shortened(line, 14, room_px), font=font(14), fill=FAINT, anchor="ls")
        y += 18
    foot = bottom - CARD_MARGIN_PX
    canvas.text((x, foot), shortened(card.kind, 14, room_px // 2), font=font(14), fill=FAINT, anchor="ls")
    if card.blind_answer is not None and card.blind_images:
        edge = left + STRIP_TEXT_PX
        _paste_images(sheet, card.blind_images[:2], (edge - 2 * THUMBNAIL_PX, foot - 30, edge, foot + 4), margin_px=1)
    strip_left, strip_top = left + STRIP_TEXT_PX + 2 * CARD_MARGIN_PX, top + CARD_MARGIN_PX
    for strip in card.strips:
        strip_top += draw_strip(sheet, strip, (strip_left, strip_top), _strip_width_px()) + CARD_MARGIN_PX


def _truth(card: Card) -> str:
    """The right answer, and what the given one scores where it is a number."""
    return f"truth: {card.truth}" if card.score is None else f"truth: {card.truth} ({card.score:.2f})"


def _notes(card: Card) -> list[str]:
    """What is said below the answer of a wide card: the truth where it is another, and the answers of the controls."""
    notes = [] if card.correct else [_truth(card)]
    if card.shuffled_answer is not None:
        notes.append(f"frames in another order: {card.shuffled_answer or '(nothing)'}")
    if card.blind_answer is not None:
        notes.append(f"another film or images: {card.blind_answer or '(nothing)'}")
    return notes


def _paste_images(sheet: Image, images: Sequence[bytes], box: PixelBox, margin_px: int = 8) -> None:
    """Paste images side by side into a box, each scaled to fit."""
    left, top, right, bottom = box
    width_px = (right - left) // max(1, len(images))
    for number, data in enumerate(images):
        x = left + number * width_px
        within = (x + margin_px, top + margin_px, x + width_px - margin_px, bottom - margin_px)
        paste_within(sheet, data, within)


def _draw_mark(canvas: Canvas, corner: tuple[int, int], correct: bool) -> None:
    """Draw a tick or a cross with lines, because not every font has them."""
    x, y = corner
    if correct:
        canvas.line([(x, y + 11), (x + 7, y + 18), (x + 19, y + 3)], fill=RIGHT, width=4, joint="curve")
    else:
        canvas.line([(x + 1, y + 3), (x + 17, y + 19)], fill=WRONG, width=4)
        canvas.line([(x + 17, y + 3), (x + 1, y + 19)], fill=WRONG, width=4)
