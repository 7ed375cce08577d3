"""`neo view`: an artifact of samples laid out for another loader."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.get import StoppedCopyError
from pipelines.commands.options import RefArgument
from pipelines.exits import BadCommandError
from pipelines.outside.placing import How
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.byte_progress import items_bar, size_in_words
from stages.artifacts.artifact import Artifact, open_artifact

if TYPE_CHECKING:
    from pipelines.outside.views.views import PlannedView


def view(
    ctx: typer.Context,
    ref: RefArgument,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A new or empty folder, or one that was begun.")],
    *,
    wds: Annotated[bool, typer.Option("--wds", help="For webdataset: numbered tars, and their pattern.")] = False,
    hf: Annotated[bool, typer.Option("--hf", help="For Hugging Face datasets: load_dataset(FOLDER).")] = False,
    energon: Annotated[bool, typer.Option("--energon", help="For Megatron-Energon: .nv-meta, and an index.")] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy tars of a local store instead of linking to them.")
    ] = False,
    hard_link: Annotated[
        bool, typer.Option("--hard-link", help="Hard links, which outlive the store's names.")
    ] = False,
) -> None:
    """Lay out REF so that another loader reads it as its own.

    Tars of the store are linked (copied from an object store). Only what no tar of it holds alone is written: what
    filters left of a tar, new captions, texts, conversations. Broken off, the same command continues.
    """
    from pipelines.outside.views.layouts import LAYOUTS  # both import the readers of every kind
    from pipelines.outside.views.views import lay_out, plan_view

    command: CommandContext = ctx.obj
    layouts = [name for name, is_asked in (("wds", wds), ("hf", hf), ("energon", energon)) if is_asked]
    if len(layouts) != 1 or (copy and hard_link):
        asked = "--copy and --hard-link" if len(layouts) == 1 else "one of --wds, --hf and --energon"
        told = "one of them" if len(layouts) == 1 else "say for which loader"
        raise BadCommandError(f"{asked}: {told}", then="neo view --help")
    store = command.store_to_read()
    artifact = open_artifact(store, *resolve_artifact(store, ref), Artifact)
    how: How | None = "copy" if copy else "hard link" if hard_link else None
    planned = plan_view(artifact, LAYOUTS[layouts[0]], how)
    command.say(_cost(planned))
    try:
        ended = lay_out(artifact, planned, folder.expanduser(), partial(items_bar, command.console))
    except KeyboardInterrupt as stop:
        again = shlex.join(["neo", *command.words])
        raise StoppedCopyError(f"stopped; {folder} holds what was whole", then=f"{again}   (continues)") from stop
    snippet = planned.layout.snippet(str(folder), len(planned.shards))
    command.say("Read it with", f"    {snippet}")
    document = {
        "ref": f"{artifact.stage}/{artifact.short}",
        "layout": planned.layout.name,
        "folder": str(folder),
        "num_samples": planned.num_samples,
        "num_shards": len(planned.shards),
        "pattern": None if layouts == ["hf"] else planned.layout.pattern(len(planned.shards)),
        "linked": ended["linked"],
        "copied": ended["copied"],
        "written": ended["written"],
        "there": ended["there"],
        "read_with": snippet,
    }
    command.end(document, then=f"neo look {artifact.short}")


def _cost(view: PlannedView) -> str:
    """What is linked and what is written, before it is."""
    num_tars = len(view.shards) - view.num_written
    how = "copied" if view.how == "copy" else "linked"
    tars = f"{_counted(num_tars, 'tar')} {how}" if num_tars else ""
    written = f"{_counted(view.num_written, 'shard')} written: no tar holds these samples alone"
    written = written if view.num_written else ""
    size = f" ({size_in_words(view.least_bytes)} or more)" if view.least_bytes else ""
    return f"{view.num_samples:,} samples: {', '.join(filter(None, (tars, written)))}{size}."


def _counted(number: int, noun: str) -> str:
    return f"1 {noun} is" if number == 1 else f"{number:,} {noun}s are"
