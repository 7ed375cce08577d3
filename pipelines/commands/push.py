"""`neo push`: an exported checkpoint to a model hub."""

from __future__ import annotations

import re
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import RefArgument
from pipelines.exits import BadCommandError, CommandError, ExitCode
from pipelines.outside.hub import HubPush, Pushed, check_repository, hub_path
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.byte_progress import size_in_words
from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.head import read_head
from stages.artifacts.kinds import ExportedCheckpoint
from stages.store.fault_points import fault_point
from stages.store.refs import OF_ARTIFACT, read_ref, set_ref
from stages.store.store import Store

EXPORT_STAGE = "export"
"""Name of the stage that makes exports, under which they lie in a store."""


class StoppedPushError(CommandError):
    """Ctrl-C ended a push, which can be continued."""

    code = ExitCode.INTERRUPTED


def push(
    ctx: typer.Context,
    ref: RefArgument,
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository, which is made if need be.")],
    *,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository for everyone; by default it is private.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace weights in the repository that no push from here put there.")
    ] = False,
) -> None:
    """Upload the exported checkpoint REF to a model hub.

    What is there already is not sent again. HF_TOKEN holds the token, HF_ENDPOINT another hub.
    """
    command: CommandContext = ctx.obj
    check_repository(repository)
    command.store_to_read(delivers=False)
    store = command.store_to_write()
    export = _export(store, ref, repository)
    _choose_progress(command)
    with tempfile.TemporaryDirectory(prefix="neo-push-") as folder, export.linked_in(Path(folder)) as linked:
        try:
            done = HubPush(export, repository, is_public=public, replaces=replace).run(linked)
        except KeyboardInterrupt as stop:
            again = shlex.join(["neo", *command.words])
            told = f"stopped: {repository} is as it was or holds the whole export, and nothing is sent again"
            raise StoppedPushError(told, then=f"{again}   (continues)") from stop
    name = _record(store, export, repository, done)
    sizes = {hub_path(file): file.size_bytes for file in export.model_files}
    command.say(*_sentences(done, sizes, public=public), f"In this store it is called {name}.")
    document: dict[str, Any] = {
        "ref": f"{export.stage}/{export.short}",
        "repository": repository,
        "address": done.address,
        "revision": done.revision,
        "private": done.private,
        "uploaded": [*done.uploaded],
        "deleted": [*done.deleted],
        "num_unchanged": done.num_unchanged,
        "remarks": [*done.remarks],
        "name": name,
    }
    command.end(document, then=f"neo trace {name}")


def _export(store: Store, ref: str, repository: str) -> ExportedCheckpoint:
    """The export that `ref` names. Raises `BadCommandError` for anything else, with the command that would do."""
    stage, fingerprint = resolve_artifact(store, ref)
    head = read_head(store, stage, fingerprint)
    if head is None:
        raise BadCommandError(f"{ref!r} ({stage}/{fingerprint[:12]}) is not committed", then="neo status")
    if head.kind == ExportedCheckpoint.kind:
        return open_artifact(store, stage, fingerprint, ExportedCheckpoint)
    artifact = Artifact(store, head)
    told = f"{ref!r} is {stage}/{artifact.short}, of kind {head.kind}: a hub gets what the stage `export` made"
    made = _export_of(store, artifact)
    if made is not None:
        raise BadCommandError(f"{told}, which is {made}", then=shlex.join(["neo", "push", made, repository]))
    raise BadCommandError(f"{told}; bind `export` behind the checkpoint in its pipeline", then="neo describe export")


def _export_of(store: Store, artifact: Artifact) -> str | None:
    """The export of a checkpoint, or of the one that an evaluation asked; None where there is none."""
    asked = artifact.head.inputs.get("checkpoint")
    wanted = {artifact.fingerprint, *([] if asked is None else [asked.fingerprint])}
    for name in store.folders(f"artifacts/{EXPORT_STAGE}/"):
        head = read_head(store, EXPORT_STAGE, name)
        if head is not None and any(item.fingerprint in wanted for item in head.inputs.values()):
            return f"{EXPORT_STAGE}/{name}"
    return None


def _choose_progress(command: CommandContext) -> None:
    """Bars of the upload are for a person at a terminal."""
    from huggingface_hub.utils.tqdm import disable_progress_bars

    if command.as_json or not sys.stderr.isatty():
        disable_progress_bars()


def _record(store: Store, export: ExportedCheckpoint, repository: str, done: Pushed) -> str:
    """Give the export a name in the store that tells where it went; returns the name. Once for each commit."""
    name = f"hub/{re.sub(r'[^0-9A-Za-z_-]', '_', repository.replace('/', '--'))[:100]}"
    at = {"stage": export.stage, "fingerprint": export.fingerprint, "address": done.address, "revision": done.revision}
    if read_ref(store, name, OF_ARTIFACT) != at:
        with fault_point("ref.set", name):
            set_ref(store, name, at)
    return name


def _sentences(done: Pushed, sizes: dict[str, int], *, public: bool) -> list[str]:
    """What was done, a line each; `sizes` are those of the files of the export."""
    lines = [f"{done.address} at {done.revision}"]
    if done.uploaded:
        size = size_in_words(sum(sizes.get(path, 0) for path in done.uploaded))
        lines.append(f"{len(done.uploaded):,} files sent, {size}; {done.num_unchanged:,} were there already.")
    else:
        lines.append(f"All {done.num_unchanged:,} files were there already.")
    if done.deleted:
        lines.append(f"Deleted, because the export has no such file: {', '.join(done.deleted)}")
    if done.private:
        remark = "; it was there before, so --public changes nothing" if public else ""
        lines.append(f"The repository is private{remark}.")
    return [*lines, *(f"The hub remarks: {remark}" for remark in done.remarks)]
