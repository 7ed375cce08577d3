"""The kept rows of the sample tables of an artifact, in table order, found by sample id and by name.

What readers of pairs and of clips share; `judged/kept_tables.py` reads the tables.

The indexes hold 24 bytes a row for sample ids and 32 for names, and are made when they are first asked for, from those
columns alone: 10M clips take 0.5 GiB, however many frames they have.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import xxhash

from stages.formats.judged.kept_tables import KeptTables
from stages.formats.sample_table import SAMPLE_ID_BYTES

if TYPE_CHECKING:
    import numpy as np

NAME_COLUMNS = ("url", "reference")
"""Columns by which pictures and videos are called; tables of downloads have the first alone."""


class KeptRows(KeptTables):
    """Finds kept rows of `kept`, a raw artifact or the verdicts on one."""

    def find(self, sample_id: bytes) -> tuple[str, int] | None:
        """Part and row of `table(part)` that hold a sample; None where there is none."""
        import numpy as np

        ids, order, first_rows = self._ids
        wanted = np.array(sample_id, dtype=ids.dtype)
        at = int(np.searchsorted(ids, wanted, sorter=order))
        if at == len(ids) or ids[order[at]] != wanted:
            return None
        return self._place(int(order[at]), first_rows)

    def sample_ids_of(self, reference: str) -> Iterator[bytes]:
        """The sample ids of the kept rows whose picture or video is called so, in table order, each once.

        That is its URL, or its path or other name in the source where the table has the column `reference`.
        """
        import numpy as np

        digests, order, first_rows = self._names
        wanted = np.uint64(_name_digest(reference))
        at = int(np.searchsorted(digests, wanted, sorter=order))
        last = -1
        while at < len(digests) and digests[order[at]] == wanted:
            number = int(order[at]) // len(NAME_COLUMNS)
            if number != last:
                part, index = self._place(number, first_rows)
                row = self.table(part).slice(index, 1)
                names = [row[name][0].as_py() for name in NAME_COLUMNS if name in row.column_names]
                if reference in names:
                    yield row["sample_id"][0].as_py()
            last = number
            at += 1

    def sample_id_of(self, reference: str) -> bytes | None:
        """The first of `sample_ids_of`, or None."""
        return next(self.sample_ids_of(reference), None)

    def _place(self, row: int, first_rows: np.ndarray) -> tuple[str, int]:
        """Part and row in it of a row that is counted through all parts."""
        import numpy as np

        number = int(np.searchsorted(first_rows, row, side="right")) - 1
        return self.parts[number], row - int(first_rows[number])

    @cached_property
    def _ids(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All sample ids in table order, their sorted order, and the first row of each part."""
        import numpy as np

        columns = [self.read_table(part, ["sample_id"])["sample_id"].combine_chunks() for part in self.parts]
        ids = np.concatenate([np.array(column.to_pylist(), dtype=f"S{SAMPLE_ID_BYTES}") for column in columns])
        first_rows = np.cumsum([0, *(len(column) for column in columns[:-1])])
        return ids, np.argsort(ids, kind="stable"), first_rows

    @cached_property
    def _names(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Digests of the names of all rows, their sorted order, and the first row of each part: 16 bytes a name.

        Row 7 has the digests 14, of its URL, and 15, of its reference, or of its URL again where it has none.
        """
        import numpy as np

        digests: list[np.ndarray] = []
        num_rows = []
        for part in self.parts:
            table = self.read_table(part, NAME_COLUMNS)
            of_column = [
                [_name_digest(value) for value in table[name if name in table.column_names else "url"].to_pylist()]
                for name in NAME_COLUMNS
            ]
            digests.append(np.array(of_column, np.uint64).T.ravel())
            num_rows.append(table.num_rows)
        together = np.concatenate(digests)
        return together, np.argsort(together, kind="stable"), np.cumsum([0, *num_rows[:-1]])


def _name_digest(name: str | None) -> int:
    return xxhash.xxh3_64_intdigest((name or "").encode("utf-8", "surrogatepass"))
