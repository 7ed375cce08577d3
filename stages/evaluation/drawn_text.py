"""Words on a drawing: one font in any size, lines broken and shortened to the room that there is."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont


def wrapped(text: str, size_px: int, room_px: int, num_lines: int) -> Iterator[str]:
    """At most `num_lines` lines no wider than `room_px`; the last one is shortened."""
    words = text[: num_lines * room_px].split()
    for line_number in range(num_lines):
        count = len(words)
        while line_number < num_lines - 1 and count > 1 and font(size_px).getlength(" ".join(words[:count])) > room_px:
            count -= 1
        if words:
            yield shortened(" ".join(words[:count]), size_px, room_px)
        words = words[count:]


def shortened(text: str, size_px: int, room_px: int) -> str:
    """The text if it is no wider than `room_px`, else its beginning and three dots."""
    if len(text) <= room_px and font(size_px).getlength(text) <= room_px:
        return text
    text = text[:room_px]  # no letter is narrower than a pixel, so a very long text is cut before it is measured
    while text and font(size_px).getlength(text + "...") > room_px:
        text = text[:-1]
    return text + "..."


@lru_cache(maxsize=16)
def font(size_px: int) -> FreeTypeFont:
    """Pillow's own font."""
    from PIL import ImageFont

    loaded = ImageFont.load_default(size_px)
    if not isinstance(loaded, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType; install the wheel from PyPI (pip install pillow)")
    return loaded
