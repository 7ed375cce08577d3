"""Cuts a table that is held whole into parts: what `stages/origins/row_parts.py` must do with a table of any length."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from stages.contract import Part, PartTask
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.origins.sample_id import Fields, sample_id


class RowSlice(PartTask):
    """The task of a part: which rows of the table it reads."""

    start: int
    """First row, counted in the whole table."""
    stop: int
    """Row after the last."""
    repeats: dict[int, int]
    """Row in this slice (0 is `start`) to ordinal, for rows whose fields stand in an earlier row of the table."""


def slice_rows(rows: Iterable[Fields], num_rows_per_part: int) -> list[Part]:
    """Parts of `num_rows_per_part` consecutive rows, the last one shorter; each part's task is a `RowSlice`."""
    ids = [sample_id("", fields) for fields in rows]
    repeats = _find_repeats(ids)
    parts: list[Part] = []
    for start in range(0, len(ids), num_rows_per_part):
        stop = min(start + num_rows_per_part, len(ids))
        ordinals = {row - start: repeats[row] for row in sorted(repeats) if start <= row < stop}
        task = RowSlice(start=start, stop=stop, repeats=ordinals).dump()
        parts.append(Part(name=f"{len(parts):05d}", task=task, num_items=stop - start))
    return parts


def _find_repeats(ids: Sequence[bytes]) -> dict[int, int]:
    """Row to ordinal (1, 2, ...) of each row whose id stands in an earlier row.

    A stable sort brings equal ids together in table order: ids [x, y, x, x] sort to rows 0, 2, 3, 1, so row 2 gets
    ordinal 1 and row 3 ordinal 2.
    """
    import numpy as np

    # numpy drops trailing zero bytes of an `S` value when it compares; all ids have 16 bytes, so none are confused.
    known = np.array(ids, dtype=f"S{SAMPLE_ID_BYTES}")
    order = np.argsort(known, kind="stable")
    repeats: dict[int, int] = {}
    for before, row in pairwise(order.tolist()):
        if known[before] == known[row]:
            repeats[row] = repeats.get(before, 0) + 1
    return repeats
