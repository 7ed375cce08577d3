"""Reads the members of a tar one after the other, and notices where a tar is cut off or damaged.

Owns the walk from header to header: old, ustar, GNU (long names) and pax (long names, large sizes). Python's `tarfile`
parses single headers; its walk is not used, because it keeps every member in memory and takes a damaged header for the
end. Nothing but headers is read here, and names are limited, so memory does not grow with the tar.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from stages.formats.tar import BLOCK_BYTES
from stages.importing.reasons import ImportReason

MAX_NAME_BYTES: Final = 1024 * 1024
"""Largest extended header that is read; a larger one counts as damage."""
MAX_END: Final = 2**62
"""Largest offset in a tar; a size that leads behind it counts as damage, as one below zero does."""
MAX_DIGITS: Final = 20
"""Most digits of a number in an extended header."""
SPARSE_FIELDS: Final = b"GNU.sparse."
"""Beginning of the fields by which an extended header says that the member after it is a sparse file."""
LONG_NAME: Final = tarfile.GNUTYPE_LONGNAME
SKIPPED: Final = (tarfile.GNUTYPE_LONGLINK, tarfile.XGLTYPE, tarfile.DIRTYPE)
"""Members that hold no file: names of links, global headers, folders."""
EXTENDED: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)


@dataclass(frozen=True, slots=True)
class TarMember:
    """One member of a tar."""

    name: str
    """Name as the tar has it; bytes that are not UTF-8 are surrogates."""
    header_offset: int
    """First byte of the member's first header: a walk may begin here."""
    offset: int
    """First byte of the member's content."""
    size_bytes: int
    """Length of the content."""
    is_file: bool
    """False for links and sparse files, whose content is somewhere else."""


class TarBrokenError(Exception):
    """A tar that ends, or stops making sense, before its end mark."""

    def __init__(self, reason: ImportReason, offset: int, name: str = "") -> None:
        super().__init__(f"{reason.value} at byte {offset}")
        self.reason = reason
        """`truncated_tar` or `damaged_tar`."""
        self.offset = offset
        """Where the walk ended, in bytes."""
        self.name = name
        """Name of the member whose content is cut off; empty where the break lies between members."""


