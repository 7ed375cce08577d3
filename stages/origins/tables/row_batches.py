"""Builds Arrow batches from rows that were read one by one, with a column for the rows that could not be read.

Text columns hold the bytes of the file, which need not be UTF-8: they are judged where they are used. Values of JSON
that are no text become JSON text, and their field says so (`JSON_MARK`), because a type that follows from the first
rows would differ between files; `unite.py` finds the type that all rows of a source have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pyarrow as pa

MALFORMED: Final = "malformed_row"
"""Column of all batches: why a row could not be read, and how it begins; null where it was read."""
JSON_MARK: Final = b"json"
"""Key in the metadata of a field whose values are JSON text; its value lists the kinds of values, as `int,real`."""
BATCH_ROWS: Final = 8192
"""Most rows of a batch."""
BATCH_BYTES: Final = 32 * 1024 * 1024
"""Bytes of a batch from which on it takes no further row."""
SHOWN_CHARS: Final = 200
"""Characters of a malformed row that are kept."""
MAX_INT: Final = 2**63 - 1


def malformed(where: str, why: str, text: bytes | None = None) -> str:
    """What the column `MALFORMED` says of a row: `line 7: 3 fields, the header has 2: a,b,c`."""
    shown = "" if text is None else f": {text[:SHOWN_CHARS].decode(errors='replace')}"
    return f"{where}: {why}{shown}"


def text_array(values: Sequence[bytes | None]) -> pa.Array:
    """Bytes as a column of text, whether they are UTF-8 or not."""
    import pyarrow as pa

    return pa.array(values, pa.binary()).view(pa.string())


def encoded(text: str) -> bytes:
    """Text as bytes: in UTF-8, with the bytes that were no UTF-8 (`surrogateescape`) as they were."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        try:
            return text.encode(errors="surrogateescape")
        except UnicodeEncodeError:
            return text.encode(errors="surrogatepass")


@dataclass
class TextRows:
    """Rows of text fields under a header, collected until they make a batch."""

    header: Sequence[str]
    rows: list[Sequence[bytes | None]] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    num_bytes: int = 0

    def add(self, row: Sequence[bytes], error: str | None = None) -> None:
        """Add a row with a field for each name of the header, or an error in its place."""
        self.rows.append(row if error is None else [None] * len(self.header))
        self.errors.append(error)
        self.num_bytes += sum(map(len, row))

    @property
    def is_full(self) -> bool:
        """Whether it is time to take the batch."""
        return len(self.rows) >= BATCH_ROWS or self.num_bytes >= BATCH_BYTES

    def take(self) -> pa.RecordBatch:
        """The rows so far as a batch; begins anew."""
        import pyarrow as pa

        columns = list(zip(*self.rows, strict=True)) or [()] * len(self.header)
        arrays = [*map(text_array, columns), pa.array(self.errors, pa.string())]
        self.rows, self.errors, self.num_bytes = [], [], 0
        return pa.RecordBatch.from_arrays(arrays, names=[*self.header, MALFORMED])


@dataclass
class JsonRows:
    """JSON objects, collected until they make a batch. A key that a row lacks is null there."""

    rows: list[Mapping[str, Any]] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)
    num_bytes: int = 0

    def add(self, row: object, size_bytes: int, where: str) -> None:
        """Add a row of about `size_bytes`; anything but an object is malformed."""
        if isinstance(row, dict):
            self.rows.append(row)
            self.errors.append(None)
            self.num_bytes += size_bytes
        else:
            shown = json.dumps(row, ensure_ascii=False, default=str).encode(errors="replace")
            self.add_error(malformed(where, "not a JSON object", shown))

    def add_error(self, error: str) -> None:
        """Add an error in the place of a row."""
        self.rows.append({})
        self.errors.append(error)

    @property
    def is_full(self) -> bool:
        """Whether it is time to take the batch."""
        return len(self.rows) >= BATCH_ROWS or self.num_bytes >= BATCH_BYTES

    def take(self) -> pa.RecordBatch:
        """The rows so far as a batch, columns in the order of their first appearance; begins anew."""
        import pyarrow as pa

        names = list(dict.fromkeys(name for row in self.rows for name in row))
        arrays, fields = [], []
        for name in names:
            array, mark = _column([row.get(name) for row in self.rows])
            arrays.append(array)
            fields.append(pa.field(encoded(name).decode(errors="replace"), array.type, metadata=mark))
        arrays.append(pa.array(self.errors, pa.string()))
        fields.append(pa.field(MALFORMED, pa.string()))
        self.rows, self.errors, self.num_bytes = [], [], 0
        return pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields))


def _column(values: Sequence[Any]) -> tuple[pa.Array, dict[bytes, bytes] | None]:
    """A column of JSON values and the metadata of its field: text as it is, all else as JSON text."""
    import pyarrow as pa

    kinds = sorted({_kind(value) for value in values} - {""})
    if not kinds:
        return pa.nulls(len(values)), None
    if kinds == ["text"]:
        return text_array([None if value is None else encoded(value) for value in values]), None
    return text_array([None if value is None else json_text(value) for value in values]), {
        JSON_MARK: ",".join(kinds).encode()
    }


def json_text(value: object) -> bytes:
    """A value as JSON text."""
    return encoded(json.dumps(value, ensure_ascii=False, separators=(",", ":")))


def _kind(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return "text"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int" if -MAX_INT <= value <= MAX_INT else "other"
    return "real" if isinstance(value, float) else "other"
