"""`neo list`: shipped pipelines, the runs of the site's store, and the names that point at artifacts."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.table import Table
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.planning.catalog import shipped_pipelines
from pipelines.runs.run import all_runs
from pipelines.screen.console import STYLES, clean
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.store.refs import read_ref
from stages.store.store import Store


def list_(ctx: typer.Context) -> None:
    """List pipelines, runs and names of artifacts."""
    command: CommandContext = ctx.obj
    shipped = shipped_pipelines()
    command.say(_table(("pipeline", "what it makes"), [(name, about) for name, about in shipped.items()]))
    runs, names = _store_contents(command.possible_store())
    if runs:
        command.say("", _table(("run", "state", "attempts"), runs))
    if names:
        command.say("", _table(("name", "artifact"), names))
    command.say("", f"store {command.site.store}")
    document = {
        "recipes": shipped,
        "runs": [dict(zip(("run", "state", "attempts"), row, strict=True)) for row in runs],
        "names": dict(names),
        "store": command.site.store,
    }
    then = f"neo show {runs[-1][0]}" if runs else f"neo plan {next(iter(shipped), 'path/to/file.py:function')}"
    command.end(document, then=then)


def _store_contents(store: Store) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Runs with state and number of attempts; names with what they point at."""
    if store.folder is not None and not store.folder.is_dir():
        return [], []
    runs: list[tuple[str, str, str]] = [(run.name, run.state(), str(run.num_attempts)) for run in all_runs(store)]
    names = [
        (f"{pipeline}/{step}", f"{ref['stage']}/{ref['fingerprint'][:SHOWN_DIGITS]}")
        for pipeline in store.folders("refs/")
        for step in store.folders(f"refs/{pipeline}/")
        if (ref := read_ref(store, f"{pipeline}/{step}")) is not None
    ]
    return runs, names


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*headings, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(clean(cell), STYLES.get(cell, "")) for cell in row))
    return table
