"""`neo trace`: lineage backward, from an artifact to the URL tables that it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.row import show_row
from pipelines.commands.seen import show_seen
from pipelines.commands.where import follow_sample, follow_url
from pipelines.exits import BadCommandError
from pipelines.lineage.graph import Lineage, Node, describe_counts, describe_source, lineage_of
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.console import clean, open_console
from pipelines.screen.holdings import HOLDING_COLUMNS, holding_cells, remark_cells
from pipelines.screen.text_graph import lanes
from pipelines.screen.text_table import Cell, Column, TextTable
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.contract import fork_of
from stages.surfaces.first_few import first_few

MAX_NAMED = 3
"""Artifacts that a line about damaged heads names, at most."""


def trace(
    ctx: typer.Context,
    ref: Annotated[
        str | None, typer.Argument(metavar="REF", help="A run, a name such as tiny/evaluate, or a fingerprint.")
    ] = None,
    *,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw the lineage as a picture too.")
    ] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", hidden=True)] = None,
    sample: Annotated[str | None, typer.Option("--sample", metavar="ID", hidden=True)] = None,
    row: Annotated[int | None, typer.Option("--row", metavar="N", hidden=True)] = None,
    saw: Annotated[str | None, typer.Option("--saw", metavar="N", hidden=True)] = None,
) -> None:
    """Show what an artifact was made of, down to the URL tables.

    What one URL or sample went into: `neo where`. The samples of a packed row: `neo row`. What weights were trained
    on: `neo seen`.
    """
    command: CommandContext = ctx.obj
    _run_old_spelling(command, ref, {"--url": url, "--sample": sample, "--row": row, "--saw": saw}, picture)
    if ref is None:
        raise BadCommandError("name a REF; a URL or a sample is followed by `neo where`", then="neo trace --help")
    store = command.store_to_read()
    _show(lineage_of(store, *resolve_artifact(store, ref)), picture, command)


def _run_old_spelling(
    command: CommandContext, ref: str | None, options: dict[str, str | int | None], picture: Path | None
) -> None:
    """The options that became commands of their own. They work for one more release, and name the new command."""
    typed = [(option, str(value)) for option, value in options.items() if value is not None]
    if not typed:
        return
    if len(typed) > 1 or picture is not None:
        raise BadCommandError("say one of --url, --sample, --row, --saw and --picture", then="neo trace --help")
    ((option, value),) = typed
    if option in ("--url", "--sample"):
        behind = f" --behind {ref}" if ref is not None else ""
        _name_new_spelling(option, f"neo where {value}{behind}")
        follow = follow_url if option == "--url" else follow_sample
        follow(command, value, ref or "")
    if ref is None:
        raise BadCommandError(f"{option} needs a REF", then="neo trace --help")
    if option == "--row":
        _name_new_spelling(option, f"neo row {ref} {value}")
        show_row(command, ref, int(value))
    _name_new_spelling(option, f"neo seen {ref} --at {value}")
    show_seen(command, ref, value)


def _name_new_spelling(option: str, new: str) -> None:
    """On stderr, so that a document on stdout stays one."""
    line = f"`neo trace {option}` is the old spelling, for one more release. Now: {new}"
    open_console(stderr=True).print(Text(clean(line), "yellow"), soft_wrap=True)


def _show(lineage: Lineage, picture: Path | None, command: CommandContext) -> NoReturn:
    target = lineage.target
    command.say(lineage_table(lineage), "")
    command.say(f"{target.step} depends on {len(lineage.nodes) - 1} artifacts. External inputs:")
    command.say(*(f"  {_source(node)}" for node in lineage.sources))
    forks = ((node, fork_of(node.head)) for node in lineage.nodes if node.head is not None)
    command.say(*(f"{node.step} ({node.short}) {fork}" for node, fork in forks if fork is not None))
    command.say(*(f"  missing: {node.short} ({node.problem})" for node in lineage.missing))
    command.say(*without_heads(lineage))
    if picture is not None:
        from pipelines.tracking.graph_picture import lineage_picture

        command.say(f"Picture: {lineage_picture(lineage, picture)}")
    document = {
        "target": target.short,
        "nodes": [_node_document(node) for node in lineage.nodes],
        "sources": [node.fingerprint for node in lineage.sources],
        "missing": [node.short for node in lineage.missing],
    }
    command.end(document, then=f"neo audit {target.fingerprint[:SHOWN_DIGITS]}")


def lineage_table(lineage: Lineage) -> TextTable:
    """A row for each artifact, inputs before what reads them, with the edges drawn."""
    drawn = lanes(lineage.reads)
    table = TextTable(Column("", "lanes"), "step", "artifact", Column("kind", goes=1), *HOLDING_COLUMNS)
    for fingerprint, edges in drawn.items():
        table.add("\n".join(edges), *_cells(lineage, fingerprint))
    return table


def _cells(lineage: Lineage, fingerprint: str) -> tuple[Cell, ...]:
    """Step, shown fingerprint, kind and contents of an artifact, or of the checkpoint that a fork began from."""
    shown = fingerprint[:SHOWN_DIGITS]
    if (fork := lineage.begun_from.get(fingerprint)) is not None:
        return fork.stage, shown, "checkpoint", *remark_cells(f"step {fork.at_step:,}, which a fork began from")
    node = lineage.by_fingerprint[fingerprint]
    return node.step, shown, node.kind, *(holding_cells(node.head) if node.head else remark_cells(node.problem))


def without_heads(lineage: Lineage) -> Iterator[str]:
    """A line for each thing that is wrong with the heads of artifacts, whose manifests were read instead."""
    for problem, nodes in groupby(sorted(lineage.without_head, key=_head_problem), _head_problem):
        named = [node.short for node in nodes]
        yield f"  read from its manifest, since its head.json {problem}: {first_few(named, MAX_NAMED)}"


def _head_problem(node: Node) -> str:
    return node.head.problem if node.head else ""


def _source(node: Node) -> str:
    if node.head is None:
        return f"{node.short}: missing"
    if node.outside:
        entered = "; ".join(f"source {name}, {describe_source(source)}" for name, source in node.outside.items())
        return f"{node.step} ({node.short}): {entered}; {describe_counts(node.head)}"
    has_table = any(one.file.name.endswith(".parquet") for one in node.head.files)
    entered = f"a table of {node.head.items.total:,} rows" if has_table else "its recipe alone"
    return f"{node.step} ({node.short}): {entered}; {describe_counts(node.head)}"


def _node_document(node: Node) -> dict[str, object]:
    head = node.head
    return {
        "step": node.step,
        "stage": node.stage,
        "fingerprint": node.fingerprint,
        "kind": node.kind,
        "inputs": node.inputs,
        "begins_from": fork.identity if head and (fork := fork_of(head)) else None,
        "sources": node.outside,
        "items": head.items.model_dump() if head else None,
        "num_entered": head.items.total if head else None,
        "num_parts": head.num_parts if head else None,
        "at_step": head.at_step if head else None,
        "size_bytes": head.size_bytes if head else None,
        "content": head.content if head else None,
    }
