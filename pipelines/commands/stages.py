"""`neo stages`: the stages there are, and what each reads and makes."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.planning.stage_catalog import shipped_stages
from pipelines.planning.stage_description import StageDescription, describe_stage


def stages_(ctx: typer.Context) -> None:
    """List the stages: what each is for, reads and makes."""
    command: CommandContext = ctx.obj
    described = [describe_stage(stage) for stage in shipped_stages().values()]
    command.say(*stage_lines(described, command.text_columns))
    command.end({"stages": [_document(one) for one in described]}, then=f"neo describe {described[0].name}")


def stage_lines(described: Sequence[StageDescription], columns: int) -> Iterator[Text]:
    """Two paragraphs for each stage, in so many columns: what it is for, and what it reads and makes."""
    indent = max(len(one.name) for one in described) + 2
    for one in described:
        about = textwrap.wrap(one.about, columns - indent, break_on_hyphens=False) or [""]
        passage = textwrap.wrap(in_and_out(one), columns - indent)
        first, *rest = about
        yield Text(one.name.ljust(indent), style="bold").append(first, style="not bold")
        yield from (Text(" " * indent + line) for line in rest)
        yield from (Text(" " * indent + line, style="dim") for line in passage)


def in_and_out(one: StageDescription) -> str:
    """What a stage reads and makes, in short: `RawPairs -> KeptPairs`."""
    return f"{', '.join(one.reads) or 'nothing'} -> {one.makes}"


def _document(one: StageDescription) -> dict[str, object]:
    return {
        "name": one.name,
        "about": one.about,
        "sources": list(one.sources),
        "inputs": [asdict(item) for item in one.inputs],
        "makes": one.makes,
        "import": one.imported,
    }
