"""Strips: pictures in rows, each over its label, as the contact sheet shows the frames of a film and many images.

A film of more than `MAX_DRAWN` frames is drawn by that many of them, the first and the last among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from neo_model.inputs.frame_sampling import spaced_points
from neo_model.inputs.video_text import frame_time
from stages.drawing.words import font, shortened

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_DRAWN: Final = 32
"""Frames of one film that are drawn, at most."""
MAX_SHOWN_PX: Final = 100_000_000
"""Largest picture that is decoded to be drawn, in pixels."""
MAX_CELL_PX: Final = 150
"""Height of a picture in a strip, at most."""
FEW_COLUMNS: Final = 8
"""Pictures in a row, at most, of a strip of up to two such rows."""
MANY_COLUMNS: Final = 11
"""Pictures in a row, at most, of a longer strip."""
LABEL_PX: Final = 18
HEADING_PX: Final = 22
SPACE_PX: Final = 5
LABEL_SIZE_PX: Final = 12
HEADING_SIZE_PX: Final = 14
FAINT: Final = "#7a7f87"


@dataclass(frozen=True, kw_only=True)
class DrawnFilm:
    """The frames of a clip that are drawn, as JPEG files."""

    frames: tuple[bytes, ...]
    times: tuple[float, ...]
    """When each is shown, in seconds after the clip's start."""
    duration_seconds: float
    """Length of the clip."""
    num_frames: int
    """Frames that the model was shown."""

    @property
    def about(self) -> str:
        """Its length and frames in words, such as `film of 00:12.00, 8 frames` or `..., 32 of 128 frames`."""
        drawn = "" if len(self.frames) == self.num_frames else f"{len(self.frames)} of "
        many = "" if self.num_frames == 1 else "s"
        return f"film of {frame_time(self.duration_seconds)}, {drawn}{self.num_frames} frame{many}"


class StripCell(NamedTuple):
    """One picture of a strip."""

    picture: bytes
    """The encoded picture."""
    label: str


class Strip(NamedTuple):
    """Pictures that are drawn in rows, below a heading."""

    heading: str
    """Words above the pictures; "" for none."""
    cells: tuple[StripCell, ...]


class StripSize(NamedTuple):
    """The measures of a strip, in pixels."""

    columns: int
    cell_width: int
    cell_height: int
    height: int
    """Height of the whole strip, heading and labels included."""


def drawn_frames(num_frames: int) -> list[int]:
    """The frames of a film that are drawn, counted from 0: all, or `MAX_DRAWN` from the first to the last."""
    return spaced_points(num_frames, MAX_DRAWN, "ends")


def film_strip(film: DrawnFilm, number: int | None = None) -> Strip:
    """The strip of a film; `number` tells several films of one question apart."""
    which = "" if number is None else f"{number}: "
    cells = [StripCell(frame, frame_time(time)) for frame, time in zip(film.frames, film.times, strict=True)]
    return Strip(which + film.about, tuple(cells))


def strip_size(num_cells: int, aspect: float, width_px: int) -> StripSize:
    """The measures of a strip of so many pictures, of which the first has this aspect ratio, width over height."""
    most = FEW_COLUMNS if num_cells <= 2 * FEW_COLUMNS else MANY_COLUMNS
    columns = max(1, min(num_cells, most))
    widest = (width_px - (columns - 1) * SPACE_PX) // columns
    height = max(1, min(MAX_CELL_PX, round(widest / aspect)))
    width = max(1, min(widest, round(height * aspect)))
    num_rows = -(-num_cells // columns)
    return StripSize(columns, width, height, HEADING_PX + num_rows * (height + LABEL_PX) + (num_rows - 1) * SPACE_PX)


def size_of_strip(strip: Strip, width_px: int) -> StripSize:
    """The measures of a strip, by the shape of its first picture."""
    if not strip.cells:
        return StripSize(1, 1, 1, HEADING_PX)
    first = _opened(strip.cells[0].picture)
    return strip_size(len(strip.cells), first.width / first.height, width_px)


def draw_strip(sheet: Image, strip: Strip, corner: tuple[int, int], width_px: int) -> int:
    """Draw a strip with its upper left corner there; returns its height."""
    from PIL import ImageDraw

    canvas, (left, top) = ImageDraw.Draw(sheet), corner
    size = size_of_strip(strip, width_px)
    heading = shortened(strip.heading, HEADING_SIZE_PX, width_px)
    canvas.text((left, top + 2), heading, font=font(HEADING_SIZE_PX), fill=FAINT, anchor="lt")
    for number, cell in enumerate(strip.cells):
        row, column = divmod(number, size.columns)
        x = left + column * (size.cell_width + SPACE_PX)
        y = top + HEADING_PX + row * (size.cell_height + LABEL_PX + SPACE_PX)
        paste_within(sheet, cell.picture, (x, y, x + size.cell_width, y + size.cell_height))
        middle = x + size.cell_width // 2
        label = shortened(cell.label, LABEL_SIZE_PX, size.cell_width + SPACE_PX)
        canvas.text((middle, y + size.cell_height + 3), label, font=font(LABEL_SIZE_PX), fill=FAINT, anchor="mt")
    return size.height


def paste_within(sheet: Image, picture: bytes, box: tuple[int, int, int, int]) -> None:
    """Paste a picture into the middle of a box (left, top, right, bottom), scaled to fit."""
    left, top, right, bottom = box
    image = _opened(picture)
    scale = min(max(1, right - left) / image.width, max(1, bottom - top) / image.height)
    shown = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))))
    sheet.paste(shown, (left + (right - left - shown.width) // 2, top + (bottom - top - shown.height) // 2))


def _opened(picture: bytes) -> Image:
    from neo_model.inputs.pictures import open_picture

    return open_picture(picture, max_pixels_px=MAX_SHOWN_PX)
