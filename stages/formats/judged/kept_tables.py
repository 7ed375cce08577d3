"""The kept rows of the sample tables of an artifact, in table order, with what verdicts say of them.

Verdicts lie in an artifact of their own, with the part names of the artifact that was judged, which is its input `raw`:
the raw artifact, or verdicts on it again, in a chain of any length. Row i of a verdict table is about the i-th kept row
of the judged artifact in the same part.

A part of verdicts may have a table `columns.parquet` too, row by row as its verdicts: captions, scores or texts that
stand in place of those of the judged rows, where they are not null, or that the judged rows do not have.

A part is read whole: memory grows with its rows, and by one more table for each artifact of the chain, not with the
number of parts.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Self

from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import COLUMNS_FILE, SAMPLES_FILE, VERDICTS_FILE
from stages.artifacts.phase_files import read_stretch
from stages.artifacts.records import FileEntry
from stages.artifacts.taken_over import JUDGED_INPUT
from stages.contract import Part
from stages.formats.judged.given_columns import with_given
from stages.formats.sample_table import Verdict, read_table
from stages.store.errors import StoreError
from stages.store.range_stream import buffered_ranges

if TYPE_CHECKING:
    import pyarrow as pa

NUM_CACHED_PARTS = 64
"""Sample tables that a reader keeps in memory, at most: those that it read last."""
CACHED_BYTES = 2**29
"""Size of the sample tables that a reader keeps in memory, at most; the last one stays whatever its size."""
READ_WHOLE_BYTES = 2**22
"""Tables up to this size are read in one request, whatever columns of them are wanted."""
_READ_BYTES = 2**18
"""Least length of one read of a larger table of which some columns are wanted."""


class KeptTables(ABC):
    """Reads the kept rows of `kept`, a raw artifact or the verdicts on one."""

    raw_kind: ClassVar[type[Artifact]]
    """Kind of the artifact that holds the sample tables."""
    kept_kind: ClassVar[type[Artifact]]
    """Kind of the verdicts on it."""
    raw_file: ClassVar[str] = SAMPLES_FILE
    """Name of its sample tables."""

    def __init__(self, kept: Artifact) -> None:
        self.kept = kept
        self._tables: dict[str, pa.Table] = {}

    @property
    @abstractmethod
    def raw(self) -> Artifact:
        """The artifact that holds the sample tables: `kept` itself, or the one at the end of the chain of verdicts."""

    @cached_property
    def judged(self) -> Self | None:
        """Reads the rows that `kept` judges; None where it is a raw artifact, which judges none."""
        if self.kept.head.kind == self.raw_kind.kind:
            return None
        judged = self.kept.input(JUDGED_INPUT, Artifact)
        is_raw = judged.head.kind != self.kept_kind.kind
        return type(self)(judged.as_kind(self.raw_kind if is_raw else self.kept_kind))

    @property
    def judges(self) -> tuple[Artifact, ...]:
        """The artifacts of verdicts, each about the rows that the one before it kept; () where `kept` is raw."""
        return () if self.judged is None else (*self.judged.judges, self.kept)

    @property
    def num_kept(self) -> int:
        """Kept rows in all parts."""
        return self.kept.head.items.kept

    @property
    def parts(self) -> list[str]:
        """Names of the parts that hold sample tables, in order."""
        return list(self._kept_tables)

    @property
    def parts_to_judge(self) -> list[Part]:
        """A part for each part of `kept` with its number of kept rows: what a stage that judges them spreads over."""
        tables = set(self._kept_tables.values())
        holding = (record for record in self.kept.parts if not tables.isdisjoint(record.files))
        return [Part(name=record.part, num_items=record.items.kept) for record in holding]

    @cached_property
    def column_names(self) -> list[str]:
        """The columns of the rows, by the footers of the tables of the first part; [] where there is none."""
        names = [] if self.judged is None else self.judged.column_names
        tables = self._kept_tables if self.judged is None else self._given_tables
        for entry in [*tables.values()][:1]:
            names = list(dict.fromkeys((*names, *_names_in(self.kept, entry))))
        return names

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
        judged = None if self.judged is None else self.judged.read_table(part, columns).drop_columns(["position"])
        rows = (
            _read(self.kept, self._kept_tables[part], wanted) if judged is None else self._with_verdicts(part, judged)
        )
        rows = rows.append_column("position", pa.array(range(rows.num_rows), pa.int32()))
        is_kept = pc.equal(rows["verdict"], Verdict.KEPT.value)
        if part not in self._given_tables:
            return rows.filter(is_kept)
        given = _read(self.kept, self._given_tables[part], wanted)
        if given.column_names and given.num_rows != rows.num_rows:
            raise StoreError(f"{self.kept!r}: part {part} gives columns to {given.num_rows} of {rows.num_rows} rows")
        return with_given(rows.filter(is_kept), given.filter(is_kept)) if given.column_names else rows.filter(is_kept)

    def _with_verdicts(self, part: str, judged: pa.Table) -> pa.Table:
        """The rows that a part of verdicts is about, with these verdicts."""
        verdicts = _read(self.kept, self._kept_tables[part], ["sample_id", "verdict"])
        if verdicts["sample_id"] != judged["sample_id"]:
            raise StoreError(f"{self.kept!r}: part {part} judges other samples than its input {JUDGED_INPUT!r} kept")
        return judged.set_column(judged.column_names.index("verdict"), "verdict", verdicts["verdict"])

    @cached_property
    def _kept_tables(self) -> dict[str, FileEntry]:
        """Part to its sample table, or its table of verdicts."""
        return _files(self.kept, self.raw_file if self.judged is None else VERDICTS_FILE)

    @cached_property
    def _given_tables(self) -> dict[str, FileEntry]:
        """Part of verdicts to the columns that it gives the rows; of those that have any."""
        return {} if self.judged is None else _files(self.kept, COLUMNS_FILE)


def _files(artifact: Artifact, name: str) -> dict[str, FileEntry]:
    """Part to its file of this name, of the parts that have one: those of other phases have others."""
    entries = ((record.part, entry) for record in artifact.parts for entry in record.files if entry.name == name)
    return dict(entries)


def _names_in(artifact: Artifact, entry: FileEntry) -> list[str]:
    """The columns of a table, by its footer."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(artifact.open(entry), pre_buffer=False) as file:
        names: list[str] = file.schema_arrow.names
    return names


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
