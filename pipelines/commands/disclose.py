"""`neo disclose`: what has to be told of an artifact to others, in the forms that they read."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.evidence.provenance import provenance_statement
from pipelines.evidence.run_events import post_events, run_events
from pipelines.exits import BadCommandError
from pipelines.runs.refs import resolve, resolve_artifact, run_named
from pipelines.runs.run import Run
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.kinds import CARD_FILE, MODEL_PREFIX, ExportedCheckpoint
from stages.store.store import Store

KEY_VARIABLE: Final = "OPENLINEAGE_API_KEY"
"""Environment variable with the key of the endpoint, by the name that clients of OpenLineage give it."""


def disclose(
    ctx: typer.Context,
    ref: RefArgument,
    *,
    slsa: Annotated[
        bool, typer.Option("--slsa", help="How it was made: in-toto statement, SLSA provenance 1.")
    ] = False,
    openlineage: Annotated[
        bool, typer.Option("--openlineage", help="The run that made it: OpenLineage events, a line each.")
    ] = False,
    card: Annotated[bool, typer.Option("--card", help="The model card of an export.")] = False,
    to: Annotated[Path | None, typer.Option("--to", metavar="FILE", help="Write it there, and not on stdout.")] = None,
    post: Annotated[
        bool, typer.Option("--post", help="Send the events to the address `openlineage` of the site.")
    ] = False,
) -> None:
    """Tell others what REF is and how it was made, in a form that they read.

    All of it is read from heads and small records.
    """
    command: CommandContext = ctx.obj
    asked = {"--slsa": slsa, "--openlineage": openlineage, "--card": card}
    chosen = [name for name, is_asked in asked.items() if is_asked]
    if len(chosen) != 1:
        raise BadCommandError(f"say one of {', '.join(asked)}", then="neo disclose --help")
    if post and not openlineage:
        raise BadCommandError("--post goes with --openlineage", then="neo disclose --help")
    store = command.store_to_read(delivers=False)
    if post:
        _post(command, store, ref)
    text = _FORMS[chosen[0]](store, ref)
    _give(command, text, ref, to)


def _slsa(store: Store, ref: str) -> str:
    artifact = open_artifact(store, *resolve_artifact(store, ref), Artifact)
    return json.dumps(provenance_statement(artifact), indent=2, ensure_ascii=False) + "\n"


def _openlineage(store: Store, ref: str) -> str:
    return "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in run_events(_run(store, ref)))


def _card(store: Store, ref: str) -> str:
    export = open_artifact(store, *resolve_artifact(store, ref), ExportedCheckpoint)
    entry = next(one for one in export.model_files if one.name == MODEL_PREFIX + CARD_FILE)
    return export.read(entry).decode()


_FORMS: Final[dict[str, Callable[[Store, str], str]]] = {
    "--slsa": _slsa,
    "--openlineage": _openlineage,
    "--card": _card,
}


def _run(store: Store, ref: str) -> Run:
    """The run that a reference names, or the one that made the artifact which it names."""
    if (name := run_named(store, ref)) is not None:
        return Run(store, name)
    artifact = resolve(store, ref).artifact
    made_by = artifact.head.provenance.get("run") if artifact is not None else None
    if made_by is None or store.read(f"runs/{made_by}/plan.json") is None:
        raise BadCommandError(f"{ref!r} names no run, and the store has none that made it", then="neo list")
    return Run(store, str(made_by))


def _post(command: CommandContext, store: Store, ref: str) -> None:
    address = command.site.openlineage
    if not address:
        told = f'site {command.site.name} has no address for events: openlineage = "http://HOST:5000" in its file'
        raise BadCommandError(told, then="neo disclose --help")
    run = _run(store, ref)
    number = post_events(address, run_events(run), os.environ.get(KEY_VARIABLE))
    command.say(f"{address} took {number:,} events of {run.name}.")
    command.end({"run": run.name, "address": address, "num_events": number}, then=f"neo show {run.name}")


def _give(command: CommandContext, text: str, ref: str, to: Path | None) -> None:
    """Write what is told to a file, or to stdout as it is, without a next command behind it."""
    if to is None:
        typer.echo(text, nl=False)
        return
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text, encoding="utf-8")
    command.say(f"{to}: {len(text.encode()):,} bytes.")
    document: dict[str, Any] = {"ref": ref, "file": str(to), "size_bytes": len(text.encode())}
    command.end(document, then=shlex.join(["neo", "trace", ref]))
