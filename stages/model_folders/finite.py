"""Weights that are no number: NaN and infinity, found in the bytes of a weight file.

A single one spreads through every layer behind it, so that all answers and all losses are NaN, hours later and far from
its cause. A weight is not finite where all bits of its exponent are set, in each of the types that are read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from stages.contract import StageError
from stages.surfaces.first_few import first_few

if TYPE_CHECKING:
    from neo_model.weights.headers import TensorEntry

EXPONENTS: Final[Mapping[str, tuple[str, int]]] = {
    "F32": ("<u4", 0x7F80_0000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
}
"""Dtype of safetensors to the whole numbers that its values are read as, and the bits of the exponent in them."""
CHUNK_BYTES: Final = 16 << 20
"""Bytes that are looked at at once."""
_NAMED: Final = 6


def check_finite(file: Path, *, allowed: Sequence[str], what: str) -> None:
    """Raise `StageError` where a weight of the safetensors file is NaN or infinite, except in the tensors `allowed`.

    Reads the file once, from the page cache where it was just written: some 2 GB a second.
    """
    from neo_model.weights.headers import read_header

    with file.open("rb") as opened:
        entries = read_header(opened, file.stat().st_size, file.name)
        counted = {name: _num_non_finite(opened, entry) for name, entry in entries.items() if name not in allowed}
    found = {name: count for name, count in counted.items() if count}
    if found:
        told = [f"{name} ({count:,} of {entries[name].num_values:,})" for name, count in found.items()]
        raise StageError(
            f"{what}: {file.name} holds weights that are NaN or infinite, in {first_few(told, _NAMED)}: all "
            "that such a model computes is NaN. Fetch the file again, or take another checkpoint; where it is meant, "
            "name the tensors in allow_non_finite"
        )


def _num_non_finite(opened: BinaryIO, entry: TensorEntry) -> int:
    """How many values of a tensor are not finite."""
    import numpy as np

    whole_type, exponent = EXPONENTS[entry.dtype]
    opened.seek(entry.begin)
    count, num_left = 0, entry.end - entry.begin
    while num_left and (chunk := opened.read(min(CHUNK_BYTES, num_left))):
        bits = np.frombuffer(chunk, whole_type)
        count += int(np.count_nonzero((bits & exponent) == exponent))
        num_left -= len(chunk)
    return count
