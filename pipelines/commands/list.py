"""`neo list`: shipped pipelines, the runs of the site's store, newest first, and the names that point at artifacts."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.planning.catalog import shipped_pipelines
from pipelines.running.listed_runs import ListedRun, listed_runs
from pipelines.screen.console import STYLES
from pipelines.screen.progress import clock_time
from pipelines.screen.text_table import Column, TextTable, number, sentence
from pipelines.screen.units import counted, moment
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.store.refs import OF_ARTIFACT, read_ref
from stages.store.store import Store

READS_AT_A_TIME = 32
"""Names that are looked up in parallel: each costs a few round trips to the store."""
MAX_RUNS = 20
"""Runs that are shown without `--all`."""
FIRST_PIPELINE = "tiny"
"""The shipped pipeline that runs at once on any machine."""


def list_(
    ctx: typer.Context,
    *,
    all_: Annotated[bool, typer.Option("--all", help=f"List every run, not the newest {MAX_RUNS} alone.")] = False,
) -> None:
    """List pipelines, runs and names of artifacts.

    Of each run when it began, how long it worked, by whom, how it ended and what it scored; newest first.
    """
    command: CommandContext = ctx.obj
    store, shipped = command.possible_store(), shipped_pipelines()
    command.say(_table(("pipeline", sentence("what it makes")), list(shipped.items())))
    is_empty = store.folder is not None and not store.folder.is_dir()
    runs, num_runs = ([], 0) if is_empty else listed_runs(store, None if all_ else MAX_RUNS)
    names = [] if is_empty else _names(store)
    if runs:
        command.say("", runs_table(runs))
        command.say(*([f"and {counted(num_runs - len(runs), 'earlier run')}: --all"] if num_runs > len(runs) else []))
    if names:
        command.say("", _table(("name", "artifact"), names))
    command.say("", f"store {command.site.store}")
    document = {
        "recipes": shipped,
        "num_runs": num_runs,
        "runs": [one.document() for one in runs],
        "names": dict(names),
        "store": command.site.store,
    }
    then = f"neo show {runs[0].name}" if runs else f"neo plan {FIRST_PIPELINE}"
    command.end(document, then=then)


def runs_table(runs: Sequence[ListedRun]) -> TextTable:
    """A row for each run."""
    columns = (number("attempts", goes=2), number("took", goes=4), Column("by", goes=1), Column("best", goes=3))
    table = TextTable("run", "state", "began", *columns)
    for one in runs:
        table.add(
            one.name,
            Text(one.state, STYLES.get(one.state, "")),
            moment(one.began_seconds) if one.began_seconds else None,
            one.num_attempts,
            clock_time(one.seconds) if one.seconds else None,
            one.by,
            one.best_in_words,
        )
    return table


def _names(store: Store) -> list[tuple[str, str]]:
    """Names with what they point at."""
    with ThreadPoolExecutor(READS_AT_A_TIME) as pool:
        steps = pool.map(lambda pipeline: store.folders(f"refs/{pipeline}/"), pipelines := store.folders("refs/"))
        refs = [f"{pipeline}/{step}" for pipeline, of_it in zip(pipelines, steps, strict=True) for step in of_it]
        found = zip(refs, pool.map(lambda ref: read_ref(store, ref, OF_ARTIFACT), refs), strict=True)
        return [(ref, f"{at['stage']}/{at['fingerprint'][:SHOWN_DIGITS]}") for ref, at in found if at is not None]


def _table(headings: Sequence[str | Column], rows: Sequence[Sequence[str]]) -> TextTable:
    table = TextTable(*headings)
    for row in rows:
        table.add(*row)
    return table
