"""`neo seen`: what weights were trained on, up to an optimizer step."""

from __future__ import annotations

from typing import Annotated, NoReturn

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import BadCommandError
from pipelines.lineage.contents import seen_by
from pipelines.lineage.graph import Lineage, lineage_of
from pipelines.runs.refs import resolve_artifact
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
    """Raises `BadCommandError` if REF is not committed, or its training has no such optimizer step."""
    if not at.isdecimal() and at != END:
        raise BadCommandError(f"--at {at}: name an optimizer step, or `{END}`", then="neo seen --help")
    store = command.store_to_read()
    lineage = lineage_of(store, *resolve_artifact(store, ref))
    target = lineage.target
    documents = []
    for artifact in _trained(lineage, store, at):
        is_target = at != END and artifact.fingerprint == target.fingerprint
        try:
            shown, document = seen_by(artifact, int(at) if is_target else artifact.manifest.recipe["num_steps"])
        except StageError as error:
            raise BadCommandError(str(error), then=f"neo show {artifact.short}") from error
        command.say(*shown, "")
        documents.append(document)
    command.end({"target": target.short, "seen": documents}, then=f"neo show {target.fingerprint[:SHOWN_DIGITS]}")


def _trained(lineage: Lineage, store: Store, at: str) -> list[Artifact]:
    """What was trained on packed rows in a lineage, inputs first; the target is the last if it was."""
    from stages.training.exposure import is_trained

    target = lineage.target
    if target.manifest is None:
        raise BadCommandError(f"{target.short} is not committed: {target.problem}", then="neo status")
    artifacts = [Artifact(store, node.manifest) for node in lineage.nodes if node.manifest is not None]
    trained = [artifact for artifact in artifacts if is_trained(artifact)]
    has_own_steps = bool(trained) and trained[-1].fingerprint == target.fingerprint
    if not trained or (at != END and not has_own_steps):
        raise BadCommandError(f"{target.short} was not trained on rows itself", then=f"neo trace {target.short}")
    return trained
