"""The header of a safetensors file: which tensors it holds, of which dtype and shape, and where their bytes lie.

Owns what can be known of weights before they are read: a header is a few hundred kilobytes at the beginning of a file
of gigabytes. A file that is shorter than its header says is noticed here. Imports neither torch nor numpy.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from neo_model.config_fields import shown

MAX_HEADER_BYTES: Final = 100_000_000
"""Largest header that is read, in bytes: the limit of the safetensors library itself."""
LENGTH_BYTES: Final = 8
"""Bytes before the header that hold its length, a little-endian number."""
BYTES_OF_DTYPE: Final = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1}
"""Bytes of one value, for the dtypes whose length is checked."""
DTYPE: Final = re.compile(r"[A-Z0-9_]{1,20}")
"""What the name of a dtype is made of."""
MAX_DIMENSIONS: Final = 8
"""Most dimensions of a tensor; those of a NEO have five at most."""
MAX_NAME_CHARACTERS: Final = 200
"""Longest name of a tensor; those of a NEO have 70 characters at most."""
NAME: Final = re.compile(r"[A-Za-z0-9_.\-]+")
"""What the name of a tensor is made of."""
SHARD_NAME: Final = re.compile(r"[A-Za-z0-9_.\-]{1,200}\.safetensors")
"""What the name of a weight file is made of; it lies beside its index."""


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
        header = json.loads(file.read(num_header), object_pairs_hook=_unrepeated)
        entries = {key: _entry(value, LENGTH_BYTES + num_header) for key, value in header.items() if key[:2] != "__"}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise HeaderError(f"{name} is no safetensors file: its header cannot be read ({shown(str(error))})") from None
    _check_names(entries, name)
    _check_length(entries, LENGTH_BYTES + num_header, size_bytes, name)
    return entries


def _unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object in which no name stands twice: of two tensors of one name, readers take different ones."""
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name stands twice")
    return read


def _entry(described: Mapping[str, Any], data_begin: int) -> TensorEntry:
    begin, end = map(_whole, described["data_offsets"])
    shape = tuple(map(_whole, described["shape"]))
    if begin > end or len(shape) > MAX_DIMENSIONS or not DTYPE.fullmatch(described["dtype"]):
        raise ValueError(f"bytes {begin} to {end} of {len(shape)} dimensions of {shown(described['dtype'])}")
    return TensorEntry(described["dtype"], shape, data_begin + begin, data_begin + end)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**63:
        raise ValueError(f"{value!r} is no whole number of 63 bits")
    return value


def _check_names(entries: Mapping[str, TensorEntry], name: str) -> None:
    """Names of parameters are letters, digits, dots and underscores; others would stand in messages and file names."""
    odd = [key for key in entries if len(key) > MAX_NAME_CHARACTERS or not NAME.fullmatch(key)]
    if odd:
        raise HeaderError(
            f"{name} has {len(odd)} tensors whose names are none of a parameter, such as {shown(odd[0])}: a name has "
            f"up to {MAX_NAME_CHARACTERS} letters, digits, dots, dashes and underscores"
        )


def _check_length(entries: Mapping[str, TensorEntry], data_begin: int, size_bytes: int, name: str) -> None:
    for key, entry in entries.items():
        num_bytes = entry.num_values * BYTES_OF_DTYPE.get(entry.dtype, 0)
        if entry.dtype in BYTES_OF_DTYPE and num_bytes != entry.end - entry.begin:
            raise HeaderError(
                f"{name}: {key} is said to have shape {entry.shape} of {entry.dtype}, {num_bytes:,} bytes, in "
                f"{entry.end - entry.begin:,} bytes of the file"
            )
    expected = data_begin
    for key, entry in sorted(entries.items(), key=lambda one: (one[1].begin, one[1].end)):
        if entry.begin != expected:
            raise HeaderError(
                f"{name}: {key} begins at byte {entry.begin:,}, and the tensor before it ends at {expected:,}: tensors "
                "overlap or leave a gap, which no writer of the format makes"
            )
        expected = entry.end
    if expected != size_bytes:
        cut = "is cut off" if size_bytes < expected else "is longer than its header says"
        raise HeaderError(f"{name} {cut}: it has {size_bytes:,} bytes, its header describes {expected:,}")
