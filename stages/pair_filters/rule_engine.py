"""Evaluates expressions of SQL over the columns of one table, by DuckDB, and nothing else that DuckDB can do.

An expression holds columns, constants, operators, CASE, casts, and functions whose result follows from their arguments
alone. It cannot read a file or a setting, ask for the time, draw a random number, look at other rows or at another
table: its tree is looked at before it is run, and the engine has no way out of its memory. One thread, so that nothing
depends on the machine.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from stages.contract import StageError
from stages.origins.columns import listed_names

if TYPE_CHECKING:
    import pyarrow as pa

TABLE: Final = "samples"
"""Name of the table in expressions, which nobody needs to write."""
MAX_EXPRESSION_CHARS: Final = 10_000
"""Longest expression, in characters."""
NODE_CLASSES: Final = frozenset(
    ("BETWEEN", "CASE", "CAST", "COLLATE", "COLUMN_REF", "COMPARISON", "CONJUNCTION", "CONSTANT", "FUNCTION")
) | {"OPERATOR", "TYPE"}
"""Kinds of nodes that the tree of an expression may have, as DuckDB calls them."""
MACROS: Final = frozenset(("if", "nullif", "split_part", "fdiv", "fmod", "array_to_string"))
"""Functions that DuckDB defines by others, and that follow from their arguments alone."""
SETTINGS: Final[Mapping[str, str]] = {
    "threads": "1",
    "memory_limit": "2GB",
    "temp_directory": "",
    "TimeZone": "UTC",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "enable_external_access": "false",
    "lock_configuration": "true",
}
"""Settings of the engine, in order: the last ones lock it up before the first expression."""
_OTHER_CLAUSES: Final = ("where_clause", "group_expressions", "group_sets", "having", "qualify", "sample", "modifiers")


class RuleEngine:
    """An engine that holds one table at a time. Starting it takes some tens of milliseconds."""

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect()
        for name, value in SETTINGS.items():
            self._connection.execute(f"SET {name} = '{value}'")
        self._where = "the table"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._connection.close()

    def columns_named(self, rule: str, expression: str) -> list[str]:
        """The columns that an expression names, as it spells them, without the fields inside them.

        Raises `ValueError` where it does not parse, or holds what no rule may hold.
        """
        nodes = list(_nodes(self._parsed(rule, expression)))
        kinds = {node["class"] for node in nodes} - NODE_CLASSES
        if kinds:
            raise ValueError(
                f"rule {rule!r} ({expression}) holds {listed_names(sorted(kinds))}: a rule is about the columns of its "
                "own row, without queries, windows, stars, lambdas and parameters"
            )
        calls = [node for node in nodes if node["class"] == "FUNCTION"]
        self._check_functions(rule, sorted({node["function_name"] for node in calls}))
        if any(node["function_name"] == "age" and len(node["arguments"]) != 2 for node in calls):
            raise ValueError(f"rule {rule!r} ({expression}) calls age() of one time, which is from today on: give two")
        names = (node["column_names"] for node in nodes if node["class"] == "COLUMN_REF")
        return list(dict.fromkeys(name[1] if len(name) > 1 and name[0] == TABLE else name[0] for name in names))

    def load(self, rules: Mapping[str, str], table: pa.Table, where: str) -> dict[str, list[bool]]:
        """Load the columns that rules name; returns rule to whether a value that it names is unreadable, row by row.

        Such values are null from here on. Raises `StageError` where a rule names a column that is not there; `where`
        is how errors call the table.
        """
        import pyarrow as pa

        self._where = where
        named = {rule: self._found(rule, expression, table) for rule, expression in rules.items()}
        loaded, unreadable = {}, {}
        for column in sorted({column for columns in named.values() for column in columns}):
            loaded[column], unreadable[column] = _readable(table[column].combine_chunks())
        loaded = loaded or {"": pa.nulls(table.num_rows)}  # rules that name no column have a result for each row too
        self._connection.register(TABLE, pa.table(loaded))
        rows = range(table.num_rows)
        return {rule: [any(unreadable[one][row] for one in ones) for row in rows] for rule, ones in named.items()}

    def type_of(self, rule: str, expression: str) -> str:
        """The type of an expression over the loaded table, in DuckDB's words. Raises `StageError` where it has none."""
        ((_, kind, *_),) = self._run(f"DESCRIBE SELECT (\n{expression}\n) AS met FROM {TABLE}", rule, expression)
        return str(kind)

    def results(self, rule: str, expression: str) -> list[bool | None]:
        """The result of an expression for each row. Raises `StageError` where a value breaks it."""
        rows = self._run(f"SELECT (\n{expression}\n) AS met FROM {TABLE}", rule, expression)
        return [row[0] for row in rows]

    def _parsed(self, rule: str, expression: str) -> dict[str, Any]:
        """The tree of an expression. Raises `ValueError` where the text is anything else than one."""
        query = f"SELECT (\n{expression}\n) FROM {TABLE}"
        ((text,),) = self._connection.execute("SELECT json_serialize_sql(?)", [query]).fetchall()
        parsed = json.loads(text)
        if parsed["error"]:
            raise ValueError(f"rule {rule!r} ({expression}) is no expression of SQL: {parsed['error_message']}")
        nodes = [statement["node"] for statement in parsed["statements"]]
        is_one = len(nodes) == 1 and nodes[0]["type"] == "SELECT_NODE" and len(nodes[0]["select_list"]) == 1
        if not is_one or any(nodes[0].get(clause) for clause in _OTHER_CLAUSES) or nodes[0]["cte_map"]["map"]:
            raise ValueError(f"rule {rule!r} ({expression}) is more than one expression")
        tree: dict[str, Any] = nodes[0]["select_list"][0]
        return tree

    def _check_functions(self, rule: str, functions: Sequence[str]) -> None:
        """Raise `ValueError` for a function that there is not, or whose result may differ from call to call."""
        for name in functions:
            asked = "SELECT DISTINCT function_type, stability FROM duckdb_functions() WHERE function_name = ?"
            known = self._connection.execute(asked, [name]).fetchall()
            if ("scalar", "CONSISTENT") in known or name in MACROS:
                continue
            why = "which there is not" if not known else "whose result does not follow from the values of one row"
            raise ValueError(f"rule {rule!r} calls {name}(), {why}")

    def _found(self, rule: str, expression: str, table: pa.Table) -> list[str]:
        """The columns of the table that an expression names, which knows no letter case."""
        found = []
        for name in self.columns_named(rule, expression):
            meant = [column for column in table.column_names if column.lower() == name.lower()]
            if len(meant) != 1:
                why = f"of which {self._where} has {len(meant)}: SQL knows no letter case" if meant else ""
                near = get_close_matches(name.lower(), table.column_names, 1)
                why = why or f"which {self._where} does not have" + (f" (did you mean {near[0]!r}?)" if near else "")
                raise StageError(
                    f"rule {rule!r} ({expression}) names the column {name!r}, {why}; its columns are "
                    f"{listed_names(table.column_names)}"
                )
            found += meant
        return found

    def _run(self, query: str, rule: str, expression: str) -> list[tuple[Any, ...]]:
        import duckdb

        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(query).fetchall()
        except duckdb.Error as error:
            said = str(error).partition("\n\nLINE")[0]
            remedy = "; TRY_CAST(x AS DOUBLE) is null where text spells no number" if "ast" in said else ""
            raise StageError(
                f"rule {rule!r} ({expression}) cannot be applied to {self._where}: {said}{remedy}"
            ) from error
        return rows


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All nodes of a tree of JSON that say of which class they are."""
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _readable(column: pa.Array) -> tuple[pa.Array, list[bool]]:
    """A column with null where a number is not finite or a text is no UTF-8, and whether that is so, row by row."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if isinstance(column, pa.ChunkedArray):  # of more than 2 GB
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if types.is_float16(column.type):
        column = column.cast(pa.float32())
    if types.is_floating(column.type):
        bad = pc.fill_null(pc.invert(pc.is_finite(column)), False)
        return pc.if_else(bad, None, column), bad.to_pylist()
    if types.is_string(column.type) or types.is_large_string(column.type) or types.is_string_view(column.type):
        return _readable_text(column)
    return column, [False] * len(column)


def _readable_text(column: pa.Array) -> tuple[pa.Array, list[bool]]:
    import pyarrow as pa

    data = column.cast(pa.large_binary())
    try:
        return data.cast(pa.large_string()), [False] * len(column)
    except pa.ArrowInvalid:
        texts = [None if value is None else _decoded(value) for value in data.to_pylist()]
        bad = [text is None and value is not None for text, value in zip(texts, data.to_pylist(), strict=True)]
        return pa.array(texts, pa.large_string()), bad


def _decoded(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
