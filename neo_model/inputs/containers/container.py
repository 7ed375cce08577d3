"""What is taken out of a picture's file. One module of this room for each format makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

Data: TypeAlias = bytes | memoryview
"""An encoded picture."""
MAX_PROFILE_BYTES: Final = 4 * 1024 * 1024
"""Largest colour profile that is read; those of printing presses come to 3 MB. A larger one is taken for broken."""
MIN_PIECES: Final = 50_000
"""Pieces that a file of any size may have."""
BYTES_A_PIECE: Final = 128
"""Bytes of a file for each further piece that it may have. Where programs write many, in GIF, a piece has 256."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """A picture's file, taken apart without decoding a pixel."""

    format: str
    """One of `FORMATS`."""
    pixels: Data
    """A file of the same format with what the pixels of the first frame need and nothing else; the data itself where
    it could not be taken apart, so that the decoder says what is wrong with it; empty where it has too many pieces, so
    that no decoder walks through them."""
    orientation: int = 1
    """EXIF orientation 1 to 8 that is still to be applied to the decoded pixels; 1 where there is none, or a broken
    one."""
    profile: bytes | None = None
    """Embedded ICC profile as it is, broken or not."""
    block_px: int = 0
    """Pixels of the largest block that the decoder takes into memory at once, as its header states it: a tile of a TIFF
    may be larger than the picture. 0 where no block exceeds the picture."""
    is_cut: bool = False
    """Whether the data ends before the first frame does."""


class EndsEarlyError(Exception):
    """The data ends within something that the first frame needs."""


class MalformedError(Exception):
    """The data is not laid out as its format has it."""


class TooManyPiecesError(Exception):
    """The data is cut up as no picture is."""


class PieceCount:
    """Counts the pieces of one file: segments, chunks, blocks, tags. Walking through 20 MB of empty ones takes seconds;
    with a limit in proportion to its bytes, a file takes tenths of a second at most."""

    def __init__(self, data: Data) -> None:
        self._left = MIN_PIECES + len(data) // BYTES_A_PIECE

    def take(self, number: int = 1) -> None:
        """Count further pieces. Raises `TooManyPiecesError`."""
        self._left -= number
        if self._left < 0:
            raise TooManyPiecesError
