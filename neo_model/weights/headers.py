"""The header of a safetensors file: which tensors it holds, of which dtype and shape, and where their bytes lie.

Owns what can be known of weights before they are read: a header is a few hundred kilobytes at the beginning of a file
of gigabytes. A file that is shorter than its header says is noticed here. Imports neither torch nor numpy.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

MAX_HEADER_BYTES: Final = 100_000_000
"""Largest header that is read, in bytes: the limit of the safetensors library itself."""
LENGTH_BYTES: Final = 8
"""Bytes before the header that hold its length, a little-endian number."""
BYTES_OF_DTYPE: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
"""Bytes of one value, for the dtypes whose length is checked."""


class HeaderError(ValueError):
    """A file that is no whole safetensors file; the message gives the file and what is wrong with it."""


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of a safetensors file, as the header describes it."""

    dtype: str
    """Type of its values as the format spells it: `F32`, `BF16`."""
    shape: tuple[int, ...]
    """Length of each dimension."""
    begin: int
    """First byte of its values, counted from the beginning of the file."""
    end: int
    """Byte after its values, counted from the beginning of the file."""

    @property
    def num_values(self) -> int:
        """Number of its values."""
        return math.prod(self.shape)


def read_header(file: BinaryIO, size_bytes: int, name: str) -> dict[str, TensorEntry]:
    """The tensors of the safetensors file `file`, which has `size_bytes` bytes; `name` stands in errors.

    Reads the header alone. Raises HeaderError where the file is not in the format, or has not the length that its
    header says.
    """
    file.seek(0)
    num_header = int.from_bytes(file.read(LENGTH_BYTES), "little")
    if size_bytes < LENGTH_BYTES + 2 or not 2 <= num_header <= min(MAX_HEADER_BYTES, size_bytes - LENGTH_BYTES):
        raise HeaderError(
            f"{name} is no safetensors file, or is cut off: its first eight bytes say that a header of {num_header:,} "
            f"bytes follows, and the file has {size_bytes:,}"
        )
    try:
        header = json.loads(file.read(num_header))
        entries = {key: _entry(value, LENGTH_BYTES + num_header) for key, value in header.items() if key[:2] != "__"}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise HeaderError(f"{name} is no safetensors file: its header cannot be read ({error})") from None
    _check_length(entries, LENGTH_BYTES + num_header, size_bytes, name)
    return entries


def _entry(described: Mapping[str, Any], data_begin: int) -> TensorEntry:
    begin, end = (int(offset) for offset in described["data_offsets"])
    shape = tuple(int(length) for length in described["shape"])
    if not 0 <= begin <= end or any(length < 0 for length in shape):
        raise ValueError(f"bytes {begin} to {end} of shape {shape}")
    return TensorEntry(str(described["dtype"]), shape, data_begin + begin, data_begin + end)


def _check_length(entries: Mapping[str, TensorEntry], data_begin: int, size_bytes: int, name: str) -> None:
    for key, entry in entries.items():
        num_bytes = entry.num_values * BYTES_OF_DTYPE.get(entry.dtype, 0)
        if entry.dtype in BYTES_OF_DTYPE and num_bytes != entry.end - entry.begin:
            raise HeaderError(
                f"{name}: {key} is said to have shape {entry.shape} of {entry.dtype}, {num_bytes:,} bytes, in "
                f"{entry.end - entry.begin:,} bytes of the file"
            )
    expected = max((entry.end for entry in entries.values()), default=data_begin)
    if expected != size_bytes:
        cut = "is cut off" if size_bytes < expected else "is longer than its header says"
        raise HeaderError(f"{name} {cut}: it has {size_bytes:,} bytes, its header describes {expected:,}")
