"""Contact sheets: bands of small pictures, or of texts where there is no picture, each with words below it.

Owns the layout of such sheets. The same cells give the same bytes under one version of Pillow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from stages.drawing.charts import HEAD_PX, PixelBox, draw_head
from stages.drawing.palette import COLOURS, FAINT, FRAME, GAP_PX, GRID, GROUND, INK, MARGIN_PX, PAPER, WIDTH_PX, as_png
from stages.drawing.words import drawable, font, shortened, wide_font, wrapped

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Canvas

NUM_COLUMNS: Final = 8
CELL_GAP_PX: Final = 10
CELL_PX: Final = (WIDTH_PX - 2 * MARGIN_PX - (NUM_COLUMNS - 1) * CELL_GAP_PX) // NUM_COLUMNS
"""Width of a cell, and width and height of its picture at most."""
WORD_SIZE_PX: Final = 11
WORD_MARGIN_PX: Final = 7
WORD_LINE_PX: Final = 16
"""Height of a line of text below a picture."""
TEXT_COLUMNS: Final = 4
"""Columns of cells without pictures."""
MAX_TEXT_LINES: Final = 7
"""Lines of text of a cell without a picture, at most."""
TEXT_SIZE_PX: Final = 12
LINE_GAP_PX: Final = 5
NOTE_PX: Final = 14
TEXT_CELL_PX: Final = (WIDTH_PX - 2 * MARGIN_PX - (TEXT_COLUMNS - 1) * CELL_GAP_PX) // TEXT_COLUMNS
"""Width of a cell without a picture."""
TEXT_MARGIN_PX: Final = 10
BAND_HEAD_PX: Final = 34
MAX_SHOWN_PX: Final = 2**26
"""Largest picture that is decoded to be drawn, in pixels."""


class SheetCell(NamedTuple):
    """One item on a sheet."""

    picture: bytes | None
    """The encoded picture; None where there is none to show."""
    text: str
    """Caption or text of the item."""
    notes: tuple[str, ...] = ()
    """A few words of ours in up to two lines, such as its size."""
    trouble: str = ""
    """Why the picture is not shown, where there should be one."""
    better: bytes | None = None
    """The encoded picture of a better item that this one repeats, to be shown beside it."""


class SheetBand(NamedTuple):
    """Items of one reason."""

    heading: str
    """What they have in common."""
    about: str
    """How many there are, behind the heading."""
    cells: Sequence[SheetCell]
    """Some of them."""
    is_wide: bool = False
    """Whether cells have room for a longer text, or for two pictures beside each other."""
    text_lines: int = 2
    """Lines of text below a picture."""

    @property
    def has_pictures(self) -> bool:
        """Whether any cell shows a picture, or should."""
        return any(cell.picture is not None or cell.trouble for cell in self.cells)

    @property
    def num_columns(self) -> int:
        """Cells beside each other."""
        return NUM_COLUMNS if self.has_pictures and not self.is_wide else TEXT_COLUMNS

    @property
    def cell_width(self) -> int:
        """Width of a cell, in pixels."""
        return CELL_PX if self.num_columns == NUM_COLUMNS else TEXT_CELL_PX

    @property
    def num_lines(self) -> int:
        """Lines of text that cells with pictures have room for."""
        room = self.cell_width - 2 * WORD_MARGIN_PX
        needed = (len(_lines(cell.text, WORD_SIZE_PX, room, self.text_lines)) for cell in self.cells)
        return max([1, *needed])

    @property
    def cell_height(self) -> int:
        """Height of a cell, in pixels."""
        if self.has_pictures:
            num_notes = max(len(cell.notes) for cell in self.cells)
            return CELL_PX + self.num_lines * WORD_LINE_PX + max(1, num_notes) * NOTE_PX + 8
        room = TEXT_CELL_PX - 2 * TEXT_MARGIN_PX
        num_lines = max(len(_lines(cell.text, TEXT_SIZE_PX, room, MAX_TEXT_LINES)) for cell in self.cells)
        num_notes = max(len(cell.notes) for cell in self.cells)
        words_px = num_lines * (TEXT_SIZE_PX + LINE_GAP_PX) + num_notes * NOTE_PX
        return words_px + 2 * TEXT_MARGIN_PX + LINE_GAP_PX

    @property
    def height(self) -> int:
        """Height of the band, in pixels."""
        num_rows = -(-len(self.cells) // self.num_columns)
        return BAND_HEAD_PX + num_rows * (self.cell_height + CELL_GAP_PX) + GAP_PX


def sheet_picture(bands: Sequence[SheetBand], role: str, title: str, note: str) -> bytes:
    """The sheet as PNG; `role`, a key of `COLOURS`, is how the items ended."""
    from PIL import Image, ImageDraw

    height = HEAD_PX + 2 * MARGIN_PX + sum(band.height for band in bands)
    sheet = Image.new("RGB", (WIDTH_PX, height), GROUND)
    canvas = ImageDraw.Draw(sheet)
    draw_head(canvas, title, note, (role,))
    top = MARGIN_PX + HEAD_PX
    for band in bands:
        room = WIDTH_PX - 2 * MARGIN_PX - 320
        heading = shortened(drawable(band.heading), 17, room, wide_font)
        canvas.rectangle((MARGIN_PX, top + 1, MARGIN_PX + 5, top + 19), fill=COLOURS[role])
        canvas.text((MARGIN_PX + 14, top + 10), heading, font=wide_font(17), fill=INK, anchor="lm")
        x = MARGIN_PX + 14 + wide_font(17).getlength(heading) + 14
        canvas.text((x, top + 11), band.about, font=font(15), fill=FAINT, anchor="lm")
        draw = partial(_draw_picture_cell, num_lines=band.num_lines) if band.has_pictures else _draw_text_cell
        wide, height = band.cell_width, band.cell_height
        for number, cell in enumerate(band.cells):
            row, column = divmod(number, band.num_columns)
            left = MARGIN_PX + column * (wide + CELL_GAP_PX)
            above = top + BAND_HEAD_PX + row * (height + CELL_GAP_PX)
            draw(sheet, cell, (left, above, left + wide, above + height))
        top += band.height
    return as_png(sheet)


def _draw_picture_cell(sheet: Image, cell: SheetCell, box: PixelBox, num_lines: int) -> None:
    from PIL import ImageDraw

    canvas, (left, top, right, bottom) = ImageDraw.Draw(sheet), box
    canvas.rounded_rectangle(box, radius=6, fill=PAPER, outline=FRAME)
    canvas.rectangle((left + 1, top + 1, right - 1, top + CELL_PX), fill=GRID)
    within = (left + 1, top + 1, right - 1, top + CELL_PX)
    trouble = cell.trouble or ("" if cell.picture is not None else "no picture")
    if cell.picture is not None:
        middle = (left + right) // 2
        own = within if cell.better is None else (left + 1, top + 1, middle - 2, top + CELL_PX)
        trouble = _paste(sheet, cell.picture, own)
        if cell.better is not None:
            canvas.rectangle((middle - 1, top + 1, middle + 1, top + CELL_PX), fill=PAPER)
            _paste(sheet, cell.better, (middle + 2, top + 1, right - 1, top + CELL_PX))
    if trouble:
        within = (left + 8, top + 10, right - 8, top + CELL_PX)
        _write_lines(sheet, trouble, within, size_px=12, num_lines=6, fill=FAINT)
    below = (left + WORD_MARGIN_PX, top + CELL_PX + 3, right - WORD_MARGIN_PX, bottom)
    _write_lines(sheet, cell.text, below, size_px=WORD_SIZE_PX, num_lines=num_lines, fill=INK)
    notes_top = top + CELL_PX + num_lines * WORD_LINE_PX + 5
    _write_notes(canvas, cell.notes, (left + WORD_MARGIN_PX, notes_top), right - left - 2 * WORD_MARGIN_PX)


def _draw_text_cell(sheet: Image, cell: SheetCell, box: PixelBox) -> None:
    from PIL import ImageDraw

    canvas, (left, top, right, bottom) = ImageDraw.Draw(sheet), box
    canvas.rounded_rectangle(box, radius=6, fill=PAPER, outline=FRAME)
    margin = TEXT_MARGIN_PX
    within = (left + margin, top + margin, right - margin, bottom)
    _write_lines(sheet, cell.text, within, size_px=TEXT_SIZE_PX, num_lines=MAX_TEXT_LINES, fill=INK)
    notes_top = bottom - margin - NOTE_PX * len(cell.notes)
    _write_notes(canvas, cell.notes, (left + margin, notes_top), right - left - 2 * margin)


def _write_notes(canvas: Canvas, notes: Sequence[str], corner: tuple[int, int], room_px: int) -> None:
    for number, note in enumerate(notes):
        line = shortened(drawable(note), 11, room_px, wide_font)
        canvas.text((corner[0], corner[1] + NOTE_PX * number), line, font=wide_font(11), fill=FAINT, anchor="lt")


def _write_lines(sheet: Image, text: str, box: PixelBox, *, size_px: int, num_lines: int, fill: str) -> None:
    """Write people's own text in lines; words longer than a line, such as addresses, are broken."""
    from PIL import ImageDraw

    canvas, (left, top, right, _) = ImageDraw.Draw(sheet), box
    for number, line in enumerate(_lines(text, size_px, right - left, num_lines)):
        y = top + number * (size_px + LINE_GAP_PX)
        canvas.text((left, y), line, font=wide_font(size_px), fill=fill, anchor="lt")


