"""`neo files`: what an artifact holds, and where it lies."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import OnlyFilesOption, RefArgument
from pipelines.exits import BadCommandError
from pipelines.outside.held_files import held_files, in_words, location
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.byte_progress import size_in_words
from pipelines.screen.console import write_text
from stages.artifacts.artifact import Artifact, open_artifact

EVERYTHING = ("*",)


def files(
    ctx: typer.Context,
    ref: RefArgument,
    *,
    only: OnlyFilesOption = None,
    paths: Annotated[
        bool, typer.Option("--paths", help="Print where each file lies, a line each, and nothing else.")
    ] = False,
) -> None:
    """List what REF holds.

    Of each file its path in a copy (see `neo get`), its size, and where it lies; `--json` adds its sha256 and part.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    artifact = open_artifact(store, *resolve_artifact(store, ref), Artifact)
    listed = list(held_files(artifact, only or EVERYTHING))
    if not listed:
        raise BadCommandError(
            f"{in_words(artifact)} has no file whose path matches {' or '.join(only or ())}", then=f"neo files {ref}"
        )
    if paths and not command.as_json:
        for file in listed:
            write_text(f"{location(artifact, file.entry)}\n")
        return
    total_bytes = sum(file.entry.size_bytes for file in listed)
    command.say(f"{in_words(artifact)} holds {len(listed):,} files, {size_in_words(total_bytes)}:")
    for file in listed:
        command.say(f"{file.path}  {file.entry.size_bytes:,} bytes", f"    {location(artifact, file.entry)}")
    document = {
        "ref": f"{artifact.stage}/{artifact.short}",
        "kind": artifact.head.kind,
        "num_files": len(listed),
        "size_bytes": total_bytes,
        "files": [
            {
                "path": file.path,
                "size_bytes": file.entry.size_bytes,
                "sha256": file.entry.sha256,
                "phase": file.phase,
                "part": file.part,
                "location": location(artifact, file.entry),
            }
            for file in listed
        ],
    }
    command.end(document, then=shlex.join(["neo", "get", ref, ref.replace("/", "-")]))
