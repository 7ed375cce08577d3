"""`neo mirror`: rebuild the pages of MLflow from the store."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError, RefusedError
from pipelines.running.summary import masked
from pipelines.runs.attempts import reconcile
from pipelines.runs.refs import resolve
from pipelines.runs.run import Run, all_runs
from pipelines.tracking.delivery import NotDeliveredError, mirror
from stages.store.store import Store

RunOption = Annotated[str, typer.Option("--run", metavar="RUN", help="This run alone; without it, all runs.")]


def mirror_(ctx: typer.Context, *, run: RunOption = "") -> None:
    """Rebuild the pages of MLflow from the store.

    For an empty server, or one that lost pages. Pages that are there stay as they are. Only ids and times that a lost
    server gave are not restored.
    """
    command: CommandContext = ctx.obj
    store, mlflow = command.store_to_read(delivers=False), command.site.mlflow
    reconcile(store, settles=True)
    runs = _runs(store, run)
    try:
        num_messages = mirror(mlflow, runs)
    except NotDeliveredError as error:
        message = f"MLflow at {masked(mlflow)} did not take everything: {error}; nothing is lost, the store has it all"
        raise RefusedError(
            message, then="neo mirror" + (f" --run {run}" if run else "") + "   (once it answers)"
        ) from error
    command.say(f"MLflow at {masked(mlflow)} shows {len(runs)} runs again, of {num_messages} messages.")
    document = {"runs": [one.name for one in runs], "num_messages": num_messages, "mlflow": masked(mlflow)}
    command.end(document, then=f"neo show {runs[-1].name}" if runs else "neo list")


def _runs(store: Store, wanted: str) -> list[Run]:
    """The named run, or all. Raises `CommandError` for a name that is not of a run."""
    if not wanted:
        return all_runs(store)
    match = resolve(store, wanted).run
    if match is None:
        raise BadCommandError(f"--run {wanted} is an artifact, not a run", then="neo list")
    return [match]
