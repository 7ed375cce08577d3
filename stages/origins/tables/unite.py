"""One schema for all files of a source: columns united by name, and batches brought to it.

While files are read, columns of JSON are text of which the kinds of values are known (`JSON_MARK`); `settled` gives
them the type that all values of the source have, once all are known: a number, a boolean, or JSON text.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stages.contract import StageError
from stages.origins.tables.batches import is_json_text
from stages.origins.tables.row_batches import JSON_MARK, json_text, text_array

if TYPE_CHECKING:
    import pyarrow as pa

JSON_TEXT = {JSON_MARK: b"other"}
"""Metadata of a settled field whose values are JSON text."""


@dataclass
class SchemaUnion:
    """The columns of all schemas so far, in the order of their first appearance."""

    fields: dict[str, tuple[str, pa.Field]] = field(default_factory=dict)
    """Name of a column to the file that it was first seen in, and its type so far."""

    def add(self, where: str, schema: pa.Schema) -> None:
        """Add the columns of a schema, which `where` names in errors. Raises `StageError` like `united`."""
        for one in schema:
            if one.name not in self.fields:
                self.fields[one.name] = (where, one)
            elif not one.equals(self.fields[one.name][1], check_metadata=True):
                first, known = self.fields[one.name]
                self.fields[one.name] = (first, _united_field(known, one, first, where))

    @property
    def schema(self) -> pa.Schema:
        """The united schema."""
        import pyarrow as pa

        return pa.schema([one for _, one in self.fields.values()])


def united(schemas: Iterable[tuple[str, pa.Schema]]) -> pa.Schema:
    """The columns of all schemas; each schema comes with a name for errors.

    Whole numbers and reals unite to reals, null to anything. Raises `StageError` where a column has types that do not
    unite, naming the column, both types and both files.
    """
    union = SchemaUnion()
    for where, schema in schemas:
        union.add(where, schema)
    return union.schema


def settled(schema: pa.Schema) -> pa.Schema:
    """The schema with the final types of JSON columns."""
    import pyarrow as pa

    return pa.schema([_settled_field(one) for one in schema])


def conformed(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The columns of `schema`, in its order; null where the table lacks one. `schema` is united from the table's."""
    import pyarrow as pa

    columns = []
    for wanted in schema:
        number = table.schema.get_field_index(wanted.name)
        if number < 0:
            columns.append(pa.nulls(table.num_rows, wanted.type))
        else:
            columns.append(_conformed_column(table.column(number), table.schema.field(number), wanted))
    return pa.Table.from_arrays(columns, schema=schema)


def _united_field(known: pa.Field, other: pa.Field, first: str, where: str) -> pa.Field:
    import pyarrow as pa

    if pa.types.is_null(other.type):
        return known
    if pa.types.is_null(known.type):
        return other
    if all(is_json_text(one) or one.type == pa.string() for one in (known, other)):
        kinds = sorted(_kinds(known) | _kinds(other))
        return pa.field(known.name, pa.string(), metadata=None if kinds == ["text"] else {JSON_MARK: _spelled(kinds)})
    try:
        pair = [pa.schema([_settled_field(one).remove_metadata()]) for one in (known, other)]
        if any(is_json_text(_settled_field(one)) for one in (known, other)):
            raise pa.ArrowTypeError("a nested type")
        return pa.unify_schemas(pair, promote_options="permissive").field(0)
    except pa.ArrowException as error:
        kinds = [_type_name(one) for one in (known, other)]
        raise StageError(
            f"column {known.name!r} is {kinds[0]} in {first} and {kinds[1]} in {where}; give it one type, or make "
            "two sources of them"
        ) from error


def _kinds(one: pa.Field) -> set[str]:
    return set(one.metadata[JSON_MARK].decode().split(",")) if is_json_text(one) else {"text"}


def _spelled(kinds: Iterable[str]) -> bytes:
    return ",".join(kinds).encode()


def _type_name(one: pa.Field) -> str:
    return f"JSON ({', '.join(sorted(_kinds(one)))})" if is_json_text(one) else str(one.type)


def _settled_field(one: pa.Field) -> pa.Field:
    import pyarrow as pa

    if not is_json_text(one):
        return one
    kinds = _kinds(one)
    if kinds == {"bool"}:
        return pa.field(one.name, pa.bool_())
    if kinds <= {"int", "real"}:
        return pa.field(one.name, pa.float64() if "real" in kinds else pa.int64())
    return pa.field(one.name, pa.string(), metadata=JSON_TEXT)


def _conformed_column(column: pa.ChunkedArray, one: pa.Field, target: pa.Field) -> pa.ChunkedArray:
    import pyarrow as pa

    if pa.types.is_null(column.type):
        return pa.nulls(len(column), target.type)
    if is_json_text(target) and not is_json_text(one):
        texts = column.cast(pa.large_binary()).to_pylist()
        spelled = [None if text is None else json_text(text.decode(errors="surrogateescape")) for text in texts]
        return pa.chunked_array([text_array(spelled)])
    return column if column.type == target.type else column.cast(target.type)
