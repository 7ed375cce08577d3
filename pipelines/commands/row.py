"""`neo row`: the samples of one packed row."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import BadCommandError
from pipelines.lineage.contents import contents_of_row
from pipelines.lineage.graph import lineage_of
from pipelines.runs.refs import resolve_artifact
from stages.artifacts.kinds import Rows
from stages.formats.rows import RowReader


def row(
    ctx: typer.Context,
    ref: RefArgument,
    number: Annotated[int, typer.Argument(metavar="N", help="The row, counted from 0.")],
) -> None:
    """Show which samples are in row N of the packed rows REF."""
    show_row(ctx.obj, ref, number)


def show_row(command: CommandContext, ref: str, number: int) -> NoReturn:
    """Raises `BadCommandError` if REF are no packed rows, or fewer."""
    store = command.store_to_read()
    target = lineage_of(store, *resolve_artifact(store, ref)).target
    if target.manifest is None or target.kind != Rows.kind:
        raise BadCommandError(f"{target.short} is {target.kind}, no packed rows", then=f"neo trace {target.short}")
    reader = RowReader(Rows(store, target.manifest))
    if not 0 <= number < reader.num_rows:
        raise BadCommandError(
            f"{target.short} has the rows 0 to {reader.num_rows - 1}", then=f"neo show {target.short}"
        )
    shown, document = contents_of_row(reader, number)
    command.say(*shown)
    command.end(document, then=f"neo where {document['documents'][0]['sample_id']}")
