"""The file of a video on this machine: where it lies, or a copy of a remote file or of a member of a tar.

A copy is streamed to scratch, and removed when the next video is asked for; a file on this machine is read in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from stages.contract import PinnedFile
from stages.cutting.listed import VideoFile, VideoOutcome
from stages.cutting.reasons import ClipReason
from stages.origins.files import open_file, open_place

COPY_BYTES: Final = 4 * 2**20
"""Bytes of a video that are in memory while it is copied or digested."""
SHA256_DIGITS: Final = 64


class VideoPlace(NamedTuple):
    """Where a video lies in a source."""

    path: str
    """File of the source: the video itself, or a tar."""
    file_bytes: int
    """Size of the file, by which it is opened."""
    etag: str
    """Entity tag of the file, by which it is opened."""
    sha256: str
    """Digest of the file in hex; "" for a tar, or where it is not known."""
    offset: int | None
    """First byte of a member of a tar; None where the file is the video."""
    size_bytes: int
    """Length of the video."""

    @classmethod
    def of(cls, file: PinnedFile) -> VideoPlace:
        """The place of a video that is a file of its own."""
        return cls(file.path, file.size_bytes, file.etag, file.sha256, None, file.size_bytes)


@contextmanager
def opened_video(place: str, where: VideoPlace, scratch: Path, max_file_bytes: int) -> Iterator[VideoOutcome]:
    """The file of a video of the source at `place`, while the block runs; a copy is removed after it.

    Raises `StageError` where the file is not as it was pinned.
    """
    if where.size_bytes > max_file_bytes:
        yield ClipReason.TOO_MANY_BYTES
        return
    pinned = PinnedFile(path=where.path, size_bytes=where.file_bytes, sha256=where.sha256, etag=where.etag)
    with open_file(place, pinned) as opened:
        local = open_place(place).local_path(where.path)
        if local is not None and where.offset is None:
            yield VideoFile(local, bytes.fromhex(where.sha256) if len(where.sha256) == SHA256_DIGITS else None)
            return
        with copied(opened, where.offset or 0, where.size_bytes, scratch) as outcome:
            yield outcome


@contextmanager
def copied(opened: BinaryIO, offset: int, size_bytes: int, scratch: Path) -> Iterator[VideoFile]:
    """A stretch of an open file as a file of its own, while the block runs. Raises `EOFError` where it ends early."""
    path = scratch / "video"
    try:
        yield VideoFile(path, _copy(opened, offset, size_bytes, path))
    finally:
        path.unlink(missing_ok=True)


def sha256_of(path: Path) -> bytes:
    """The digest of a file, which is read piece by piece."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _copy(opened: BinaryIO, offset: int, size_bytes: int, path: Path) -> bytes:
    digest = hashlib.sha256()
    opened.seek(offset)
    with path.open("wb") as target:
        while size_bytes:
            data = opened.read(min(size_bytes, COPY_BYTES))
            if not data:
                raise EOFError(f"{size_bytes} bytes of a video are missing at its end")
            digest.update(data)
            target.write(data)
            size_bytes -= len(data)
    return digest.digest()
