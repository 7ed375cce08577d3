"""The kept rows of the sample tables of an artifact, in table order, found by sample id and by name.

What readers of pairs and of clips share. Verdicts lie in an artifact of their own, with the part names of the one
that it judged, its input `raw`: row i of a verdict table is about the i-th kept row of the same part there. Verdicts
may be about rows that earlier verdicts kept, as those of `dedup_pairs` are about rows that `filter_pairs` kept.

The indexes hold 24 bytes a row for sample ids and 32 for names, and are made when they are first asked for, from those
columns alone: 10M clips take 0.5 GiB, however many frames they have.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import xxhash

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import SAMPLES_FILE, VERDICTS_FILE, KeptClips, KeptPairs
from stages.artifacts.phase_files import read_stretch
from stages.artifacts.records import FileEntry
from stages.formats.sample_table import SAMPLE_ID_BYTES, Verdict, read_table
from stages.store.errors import StoreError
from stages.store.range_stream import buffered_ranges

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

VERDICT_KINDS = (KeptPairs.kind, KeptClips.kind)
"""Kinds that hold verdicts, and no rows of their own."""
JUDGED_INPUT = "raw"
"""The input of an artifact of verdicts whose kept rows they are about."""
NAME_COLUMNS = ("url", "reference")
"""Columns by which pictures and videos are called; tables of downloads have the first alone."""
NUM_CACHED_PARTS = 64
"""Sample tables that a reader keeps in memory, at most: those that it read last."""
CACHED_BYTES = 2**29
"""Size of the sample tables that a reader keeps in memory, at most; the last one stays whatever its size."""
READ_WHOLE_BYTES = 2**22
"""Tables up to this size are read in one request, whatever columns of them are wanted."""
_READ_BYTES = 2**18
"""Least length of one read of a larger table of which some columns are wanted."""


class KeptRows(ABC):
    """Reads the kept rows of `kept`, a raw artifact, or the verdicts on one or on what earlier verdicts kept of it."""

    def __init__(self, kept: Artifact) -> None:
        self.kept = kept
        self._tables: dict[str, pa.Table] = {}

    @property
    @abstractmethod
    def raw(self) -> Artifact:
        """The artifact that holds the sample tables: `kept` itself, or the one whose rows it judges."""

    @cached_property
    def judges(self) -> tuple[Artifact, ...]:
        """The artifacts of verdicts, each about the rows that the one before it kept; () where `kept` is raw."""
        return judges_of(self.kept)

    @property
    def num_kept(self) -> int:
        """Kept rows in all parts."""
        return self.kept.head.items.kept

    @property
    def parts(self) -> list[str]:
        """Names of the parts that hold sample tables, in order."""
        return list(self._kept_tables)

    def table(self, part: str) -> pa.Table:
        """`read_table`, cached: the tables that were read last stay in memory, `NUM_CACHED_PARTS` at most."""
        if part not in self._tables:
            table = self.read_table(part)
            while self._tables and (
                len(self._tables) >= NUM_CACHED_PARTS
                or sum(one.nbytes for one in self._tables.values()) + table.nbytes > CACHED_BYTES
            ):
                self._tables.pop(next(iter(self._tables)))
            self._tables[part] = table
        return self._tables[part]

    def read_table(self, part: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The sample table of one part, kept rows only, with their `position` in the table of `kept`.

        All columns, carried ones included; or those of `columns` that it has, read without the others.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        wanted = None if columns is None else list(dict.fromkeys((*columns, "sample_id", "verdict")))
        samples = _read(self.raw, self._raw_tables[part], wanted)
        for judge, tables in self._verdict_tables:
            samples = samples.filter(pc.equal(samples["verdict"], Verdict.KEPT.value))
            judged = _read(judge, tables[part], ["sample_id", "verdict"])
            if judged["sample_id"] != samples["sample_id"]:
                raise StoreError(f"{judge!r}: part {part} judges other samples than were kept of {self.raw!r} there")
            samples = samples.set_column(samples.column_names.index("verdict"), "verdict", judged["verdict"])
        samples = samples.append_column("position", pa.array(range(samples.num_rows), pa.int32()))
        return samples.filter(pc.equal(samples["verdict"], Verdict.KEPT.value))

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
    def _raw_tables(self) -> dict[str, FileEntry]:
        """Part to its sample table."""
        return _files(self.raw, SAMPLES_FILE)

    @cached_property
    def _kept_tables(self) -> dict[str, FileEntry]:
        """Part to its table of verdicts."""
        return self._verdict_tables[-1][1] if self._verdict_tables else self._raw_tables

    @cached_property
    def _verdict_tables(self) -> list[tuple[Artifact, dict[str, FileEntry]]]:
        """Each of `judges`, with part to its table of verdicts."""
        return [(judge, _files(judge, VERDICTS_FILE)) for judge in self.judges]

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


def judges_of(kept: Artifact) -> tuple[Artifact, ...]:
    """The artifacts of verdicts behind `kept`, the first judge of its raw rows first; () where it is raw itself."""
    judges: list[Artifact] = []
    while kept.head.kind in VERDICT_KINDS:
        judges.insert(0, kept)
        kept = kept.input(JUDGED_INPUT, Artifact)
    return tuple(judges)


def _files(artifact: Artifact, name: str) -> dict[str, FileEntry]:
    """Part to its file of this name, of the parts that have one: those of other phases have others."""
    entries = ((record.part, entry) for record in artifact.parts for entry in record.files if entry.name == name)
    return dict(entries)


def _read(artifact: Artifact, entry: FileEntry, columns: Sequence[str] | None) -> pa.Table:
    """A table of an artifact: all of it, or those of its columns that are named, by range reads where it is large."""
    import pyarrow.parquet as pq

    if columns is None:
        return read_table(artifact.read(entry))
    if entry.size_bytes <= READ_WHOLE_BYTES:
        table = read_table(artifact.read(entry))
        return table.select([name for name in columns if name in table.column_names])
    stream = buffered_ranges(
        entry.size_bytes, lambda start, length: read_stretch(artifact.store, entry.key, start, length), _READ_BYTES
    )
    with stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        return file.read(columns=[name for name in columns if name in file.schema_arrow.names], use_threads=False)


def _name_digest(name: str | None) -> int:
    return xxhash.xxh3_64_intdigest((name or "").encode("utf-8", "surrogatepass"))
