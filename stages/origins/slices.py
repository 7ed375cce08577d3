"""Tables from outside, cut into parts: fixed slices, and one name for each row that is the same in every run.

A sample id is the first 16 bytes of sha256 over the source's name and the row's own fields (URL and caption, say).
Where the very same row comes again, the repeat takes an ordinal, so that every row has a name of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TypeAlias

from stages.contract import Part
from stages.formats.sample_table import SAMPLE_ID_BYTES

Fields: TypeAlias = Sequence[bytes | None]
"""What names a row, as bytes: text from outside need not be UTF-8."""


def sample_id(source: str, fields: Fields, ordinal: int = 0) -> bytes:
    """The name of a row. Fields are hashed with their lengths, so no two rows spell the same."""
    everything = [source.encode(), *fields, *([str(ordinal).encode()] if ordinal else [])]
    spelled = b"".join(b"-" if field is None else b"%d:%b" % (len(field), field) for field in everything)
    return hashlib.sha256(spelled).digest()[:SAMPLE_ID_BYTES]


def slice_rows(rows: Iterable[Fields], num_rows_per_part: int) -> list[Part]:
    """Parts of so many rows each. A part names those of its rows, by number in the part, that repeat earlier ones."""
    ids = [sample_id("", fields) for fields in rows]
    repeats = _find_repeats(ids)
    parts: list[Part] = []
    for start in range(0, len(ids), num_rows_per_part):
        stop = min(start + num_rows_per_part, len(ids))
        ordinals = {str(row - start): repeats[row] for row in sorted(repeats) if start <= row < stop}
        task = {"start": start, "stop": stop, "repeats": ordinals}
        parts.append(Part(name=f"{len(parts):05d}", task=task, num_items=stop - start))
    return parts


def ordinals_of(part: Part) -> Mapping[int, int]:
    """Row in the part to ordinal (1, 2, ...), for the rows that repeat earlier ones."""
    return {int(row): ordinal for row, ordinal in part.task["repeats"].items()}


def _find_repeats(ids: Sequence[bytes]) -> dict[int, int]:
    """Row number to ordinal of every row whose id stands earlier."""
    import numpy as np

    known = np.array(ids, dtype=f"S{SAMPLE_ID_BYTES}")
    order = np.argsort(known, kind="stable")
    repeats: dict[int, int] = {}
    for before, row in pairwise(order.tolist()):
        if known[before] == known[row]:
            repeats[row] = repeats.get(before, 0) + 1
    return repeats
