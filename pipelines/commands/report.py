"""`neo report`: a run as one page to read, to keep and to send: items, curves, times, lineage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError
from pipelines.runs.refs import find_run

RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="A run, or a pipeline, whose newest run is meant.")]
OutOption = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Where to write it; without it, RUN.html in this folder.")
]


def report(ctx: typer.Context, run: RunArgument, *, out: OutOption = None) -> None:
    """Write a report of a run: one HTML file that needs nothing else.

    Items and why they were dropped, pictures, curves, when steps waited and worked, machines, and the lineage.
    """
    from pipelines.report.facts import read_facts
    from pipelines.report.page import report_page

    command: CommandContext = ctx.obj
    found = find_run(command.store_to_read(), run)
    path = (out or Path(f"{found.name}.html")).expanduser()
    if path.is_dir() or not path.absolute().parent.is_dir():
        told = "is a folder" if path.is_dir() else f"cannot be written: {path.absolute().parent} is no folder"
        raise BadCommandError(f"--out {path} {told}; name a file", then=f"neo report {run} --out {found.name}.html")
    facts = read_facts(found)
    text = report_page(facts)
    path.write_text(text, encoding="utf-8")
    size_bytes = len(text.encode())
    command.say(f"{path}: report of {found.name}, {facts.state}, {size_bytes / 1e6:.1f} MB. Open it in a browser.")
    command.end(
        {"run": found.name, "state": facts.state, "file": str(path), "size_bytes": size_bytes},
        then=f"neo show {found.name}",
    )
