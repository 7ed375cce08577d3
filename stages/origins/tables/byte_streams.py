"""Byte streams below tables: compression undone, byte order marks taken off, lines cut.

Memory: a line at a time, of at most `MAX_ROW_BYTES`.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
from collections.abc import Iterator
from typing import Any, BinaryIO, Final, cast

from stages.origins.tables.formats import Compression

MAX_ROW_BYTES: Final = 256 * 1024 * 1024
"""Longest row that is read, in bytes; a longer one is no row but a file of another format."""
READ_BYTES: Final = 1024 * 1024
"""Bytes read from a file at once."""
_UTF16_MARKS: Final = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decompressed(file: BinaryIO, compression: Compression) -> BinaryIO:
    """The stream without its compression. Errors of broken streams come while reading, as `OSError` or `EOFError`."""
    if compression == "gzip":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if compression == "bz2":
        return cast(BinaryIO, bz2.BZ2File(file))
    if compression == "xz":
        return cast(BinaryIO, lzma.LZMAFile(file))
    if compression:
        import pyarrow as pa

        return cast(BinaryIO, io.BufferedReader(_Stream(pa.CompressedInputStream(file, compression)), READ_BYTES))
    return file


def text_bytes(file: BinaryIO) -> io.BufferedReader[Any]:
    """The stream as bytes of text: without a byte order mark, and from UTF-16, which only a mark tells, in UTF-8."""
    whole: io.BufferedReader[Any] = io.BufferedReader(_Stream(file), READ_BYTES)
    head = whole.peek(4)[:4]
    if head.startswith(codecs.BOM_UTF8):
        whole.read(len(codecs.BOM_UTF8))
    elif head.startswith(_UTF16_MARKS):
        return io.BufferedReader(_FromUtf16(whole), READ_BYTES)
    return whole


def lines(file: io.BufferedReader[Any]) -> Iterator[tuple[int, bytes | None]]:
    """Number (from 1) and bytes of each line, without its end; None for a line beyond `MAX_ROW_BYTES`.

    Lines end with LF or CR LF; with CR where the first megabyte has no LF.
    """
    head = file.peek(READ_BYTES)
    if b"\n" not in head and b"\r" in head:
        yield from enumerate(_lines_by_cr(file), 1)
        return
    number = 0
    while line := file.readline(MAX_ROW_BYTES):
        number += 1
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            while (rest := file.readline(READ_BYTES)) and not rest.endswith(b"\n"):
                pass
            yield number, None
        else:
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")


def _lines_by_cr(file: io.BufferedReader[Any]) -> Iterator[bytes | None]:
    rest = b""
    while chunk := file.read(READ_BYTES):
        *whole, rest = (rest + chunk).split(b"\r")
        yield from whole
        if len(rest) > MAX_ROW_BYTES:
            yield None
            return
    if rest:
        yield rest


class _Stream(io.RawIOBase):
    """Any object with `read` as a raw stream, for `BufferedReader`. Closing it leaves the object open."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _FromUtf16(io.RawIOBase):
    """UTF-16 as UTF-8. What is no UTF-16 becomes the replacement character."""

    def __init__(self, file: io.BufferedReader[Any]) -> None:
        self._file = file
        self._decoder = codecs.getincrementaldecoder("utf-16")(errors="replace")
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._ready:
            data = self._file.read(READ_BYTES)
            self._ready = self._decoder.decode(data, final=not data).encode()
            if not data:
                break
        taken, self._ready = self._ready[: len(buffer)], self._ready[len(buffer) :]
        buffer[: len(taken)] = taken
        return len(taken)
