"""Opens the files that a question is about: pictures, by their first bytes, and films, in a process with limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from pipelines.exits import BadCommandError, RefusedError
from stages.video.facts import VideoFacts
from stages.video.faults import VideoError
from stages.video.reader import VideoReader

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_DECODED_PX = 100_000_000
"""Largest picture that is decoded, in pixels."""
NUM_SIGNATURE_BYTES = 512
"""Bytes from the start of a file by which it is taken for a picture."""
FILE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
    | {".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".ogv"}
)
"""How names of pictures and films end: a word that ends so is meant as a file, though there is none."""


@dataclass(frozen=True, kw_only=True)
class PictureFile:
    """A decoded picture."""

    path: Path
    pixels: NDArray[np.uint8]
    """[height, width, 3], upright."""


@dataclass(frozen=True, kw_only=True)
class FilmFile:
    """A video file that can be read."""

    path: Path
    facts: VideoFacts


Medium: TypeAlias = PictureFile | FilmFile
"""What a question may be about."""


def files_and_question(words: Sequence[str]) -> tuple[list[Path], str | None]:
    """What was typed after the model: files, then perhaps a question, the last word where that names no file.

    Raises `BadCommandError` for another word that names no file, and for a last one that ends as files do.
    """
    files = [Path(word).expanduser() for word in words]
    question = None
    if words and not _exists(files[-1]) and not _is_meant_as_file(words[-1]):
        question = words[-1]
        files.pop()
    for file, word in zip(files, words, strict=False):
        if not file.is_file():
            told = "is a folder" if file.is_dir() else "is no file"
            raise BadCommandError(
                f"{word!r} {told}: name pictures and films, then the question in quotes", then="neo ask --help"
            )
    return files, question


def open_medium(path: Path, reader: VideoReader) -> Medium:
    """The picture or film in a file. Raises `RefusedError` for one that cannot be read, with the reason in words."""
    from neo_model.inputs.pictures import PictureError, open_pixels
    from neo_model.inputs.signatures import format_of

    with path.open("rb") as opened:
        start = opened.read(NUM_SIGNATURE_BYTES)
    if format_of(start) is None:
        return FilmFile(path=path, facts=opened_film(path, reader))
    try:
        return PictureFile(
            path=path, pixels=open_pixels(path.read_bytes(), max_pixels_px=MAX_DECODED_PX, colour="srgb")
        )
    except PictureError as error:
        raise RefusedError(f"{path} is no picture that can be read: {error}", then="neo ask --help") from error


def opened_film(path: Path, reader: VideoReader) -> VideoFacts:
    """Open a film in `reader`. Raises `RefusedError`."""
    with reading_film(path):
        return reader.open(path)


@contextmanager
def reading_film(path: Path) -> Iterator[None]:
    """Raises `RefusedError` for a film that cannot be read, or not to its end."""
    try:
        yield
    except VideoError as error:
        raise RefusedError(
            f"{path} is no picture, and no film that can be read: {error}", then="neo ask --help"
        ) from error


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a question may be longer than any name of a file
        return False


def _is_meant_as_file(word: str) -> bool:
    return Path(word).suffix.lower() in FILE_SUFFIXES and (" " not in word or "/" in word)
