"""GIF taken apart: blocks up to the end of the first image (GIF89a).

Comments, application data and the later images are left out of what is decoded.
"""

from __future__ import annotations

import re
from typing import Final

from neo_model.inputs.containers.container import (
    Container,
    Data,
    EndsEarlyError,
    MalformedError,
    PieceCount,
    TooManyPiecesError,
)

_SCREEN_BYTES: Final = 13
_IMAGE_BYTES: Final = 10
_EXTENSION: Final = 0x21
_IMAGE: Final = 0x2C
_TRAILER: Final = 0x3B
_GRAPHIC_CONTROL: Final = 0xF9
_BLOCK: Final = re.compile(rb"[!,;]")
"""Finds the first byte of a block, or of the end."""


def read_gif(data: Data) -> Container:
    """Take a GIF apart."""
    pieces = PieceCount(data)
    try:
        position = _behind_colours(data, _SCREEN_BYTES, data[10] if len(data) > 10 else 0)
        kept: list[Data] = [data[:position]]
        while True:
            start = _next_block(data, position)
            position = _behind_block(data, start, pieces)
            if data[start] == _IMAGE:
                return Container(format="GIF", pixels=b"".join([*kept, data[start:position], bytes([_TRAILER])]))
            if data[start + 1] == _GRAPHIC_CONTROL and position - start >= 8:  # four bytes of content, or more
                kept.append(data[start:position])
    except EndsEarlyError:
        return Container(format="GIF", pixels=data, is_cut=True)
    except MalformedError:
        return Container(format="GIF", pixels=data)


def num_gif_frames(data: Data) -> int:
    """Images of a GIF up to the first that is not whole; at least 1."""
    count, pieces = 0, PieceCount(data)
    try:
        position = _behind_colours(data, _SCREEN_BYTES, data[10] if len(data) > 10 else 0)
        while True:
            start = _next_block(data, position)
            position = _behind_block(data, start, pieces)
            count += data[start] == _IMAGE
    except (EndsEarlyError, MalformedError, TooManyPiecesError):
        return max(1, count)


def _next_block(data: Data, position: int) -> int:
    """Position of the next extension or image; bytes between blocks are passed over, as Pillow does."""
    found = _BLOCK.search(data, position)
    if found is None:
        raise EndsEarlyError
    if data[found.start()] == _TRAILER:
        raise MalformedError
    return found.start()


def _behind_block(data: Data, position: int, pieces: PieceCount) -> int:
    """The end of the extension or image that begins at `position`."""
    if data[position] == _EXTENSION:
        return _behind_pieces(data, position + 2, pieces)
    if position + _IMAGE_BYTES > len(data):
        raise EndsEarlyError
    behind_colours = _behind_colours(data, position + _IMAGE_BYTES, data[position + 9])
    return _behind_pieces(data, behind_colours + 1, pieces)


def _behind_colours(data: Data, position: int, flags: int) -> int:
    """The end of the colour table that flags announce at `position`; `position` where they announce none."""
    end = position + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    if end > len(data):
        raise EndsEarlyError
    return end


def _behind_pieces(data: Data, position: int, pieces: PieceCount) -> int:
    """The end of pieces of up to 255 bytes, each behind its length; an empty one is the last."""
    while True:
        pieces.take()
        if position >= len(data):
            raise EndsEarlyError
        length = data[position]
        position += 1 + length
        if length == 0:
            return position
