"""`neo get`: a copy of what an artifact holds, or links to it."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import OnlyFilesOption, RefArgument
from pipelines.exits import BadCommandError, CommandError, ExitCode
from pipelines.outside.copies import CopiedFiles, copy_artifact
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.byte_progress import bytes_bar, size_in_words
from stages.artifacts.artifact import Artifact, open_artifact


class StoppedCopyError(CommandError):
    """Ctrl-C ended a copy, which can be continued."""

    code = ExitCode.INTERRUPTED


def get(
    ctx: typer.Context,
    ref: RefArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder, or one that was begun.")],
    *,
    only: OnlyFilesOption = None,
    link: Annotated[
        bool,
        typer.Option("--link", help="Symbolic links to the files of a local store: what is written there, damages it."),
    ] = False,
    hard_link: Annotated[
        bool, typer.Option("--hard-link", help="Hard links, which outlive the store's own names; same disk only.")
    ] = False,
) -> None:
    """Copy what REF holds into FOLDER.

    Of a model, the folder that loads; else all files. Each file is hashed as it is written, and gets its name when it
    is whole: broken off, the same command continues. Typed again after the end, it verifies.
    """
    command: CommandContext = ctx.obj
    if link and hard_link:
        raise BadCommandError("--link and --hard-link: one of them", then="neo get --help")
    store = command.store_to_read()
    artifact = open_artifact(store, *resolve_artifact(store, ref), Artifact)
    try:
        done = copy_artifact(
            artifact,
            folder.expanduser(),
            patterns=only or (),
            how="link" if link else "hard link" if hard_link else "copy",
            progress=partial(bytes_bar, command.console),
        )
    except KeyboardInterrupt as stop:
        again = shlex.join(["neo", *command.words])
        raise StoppedCopyError(f"stopped; {folder} holds what was whole", then=f"{again}   (continues)") from stop
    command.say(f"{folder}: {_in_words(done)}")
    document = {
        "ref": f"{artifact.stage}/{artifact.short}",
        "folder": str(folder),
        "num_files": done.num_files,
        "size_bytes": done.size_bytes,
        "copied": done.ended["copied"],
        "linked": done.ended["linked"],
        "there": done.ended["there"],
    }
    command.end(document, then=f"neo show {artifact.short}")


def _in_words(done: CopiedFiles) -> str:
    """What came into the folder, in a sentence.

    >>> _in_words(CopiedFiles(3, 4096, Counter(copied=2, there=1)))
    '3 files, 4.1 kB: 2 copied, 1 there already'
    """
    words = {"there": "there already"}
    ended = ", ".join(f"{number:,} {words.get(how, how)}" for how, number in sorted(done.ended.items()) if number)
    return f"{done.num_files:,} files, {size_in_words(done.size_bytes)}: {ended}"
