"""`neo list`: shipped pipelines, the runs of the site's store, and the names that point at artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.planning.catalog import shipped_pipelines
from pipelines.runs.in_brief import runs_in_brief
from pipelines.screen.console import STYLES
from pipelines.screen.text_table import Column, TextTable, sentence
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.store.refs import OF_ARTIFACT, read_ref
from stages.store.store import Store

READS_AT_A_TIME = 32
"""Names that are looked up in parallel: each costs a few round trips to the store."""
FIRST_PIPELINE = "tiny"
"""The shipped pipeline that runs at once on any machine."""


def list_(ctx: typer.Context) -> None:
    """List pipelines, runs and names of artifacts."""
    command: CommandContext = ctx.obj
    shipped = shipped_pipelines()
    command.say(_table(("pipeline", sentence("what it makes")), [(name, about) for name, about in shipped.items()]))
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
    then = f"neo show {runs[-1][0]}" if runs else f"neo plan {FIRST_PIPELINE}"
    command.end(document, then=then)


def _store_contents(store: Store) -> tuple[list[tuple[str, str, str]], list[tuple[str, str]]]:
    """Runs with state and number of attempts; names with what they point at."""
    if store.folder is not None and not store.folder.is_dir():
        return [], []
    runs = [(one.run.name, one.state, str(one.num_attempts)) for one in runs_in_brief(store)]
    with ThreadPoolExecutor(READS_AT_A_TIME) as pool:
        steps = pool.map(lambda pipeline: store.folders(f"refs/{pipeline}/"), pipelines := store.folders("refs/"))
        refs = [f"{pipeline}/{step}" for pipeline, of_it in zip(pipelines, steps, strict=True) for step in of_it]
        found = zip(refs, pool.map(lambda ref: read_ref(store, ref, OF_ARTIFACT), refs), strict=True)
        names = [(ref, f"{at['stage']}/{at['fingerprint'][:SHOWN_DIGITS]}") for ref, at in found if at is not None]
    return runs, names


def _table(headings: Sequence[str | Column], rows: Sequence[Sequence[str]]) -> TextTable:
    table = TextTable(*headings)
    for row in rows:
        table.add(*(Text(cell, STYLES.get(cell, "")) for cell in row))
    return table
