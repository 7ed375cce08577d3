"""`neo index`: make the indexes by which `neo where` finds samples without reading every table."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError, CommandError, ExitCode, RefusedError
from pipelines.indexes.build import MadeIndexes, TaskSpread, forget_indexes, make_indexes, spread_here
from pipelines.indexes.on_machines import spread_on
from pipelines.indexes.subjects import indexed_of
from pipelines.lineage.graph import all_heads, lineage_of, step_name
from pipelines.running.signals import stop_on_signals
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.byte_progress import size_in_words
from stages.artifacts.head import ManifestHead
from stages.contract import InterruptedRunError
from stages.store.store import Store


class StoppedIndexError(CommandError):
    """Ctrl-C or SIGTERM ended the making of indexes, which can be continued."""

    code = ExitCode.INTERRUPTED


def index(
    ctx: typer.Context,
    ref: Annotated[
        str | None,
        typer.Argument(metavar="REF", help="Of REF and what it was made of; without it, of the whole store."),
    ] = None,
    *,
    text: Annotated[
        bool, typer.Option("--text", help="By their words too: some 35 bytes a caption, for `neo where --text`.")
    ] = False,
    afresh: Annotated[
        bool, typer.Option("--afresh", help="Delete the indexes there are, and make them again.")
    ] = False,
    here: Annotated[
        bool, typer.Option("--here", help="Work on this machine alone, also where the site has a cluster.")
    ] = False,
) -> None:
    """Make the indexes by which `neo where` finds samples.

    Derived from the tables of samples, some 20 bytes each, beside all artifacts: nothing is made again for them, and
    they may be deleted. On all machines of the site's cluster, else on this one. Broken off, it continues.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_write()
    heads = [head for head in _heads(store, ref) if indexed_of(head, texts=text) is not None]
    again = " ".join(["neo index", *([ref] if ref else []), *(["--text"] if text else [])])
    if not heads:
        raise BadCommandError(
            "nothing of this is indexed: there are no pairs, clips, texts or conversations", then="neo list"
        )
    documents = []
    try:
        with _spread(command, again, is_here=here) as spread:
            for head in heads:
                if afresh:
                    forget_indexes(store, head)
                documents.append(_indexed(store, head, spread, command, texts=text))
    except (KeyboardInterrupt, InterruptedRunError) as stop:
        raise StoppedIndexError("the making of indexes was stopped", then=f"{again}   (continues)") from stop
    command.end({"artifacts": documents}, then="neo where --help")


def _heads(store: Store, ref: str | None) -> list[ManifestHead]:
    """All artifacts, or those that one was made of, each after its inputs."""
    if ref is None:
        return list(all_heads(store))
    return [node.head for node in lineage_of(store, *resolve_artifact(store, ref)).nodes if node.head is not None]


def _indexed(
    store: Store, head: ManifestHead, spread: TaskSpread, command: CommandContext, *, texts: bool
) -> dict[str, object]:
    """Make the indexes of one artifact, and tell of it."""
    command.say(f"{step_name(head):<20} {head.short}")
    made = make_indexes(store, head, texts=texts, spread=spread, progress=lambda line: command.say(f"  {line}"))
    command.say(f"  {in_words(made)}")
    return {
        "step": step_name(head),
        "stage": head.stage,
        "fingerprint": head.fingerprint,
        "num_parts": made.num_parts,
        "size_bytes": made.size_bytes,
        "indexes": [
            {"subject": one.subject, "num_entries": one.num_entries, "size_bytes": one.size_bytes}
            for one in made.indexes
        ],
    }


def in_words(made: MadeIndexes) -> str:
    """What there is now: `names 12, ids 12, pictures 9 of 3 parts: 420 bytes`."""
    counts = ", ".join(f"{one.subject} {one.num_entries:,}" for one in made.indexes)
    parts = f"{made.num_parts:,} part{'' if made.num_parts == 1 else 's'}"
    return f"{counts} of {parts}: {size_in_words(made.size_bytes)}"


@contextmanager
def _spread(command: CommandContext, again: str, *, is_here: bool) -> Iterator[TaskSpread]:
    """What works: the machines of the site's cluster while it is connected, else this machine."""
    if is_here or command.site.is_embedded:
        yield spread_here
        return
    from cluster.parts.machines import GRACE_SECONDS, machines_of
    from cluster.session import SessionError

    def tell_stop(_: str) -> None:
        command.say(f"Stops within {GRACE_SECONDS:.0f} s; Ctrl-C twice stops at once.")

    try:
        with machines_of(command.site, "index") as machines:
            yield spread_on(machines, command.say, partial(stop_on_signals, machines.stop, tell_stop, lambda: False))
    except SessionError as error:
        raise RefusedError(str(error), then=f"{again} --here   (works on this machine)") from error
