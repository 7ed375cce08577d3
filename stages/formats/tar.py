"""Writes WebDataset tars whose bytes are a function of their members alone.

Owns the ustar header: mode 644, owner 0, time 0, equal in every run. Members of a sample are adjacent and keys hold no
dot, because WebDataset readers silently merge keys with dots and split samples whose members are not adjacent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

BLOCK_BYTES = 512
"""Unit of a tar: headers take one block, and members are padded to whole blocks."""
WRITE_BUFFER_BYTES = 1024 * 1024
"""Buffer of an open tar, in bytes."""
MAX_MEMBER_BYTES = 8**11 - 1
"""Largest member, in bytes: eleven octal digits, which is all that a ustar header has."""
MAX_JOINED_BYTES = 16 * 1024
"""Members up to this size are written together with what stands around them, in one call instead of three."""
KEY_PATTERN = re.compile(r"[0-9A-Za-z_-]{1,80}")
"""Keys of samples, such as `000000007`."""
ENDING_PATTERN = re.compile(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8})?")
"""Endings of members, such as `jpg` or `00000.jpg`; with the longest key, a name still fits in 100 bytes."""

_TEMPLATE = bytearray(BLOCK_BYTES)
_TEMPLATE[100:108] = b"0000644\0"
_TEMPLATE[108:116] = _TEMPLATE[116:124] = b"0000000\0"
_TEMPLATE[136:148] = b"00000000000\0"
_TEMPLATE[148:156] = b" " * 8
_TEMPLATE[156:157] = b"0"
_TEMPLATE[257:265] = b"ustar\x0000"
_TEMPLATE_SUM = sum(_TEMPLATE)
"""Checksum of the template with its own field as spaces; a header adds the bytes of name and size."""


class TarWriter:
    """Appends samples to a new tar. Use as a context manager: leaving it writes the end of the archive.

    `watch` is called with all bytes as they are written, headers and padding included, for example to digest them.
    """

    def __init__(self, path: Path, watch: Callable[[bytes], object] = len) -> None:
        self._watch = watch
        self._file = path.open("xb", buffering=WRITE_BUFFER_BYTES)
        self._offset_bytes = 0
        self._last_key = ""

    def __enter__(self) -> TarWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._file.write(bytes(2 * BLOCK_BYTES))
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """Bytes written so far: the offset of the next member's header."""
        return self._offset_bytes

    def add(self, key: str, members: Mapping[str, bytes]) -> dict[str, int]:
        """Write one sample, its members in order of their endings; returns the offset of each member's bytes.

        Keys must rise, which also keeps them unique. Raises `ValueError` naming what cannot be written.
        """
        if not KEY_PATTERN.fullmatch(key) or key <= self._last_key:
            raise ValueError(f"tar key {key!r} must be letters, digits, _ or -, and come after {self._last_key!r}")
        self._last_key = key
        offsets: dict[str, int] = {}
        waiting: list[bytes] = []
        for ending in sorted(members):
            data = members[ending]
            padding_bytes = -len(data) % BLOCK_BYTES
            waiting.append(_header(f"{key}.{ending}", ending, len(data)))
            if len(data) > MAX_JOINED_BYTES:
                self._write(b"".join(waiting))
                self._write(data)
                waiting = []
            else:
                waiting.append(data)
            waiting.append(bytes(padding_bytes))
            offsets[ending] = self._offset_bytes + BLOCK_BYTES
            self._offset_bytes += BLOCK_BYTES + len(data) + padding_bytes
        self._write(b"".join(waiting))
        return offsets

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._watch(data)


def _header(name: str, ending: str, size_bytes: int) -> bytes:
    if not ENDING_PATTERN.fullmatch(ending) or size_bytes > MAX_MEMBER_BYTES:
        raise ValueError(f"tar member {name!r} of {size_bytes} bytes cannot be written; see stages/formats/tar.py")
    encoded, size = name.encode(), b"%011o" % size_bytes
    header = bytearray(_TEMPLATE)
    header[: len(encoded)] = encoded
    header[124:135] = size
    header[148:155] = b"%06o\0" % (_TEMPLATE_SUM + sum(encoded) + sum(size))
    return bytes(header)
