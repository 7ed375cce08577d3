"""A scratch file that holds the pictures of a part end to end, in the order in which they arrive.

Pictures arrive in any order and the tar is written in table order; between the two they wait on disk, so that memory
does not grow with the part.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stages.download.judge_picture import JudgedPicture

BUFFER_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpooledPicture:
    """A picture in the spool, with its facts."""

    offset: int
    """First byte of the picture in the spool."""
    size_bytes: int
    sha256: bytes
    width_px: int
    """Width after EXIF orientation."""
    height_px: int
    """Height after EXIF orientation."""
    sent_as: str
    """Format and colour mode of what the server sent, such as `JPEG RGB` or `GIF P`."""


class Spool:
    """Appends pictures to a file; a context manager that closes it. Read the file after that."""

    def __init__(self, path: Path, *, is_continued: bool = False) -> None:
        """Open a new file, or with `is_continued` one that holds pictures already, which stay."""
        self._num_bytes = path.stat().st_size if is_continued else 0
        self._file = path.open("ab" if is_continued else "wb", buffering=BUFFER_BYTES)

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, picture: JudgedPicture) -> SpooledPicture:
        """Append a picture. Raises `OSError` where the disk is full."""
        spooled = SpooledPicture(
            offset=self._num_bytes,
            size_bytes=len(picture.data),
            sha256=hashlib.sha256(picture.data).digest(),
            width_px=picture.width_px,
            height_px=picture.height_px,
            sent_as=picture.sent_as,
        )
        self._num_bytes += self._file.write(picture.data)
        return spooled