def tar_members(file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[TarMember]:
    """The members of a tar whose headers lie from byte `start` to before byte `stop`, in order.

    A consumer may call `read_member` before it asks for the next one: the walk seeks, forwards alone. Tars that were
    appended to each other are read to the end of the last. Raises `TarBrokenError` where the tar is cut off or damaged,
    after the members before; without a `stop`, a missing end mark is such a cut.
    """
    at, has_ended = start, False
    while stop is None or at < stop:
        block = _read_at(file, at, BLOCK_BYTES)
        if not block:
            if has_ended:
                return
            raise TarBrokenError(ImportReason.TRUNCATED_TAR, at)
        if block == bytes(BLOCK_BYTES):
            at, has_ended = at + BLOCK_BYTES, True
            continue
        if len(block) < BLOCK_BYTES and (not has_ended or block.strip(b"\0")):
            raise TarBrokenError(ImportReason.TRUNCATED_TAR, at)
        if len(block) < BLOCK_BYTES:
            return
        member, at = _member(file, block, at)
        has_ended = False
        if member is not None:
            yield member


def _member(file: BinaryIO, block: bytes, at: int) -> tuple[TarMember | None, int]:
    """The member whose first header is `block`, and where the next header lies; None for what holds no file."""
    first, said = at, _Extension()
    while True:
        info = _parsed(block, at)
        if info.type not in (LONG_NAME, *EXTENDED):
            break
        said.add(_content(file, at, info), info.type, at)
        at += BLOCK_BYTES + _padded(info.size)
        block = _read_at(file, at, BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise TarBrokenError(ImportReason.TRUNCATED_TAR, at, said.name or "")
    size_bytes = info.size if said.size_bytes is None else said.size_bytes
    if not 0 <= size_bytes <= MAX_END - at:
        raise TarBrokenError(ImportReason.DAMAGED_TAR, at)  # the walk would go backwards, and might never end
    offset, has_content = at + BLOCK_BYTES, info.type not in (tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.DIRTYPE)
    after = offset + (_padded(size_bytes) if has_content else 0)
    if info.type == tarfile.GNUTYPE_SPARSE and block[482]:
        raise TarBrokenError(ImportReason.DAMAGED_TAR, at, info.name)  # further maps follow, of a number not known
    if info.type in SKIPPED:
        return None, after
    is_file = info.type in (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE) and not said.is_sparse
    return TarMember(info.name if said.name is None else said.name, first, offset, size_bytes, is_file), after


def read_member(file: BinaryIO, member: TarMember) -> bytes:
    """The content of a member. Raises `TarBrokenError` where the tar ends inside it."""
    content = _read_at(file, member.offset, member.size_bytes)
    if len(content) < member.size_bytes:
        raise TarBrokenError(ImportReason.TRUNCATED_TAR, member.header_offset, member.name)
    return content


def _parsed(block: bytes, at: int) -> tarfile.TarInfo:
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise TarBrokenError(ImportReason.DAMAGED_TAR, at) from error


def _content(file: BinaryIO, at: int, info: tarfile.TarInfo) -> bytes:
    """The content of an extended header, which holds a long name or other fields of the member after it."""
    if not 0 <= info.size <= MAX_NAME_BYTES:
        raise TarBrokenError(ImportReason.DAMAGED_TAR, at)
    content = _read_at(file, at + BLOCK_BYTES, info.size)
    if len(content) < info.size:
        raise TarBrokenError(ImportReason.TRUNCATED_TAR, at)
    return content


@dataclass(slots=True)
class _Extension:
    """What extended headers say of the member after them."""

    name: str | None = None
    size_bytes: int | None = None
    is_sparse: bool = False

    def add(self, content: bytes, kind: bytes, at: int) -> None:
        """Take the content of the extended header at byte `at`.

        A pax header is a list of records `LENGTH KEY=VALUE\n`, the length being that of the whole record.
        """
        if kind == LONG_NAME:
            self.name = _name(content.split(b"\0")[0])
            return
        fields: dict[bytes, bytes] = {}
        while content.strip(b"\0"):
            length, _, rest = content.partition(b" ")
            if not 0 < _number(length, at) <= len(content):
                raise TarBrokenError(ImportReason.DAMAGED_TAR, at)
            key, _, value = rest[: int(length) - len(length) - 2].partition(b"=")
            fields[key] = value
            content = content[int(length) :]
        if b"size" in fields:
            self.size_bytes = _number(fields[b"size"], at)
        self.is_sparse = self.is_sparse or any(key.startswith(SPARSE_FIELDS) for key in fields)
        name = fields.get(SPARSE_FIELDS + b"name", fields.get(b"path"))
        self.name = self.name if name is None else _name(name)


def _name(spelled: bytes) -> str:
    return spelled.decode("utf-8", "surrogateescape")


def _number(spelled: bytes, at: int) -> int:
    """A decimal number of the extended header at byte `at`."""
    if not spelled.isdigit() or len(spelled) > MAX_DIGITS:
        raise TarBrokenError(ImportReason.DAMAGED_TAR, at)
    return int(spelled)


def _read_at(file: BinaryIO, offset: int, size_bytes: int) -> bytes:
    """Up to `size_bytes` bytes from `offset` on. Raises `TarBrokenError` where gzip is cut off or damaged."""
    try:
        file.seek(offset)
        return file.read(size_bytes)
    except EOFError as error:
        raise TarBrokenError(ImportReason.TRUNCATED_TAR, offset) from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise TarBrokenError(ImportReason.DAMAGED_TAR, offset) from error


def _padded(size_bytes: int) -> int:
    return size_bytes + -size_bytes % BLOCK_BYTES
