"""`neo seen`: what weights were trained on, up to an optimizer step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NoReturn

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import BadCommandError
from pipelines.lineage.contents import lines_of_sources, seen_document
from pipelines.lineage.graph import Lineage, lineage_of
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.text_table import TextTable, number
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.contract import StageError
from stages.store.store import Store

END = "end"


def seen(
    ctx: typer.Context,
    ref: RefArgument,
    *,
    at: Annotated[
        str, typer.Option("--at", metavar="N", help="After N optimizer steps of REF's own training; `end` for all.")
    ] = END,
) -> None:
    """Show which packed rows and samples weights were trained on.

    The optimizer steps of REF up to N, and all those of the weights that REF started from.
    """
    show_seen(ctx.obj, ref, at)


def show_seen(command: CommandContext, ref: str, at: str) -> NoReturn:
    """Show what was read until step `at`. Raises `BadCommandError` if REF is not committed or has no such step."""
    if not at.isdecimal() and at != END:
        raise BadCommandError(f"--at {at}: name an optimizer step, or `{END}`", then="neo seen --help")
    store = command.store_to_read()
    lineage = lineage_of(store, *resolve_artifact(store, ref))
    target = lineage.target
    documents = []
    for artifact in _trained(lineage, store, at):
        is_target = at != END and artifact.fingerprint == target.fingerprint
        try:
            document = seen_document(artifact, int(at) if is_target else None)
        except StageError as error:
            raise BadCommandError(str(error), then=f"neo show {artifact.short}") from error
        command.say(*_lines(artifact, document), sources_table(document["sources"]), "")
        documents.append(document)
    command.end({"target": target.short, "seen": documents}, then=f"neo show {target.fingerprint[:SHOWN_DIGITS]}")


def sources_table(counts: Mapping[str, Mapping[str, float]]) -> TextTable:
    """Counts by source as a table: a line for each source, a column for each count."""
    (source_heading, *headings), *lines = lines_of_sources(counts)
    table = TextTable(
        source_heading, *(number(heading, goes=len(headings) - at) for at, heading in enumerate(headings))
    )
    for line in lines:
        table.add(*line)
    return table


def _lines(artifact: Artifact, document: Mapping[str, Any]) -> Iterator[str]:
    """The rows that a training read, one line for each of its inputs."""
    name = f"{document['step']} ({document['stage']}/{artifact.short})"
    yield f"{name}, the first {document['until_step']:,} of {document['num_steps']:,} steps:"
    for rows in document["rows"]:
        steps = f"steps {rows['first_step']:,} to {rows['until_step']:,}"
        counts = f"{rows['num_read']:,} rows read, {rows['num_different']:,} of its {rows['num_rows']:,}"
        yield f"  {rows['input']}, {steps}: {counts}"
    if skipped := document["skipped_steps"]:
        yield f"  left out on record: step{'s' if len(skipped) > 1 else ''} {', '.join(f'{one:,}' for one in skipped)}"


def _trained(lineage: Lineage, store: Store, at: str) -> list[Artifact]:
    """The artifacts of a lineage that were trained on packed rows, inputs first; the target is last if it is one."""
    from stages.training.exposure import is_trained

    target = lineage.target
    if target.head is None:
        raise BadCommandError(f"{target.short} is not committed: {target.problem}", then="neo status")
    artifacts = [Artifact(store, node.head) for node in lineage.nodes if node.head is not None]
    trained = [artifact for artifact in artifacts if is_trained(artifact)]
    has_own_steps = bool(trained) and trained[-1].fingerprint == target.fingerprint
    if not trained or (at != END and not has_own_steps):
        raise BadCommandError(f"{target.short} was not trained on rows itself", then=f"neo trace {target.short}")
    return trained
