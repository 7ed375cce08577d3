"""Words on a drawing: fonts in any size, lines broken and shortened to the room that there is, text that can be drawn.

Owns two fonts: Pillow's own, for words of ours in plain English, and DejaVu Sans of matplotlib's package, for text of
people's own in Latin, Greek, Cyrillic, Hebrew or Arabic letters.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

FontOfSize: TypeAlias = "Callable[[int], FreeTypeFont]"
"""A font by the height of its letters, in pixels."""
WIDE_FONT: Final = "mpl-data/fonts/ttf/DejaVuSans.ttf"
"""Where matplotlib's package has the font of people's own text."""
NO_GLYPH: Final = "\N{WHITE VERTICAL RECTANGLE}"
"""Drawn in the place of a letter that the font does not have."""
NONCHARACTER: Final = 0xFFFF
"""A code point that no font has a letter for."""
LINE_BREAKS: Final = "\n\r\t\v\f\N{NEXT LINE}\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"
"""Control characters that separate words; all others are left out."""


@lru_cache(maxsize=16)
def font(size_px: int) -> FreeTypeFont:
    """Pillow's own font."""
    from PIL import ImageFont

    loaded = ImageFont.load_default(size_px)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the wheel from PyPI (pip install pillow)")
    return loaded


@lru_cache(maxsize=16)
def wide_font(size_px: int) -> FreeTypeFont:
    """The font of people's own text; letters stand as they are stored, from left to right, in any script."""
    from PIL import ImageFont

    found = find_spec("matplotlib")
    folders = found.submodule_search_locations if found is not None else None
    for folder in folders or ():
        path = Path(folder) / WIDE_FONT
        if path.is_file():
            return ImageFont.truetype(path, size_px, layout_engine=ImageFont.Layout.BASIC)
    return font(size_px)


def drawable(text: str, max_chars: int = 400) -> str:
    """Text of people's own as it can be drawn on one line: without control, format and combining characters.

    Nothing in it changes the direction of what stands beside it, and no letter is taller than its line. A letter that
    the font lacks, such as a Chinese one, is an empty box.
    """
    composed = unicodedata.normalize("NFC", text[: 4 * max_chars])
    spaced = "".join(" " if char in LINE_BREAKS else char for char in composed)
    kept = (char for char in spaced if unicodedata.category(char)[0] not in "CM")
    return " ".join("".join(kept).split())[:max_chars].translate(_Boxes())


class _Boxes(dict[int, str]):
    """Letter by code point to what is drawn in its place."""

    def __missing__(self, code_point: int) -> str:
        return chr(code_point) if _is_in_font(code_point) else NO_GLYPH


@lru_cache(maxsize=16_384)
def _is_in_font(code_point: int) -> bool:
    if code_point < 0x7F:
        return True
    face = wide_font(12)
    missing, drawn = face.getmask(chr(NONCHARACTER)), face.getmask(chr(code_point))
    return missing.size != drawn.size or bytes(missing) != bytes(drawn)


def wrapped(text: str, size_px: int, room_px: int, num_lines: int, face: FontOfSize = font) -> Iterator[str]:
    """At most `num_lines` lines no wider than `room_px`; the last one is shortened."""
    words = text[: num_lines * room_px].split()
    for line_number in range(num_lines):
        is_last = line_number == num_lines - 1
        count = len(words) if is_last else max(1, _num_that_fit(words, " ", "", room_px, face(size_px)))
        if words:
            yield shortened(" ".join(words[:count]), size_px, room_px, face)
        words = words[count:]


def shortened(text: str, size_px: int, room_px: int, face: FontOfSize = font) -> str:
    """The text if it is no wider than `room_px`, else its beginning and three dots."""
    if len(text) <= room_px and face(size_px).getlength(text) <= room_px:
        return text
    text = text[:room_px]  # no letter is narrower than a pixel, so a very long text is cut before it is measured
    return text[: _num_that_fit(text, "", "...", room_px, face(size_px))] + "..."


def _num_that_fit(pieces: Sequence[str], gap: str, end: str, room_px: int, face: FreeTypeFont) -> int:
    """How many of the first pieces fit with `gap` between them and `end` behind, found by halving.

    Each further piece makes the line wider. Measured one piece after the other, a long document took a second.
    """

    def width_px(num_pieces: int) -> float:
        return face.getlength(gap.join(pieces[:num_pieces]) + end)

    most = min(len(pieces), max(room_px, 0))  # none is narrower than a pixel
    return bisect_right(range(1, most + 1), float(room_px), key=width_px)
