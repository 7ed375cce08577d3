"""Draws what of the pictures an answer looked at: for each picture its average, then a panel for each word.

Owns words, made of tokens, and the drawing. A panel is the picture in grey with a colour on each patch of 32 x 32
pixels: the share of attention that the patch had when the tokens of the word were chosen, as `neo_model.live_chat`
gives it, averaged over the heads of all layers and over the word's tokens. Panels of one kind share one scale, so that
words and pictures can be compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pipelines.asking.media import FilmFile, Medium, PictureFile
from pipelines.exits import BadCommandError
from stages.drawing.palette import FAINT, GROUND, INK, MARGIN_PX, WIDTH_PX, as_png
from stages.drawing.words import drawable, font, shortened, wide_font, wrapped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw as Canvas

    from neo_model.live_chat import WatchedAnswer

Heat: TypeAlias = "NDArray[np.float32]"
"""[rows, columns] shares of attention."""
MAX_WORDS: Final = 18
"""Words that have a panel of their own; of a longer answer, the first ones."""
LARGE_PX: Final = 400
"""Room for the average over a picture, in width and height."""
NUM_COLUMNS: Final = 6
PANEL_GAP_PX: Final = 10
SMALL_PX: Final = (WIDTH_PX - 2 * MARGIN_PX - LARGE_PX - NUM_COLUMNS * PANEL_GAP_PX) // NUM_COLUMNS
"""Room for the panel of a word, in width and height."""
LABEL_PX: Final = 22
HEAD_PX: Final = 104
COLOUR_MAP: Final = "inferno"
"""Colours from none to the largest share; matplotlib's, alike in lightness for every eye."""


@dataclass(frozen=True, kw_only=True)
class AttendedPicture:
    """A picture, and the attention that each token of an answer paid to it."""

    name: str
    pixels: NDArray[np.uint8]
    """[height, width, 3]."""
    heat: Heat
    """[n, rows, columns] for the n tokens."""


def check_drawing(path: Path, *, has_question: bool) -> None:
    """Raises `BadCommandError` where no drawing can be written or nothing would be drawn, before a model is loaded."""
    option = f"--show-attention {path}"
    if not has_question:
        raise BadCommandError(f"{option}: it needs one question, in quotes, without --every", then="neo ask --help")
    if path.suffix.lower() != ".png":
        raise BadCommandError(f"{option}: a PNG is written, so let the name end in .png", then="neo ask --help")
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise BadCommandError(f"{option}: {path.absolute().parent} is no folder to write to", then="neo ask --help")
    is_new = not path.exists() and not path.is_symlink()
    try:
        path.open("ab").close()  # as permissions alone do not tell: root may all, and yet no file is made in /proc
        if is_new:
            path.unlink()
    except OSError as error:
        told = f"{option} cannot be written: {error.strerror or error}"
        raise BadCommandError(told, then="neo ask --help") from error


def check_pictures(media: Sequence[Medium]) -> None:
    """Raises `BadCommandError` unless there are pictures, and pictures alone."""
    films = [medium.path for medium in media if isinstance(medium, FilmFile)]
    if films or not media:
        told = f"{films[0]} is a film" if films else "there is no picture"
        raise BadCommandError(f"--show-attention draws on pictures alone: {told}", then="neo ask --help")


def draw_attention(path: Path, question: str, watched: WatchedAnswer, media: Sequence[Medium]) -> dict[str, Any] | None:
    """Write the drawing of an answer about these pictures; the shares of its words, for a document.

    None, and no drawing, for an answer without words.
    """
    pictures = [
        AttendedPicture(name=medium.path.name, pixels=medium.pixels, heat=heat)
        for medium, heat in zip(media, watched.maps, strict=True)
        if isinstance(medium, PictureFile)
    ]
    words = word_spans(watched.pieces)
    if not words:
        return None
    path.write_bytes(attention_picture(question, watched.pieces, pictures))
    shares = [
        {"word": word, "shares": [round(picture_share(picture, span), 6) for picture in pictures]}
        for word, span in words
    ]
    return {"file": str(path), "words": shares}


def word_spans(pieces: Sequence[str]) -> list[tuple[str, slice]]:
    """The words of an answer and the tokens of each: a word begins where white space ends.

    >>> word_spans(["a", " re", "d", " car"])
    [('a', slice(0, 1, None)), ('red', slice(1, 3, None)), ('car', slice(3, 4, None))]
    """
    starts = [number for number, piece in enumerate(pieces) if number == 0 or piece[:1].isspace()]
    spans = [slice(start, stop) for start, stop in pairwise([*starts, len(pieces)])]
    return [(text, span) for span in spans if (text := "".join(pieces[span]).strip())]


def picture_share(picture: AttendedPicture, span: slice) -> float:
    """How much of the attention of these tokens the picture had, in 0..1."""
    return float(picture.heat[span].sum(axis=(1, 2)).mean())