def _lines(text: str, size_px: int, room_px: int, num_lines: int) -> list[str]:
    words = " ".join(_broken(word, size_px, room_px) for word in drawable(text).split())
    return list(wrapped(words, size_px, room_px, num_lines, wide_font))


def _broken(word: str, size_px: int, room_px: int) -> str:
    """A word with blanks where a line would be too short for it."""
    face, pieces, piece = wide_font(size_px), [], ""
    for letter in word:
        if piece and face.getlength(piece + letter) > room_px:
            pieces.append(piece)
            piece = ""
        piece += letter
    return " ".join([*pieces, piece])


def _paste(sheet: Image, picture: bytes, box: PixelBox) -> str:
    """Paste a picture into the middle of a box, scaled to fit; returns why it cannot be shown, or ''."""
    from PIL import Image as Images

    from neo_model.inputs.pictures import PictureError, open_picture

    left, top, right, bottom = box
    try:
        image = open_picture(picture, max_pixels_px=MAX_SHOWN_PX)
    except PictureError as error:
        return f"does not decode: {error}"
    scale = min((right - left) / image.width, (bottom - top) / image.height)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    shown = image.resize(size, Images.Resampling.BOX if scale < 0.25 else Images.Resampling.BICUBIC)
    sheet.paste(shown, (left + (right - left - size[0]) // 2, top + (bottom - top - size[1]) // 2))
    return ""
