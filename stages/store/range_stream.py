"""A file that is read by ranges, as a seekable stream: for readers of Parquet and tars that want a file object."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO, cast


class RangeStream(io.RawIOBase):
    """A file of known size, each read of which is one range read."""

    def __init__(self, size_bytes: int, read_range: Callable[[int, int], bytes]) -> None:
        self._size_bytes = size_bytes
        self._read_range = read_range
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to `offset`, counted as in `io`, at least to the beginning."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = max(0, origin + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer` as far as there are bytes."""
        length = min(len(buffer), self._size_bytes - self._at)
        if length <= 0:
            return 0
        buffer[:length] = self._read_range(self._at, length)
        self._at += length
        return length


def buffered_ranges(size_bytes: int, read_range: Callable[[int, int], bytes], buffer_bytes: int) -> BinaryIO:
    """A file of `size_bytes` as a stream with seeks. `read_range(start, length)` is asked for `buffer_bytes` at least.

    Raises what `read_range` raises.
    """
    return cast("BinaryIO", io.BufferedReader(RangeStream(size_bytes, read_range), buffer_bytes))
