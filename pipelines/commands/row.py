"""`neo row`: the samples of one packed row."""

from __future__ import annotations

from typing import Annotated, Any, NoReturn

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import BadCommandError
from pipelines.lineage.contents import row_document
from pipelines.lineage.graph import lineage_of
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.text_table import Column, TextTable, number
from stages.artifacts.kinds import Rows
from stages.formats.packed_rows.rows import RowReader


def row(
    ctx: typer.Context,
    ref: RefArgument,
    number: Annotated[int, typer.Argument(metavar="N", help="The row, counted from 0.")],
) -> None:
    """Show which samples are in row N of the packed rows REF."""
    show_row(ctx.obj, ref, number)


def show_row(command: CommandContext, ref: str, number: int) -> NoReturn:
    """Show one packed row. Raises `BadCommandError` if REF is not packed rows, or has no row of this number."""
    store = command.store_to_read()
    target = lineage_of(store, *resolve_artifact(store, ref)).target
    if target.head is None or target.kind != Rows.kind:
        raise BadCommandError(f"{target.short} is {target.kind}, no packed rows", then=f"neo trace {target.short}")
    reader = RowReader(Rows(store, target.head))
    if not 0 <= number < reader.num_rows:
        raise BadCommandError(
            f"{target.short} has the rows 0 to {reader.num_rows - 1}", then=f"neo show {target.short}"
        )
    document = row_document(reader, number)
    documents = document["documents"]
    command.say(f"Row {number} of {reader.rows.short}, in shard {document['part']}, {len(documents)} documents:")
    command.say(_documents_table(documents))
    command.end(document, then=f"neo where {documents[0]['sample_id']}")


def _documents_table(documents: list[dict[str, Any]]) -> TextTable:
    """A line for each document of a row, in order."""
    table = TextTable(number("document"), "sample id", Column("source", goes=1), number("tokens"))
    for position, document in enumerate(documents):
        table.add(position, document["sample_id"], document["source"], document["num_tokens"])
    return table