def attention_picture(question: str, pieces: Sequence[str], pictures: Sequence[AttendedPicture]) -> bytes:
    """The drawing as PNG. Nothing is drawn of an answer without words: raises ValueError."""
    from PIL import Image, ImageDraw

    words = word_spans(pieces)
    if not words:
        raise ValueError("the answer has no words")
    averages = [picture.heat.mean(axis=0) for picture in pictures]
    shown = [[picture.heat[span].mean(axis=0) for _, span in words[:MAX_WORDS]] for picture in pictures]
    most = max(float(heat.max()) for heat in averages)
    most_of_word = max(float(heat.max()) for heats in shown for heat in heats)
    heights = [_band_height(picture, len(shown[0])) for picture in pictures]
    sheet = Image.new("RGB", (WIDTH_PX, HEAD_PX + sum(heights) + MARGIN_PX), GROUND)
    _write_head(ImageDraw.Draw(sheet), question, pieces, _note(most, most_of_word, len(words)))
    top = HEAD_PX
    for picture, average, heats, height in zip(pictures, averages, shown, heights, strict=True):
        label = f"{picture.name}, all words: {picture_share(picture, slice(None)):.1%}"
        _draw_panel(sheet, picture, average / most, corner=(MARGIN_PX, top), room_px=LARGE_PX, label=label)
        pitch = _size(picture, SMALL_PX)[1] + LABEL_PX
        for place, ((word, span), heat) in enumerate(zip(words, heats, strict=False)):
            row, column = divmod(place, NUM_COLUMNS)
            left = MARGIN_PX + LARGE_PX + PANEL_GAP_PX + column * (SMALL_PX + PANEL_GAP_PX)
            label = f"{word} {picture_share(picture, span):.1%}"
            corner = left, top + row * pitch
            _draw_panel(sheet, picture, heat / most_of_word, corner=corner, room_px=SMALL_PX, label=label)
        top += height
    return as_png(sheet)


def heated(pixels: NDArray[np.uint8], heat: Heat, size: tuple[int, int]) -> Image:
    """A picture of this size (width, height) in grey, with `heat` in 0..1 laid over it, patch by patch."""
    import numpy as np
    from matplotlib import colormaps
    from PIL import Image

    grey = np.asarray(Image.fromarray(pixels).convert("L").resize(size), np.float32)[..., None]
    strength = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.NEAREST))
    colour = 255 * colormaps[COLOUR_MAP](np.clip(strength, 0, 1))[..., :3]
    share = 0.35 + 0.4 * np.clip(strength, 0, 1)[..., None]  # the picture stays visible below the warmest patch
    return Image.fromarray((grey * (1 - share) + colour * share).astype(np.uint8))


def _size(picture: AttendedPicture, room_px: int) -> tuple[int, int]:
    """Width and height of a panel in a square room."""
    height, width = picture.pixels.shape[:2]
    scale = room_px / max(height, width)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _band_height(picture: AttendedPicture, num_words: int) -> int:
    """Height of all panels of a picture with the gap below them."""
    num_rows = -(-num_words // NUM_COLUMNS)
    large, small = _size(picture, LARGE_PX)[1], _size(picture, SMALL_PX)[1]
    return max(large + LABEL_PX, num_rows * (small + LABEL_PX)) + 2 * PANEL_GAP_PX


def _draw_panel(
    sheet: Image, picture: AttendedPicture, heat: Heat, *, corner: tuple[int, int], room_px: int, label: str
) -> None:
    from PIL import ImageDraw

    size = _size(picture, room_px)
    sheet.paste(heated(picture.pixels, heat, size), corner)
    line = shortened(drawable(label), 13, room_px, wide_font)
    ImageDraw.Draw(sheet).text((corner[0], corner[1] + size[1] + 16), line, font=wide_font(13), fill=INK, anchor="ls")


def _note(most: float, most_of_word: float, num_words: int) -> str:
    cut = f"; the first {MAX_WORDS} of {num_words} words" if num_words > MAX_WORDS else ""
    return (
        f"Share of attention when each word was chosen, mean of all heads of all layers; percent: of a whole picture. "
        f"Brightest patch: {most:.2%} on the left, {most_of_word:.2%} of a word{cut}."
    )


def _write_head(canvas: Canvas, question: str, pieces: Sequence[str], note: str) -> None:
    room, answer = WIDTH_PX - 2 * MARGIN_PX, "".join(pieces).strip()
    canvas.text((MARGIN_PX, 20), shortened(drawable(question), 17, room, wide_font), font=wide_font(17), fill=FAINT)
    canvas.text((MARGIN_PX, 44), shortened(drawable(answer), 20, room, wide_font), font=wide_font(20), fill=INK)
    (line,) = wrapped(note, 14, room, 1)
    canvas.text((MARGIN_PX, 76), line, font=font(14), fill=FAINT)
