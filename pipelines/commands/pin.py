"""`neo pin`: digest the files of a pipeline's sources, and keep what they are in `sources.lock`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Protocol

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.commands.context import CommandContext
from pipelines.commands.options import PipelineArgument
from pipelines.commands.selection import TypedSelection, decided, requested_with_sources
from pipelines.exits import BadCommandError, ExitCode, RefusedError
from pipelines.planning.catalog import find_pipeline, suggestion
from pipelines.planning.held_out_checks import refuse_asked_about_training
from pipelines.planning.plan import Plan
from pipelines.planning.site_checks import check_ray_version, check_site_names
from pipelines.planning.source_files import LOCK, keep_in_lock
from pipelines.planning.sources import DefinedSource, Definitions, load_definitions, sources_of
from pipelines.screen.byte_progress import size_in_words
from pipelines.screen.text_table import TextTable, number
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.contract import StageError
from stages.origins.changes import Thoroughness, differences
from stages.origins.pinning import Pin, Selected, pin, select
from stages.origins.places.folder import FolderPlace
from stages.store.errors import StoreError
from stages.store.store import Store

SMALL_BYTES = 2**30
SMALL_FILES = 10_000
"""Largest local source that `neo run` pins by itself, in bytes and files: a matter of seconds."""


class Told(Protocol):
    """Receives the bytes digested so far and in all."""

    def __call__(self, done_bytes: int, total_bytes: int, /) -> None: ...


def pin_(
    ctx: typer.Context,
    pipeline: PipelineArgument,
    *,
    names: Annotated[
        list[str] | None, typer.Option("--source", metavar="NAME", help="Pin this source only; may be repeated.")
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Read every file again and compare it with the lock; write nothing.")
    ] = False,
) -> None:
    """Pin the sources of a pipeline.

    Reads each file that sources.toml names once, and writes size and sha256 to sources.lock beside it. Files that were
    read before and have not changed are not read again, so an interrupted pin continues.
    """
    command: CommandContext = ctx.obj
    found = find_pipeline(pipeline)
    definitions = load_definitions(found, command.site.sources)
    sources = sources_of(list(found.steps.values()))
    wanted = _wanted([*sources, *(name for name in names or () if name in definitions.by_name)], names or (), pipeline)
    undefined = [name for name in wanted if name not in definitions.by_name]
    if undefined:
        reasons = ". ".join(definitions.why_not_planned(undefined, pipeline))
        raise RefusedError(reasons, then=f"neo pin {pipeline}")
    if check:
        _check(definitions, wanted, command, pipeline)
    rows = []
    for name in wanted:
        defined = definitions.by_name[name]
        now = _pinned(defined, command)
        said_rows = sources[name].num_rows if name in sources else None
        rows.append((name, now, defined.pin, said_rows))
    command.say(_table(rows))
    command.end(
        {"sources": {name: _document(now) for name, now, *_ in rows}},
        then=f"neo plan {pipeline}",
    )


def planned_to_run(asked: TypedSelection, store: Store, command: CommandContext) -> Plan:
    """The plan for these arguments, every source pinned: small local ones are pinned now, and it is said.

    Raises `CommandError`, among others where another source is not pinned, or an evaluation would refuse its questions.
    """
    check_ray_version()
    request, definitions = requested_with_sources(asked, store)
    command.say(*check_site_names(command.site, request))
    if _pin_small_sources(request.unpinned, definitions, command):
        request, definitions = requested_with_sources(asked, store)
    plan = decided(asked, store, request, definitions)
    if request.unpinned:
        reasons = ". ".join(definitions.why_not_planned(request.unpinned, asked.pipeline))
        raise RefusedError(reasons, then=f"neo pin {asked.pipeline}")
    refuse_asked_about_training(plan.trained_on, asked.pipeline)
    return plan


def _pin_small_sources(unpinned: Sequence[str], definitions: Definitions, command: CommandContext) -> bool:
    """Pin those of the sources that are local and small, and say so; returns whether there was one."""
    is_any_pinned = False
    for name in unpinned:
        defined = definitions.by_name.get(name)
        if defined is not None and (selected := _small(defined)) is not None:
            _pinned(defined, command)
            is_any_pinned = True
            command.say(
                f"Pinned source {name}: {_files(len(selected.files))}, {size_in_words(selected.size_bytes)} -> "
                f"{defined.folder / LOCK}"
            )
    return is_any_pinned


def _small(defined: DefinedSource) -> Selected | None:
    """What a source selects, if it is local and small."""
    if any("://" in uri or uri.startswith("toy:") for uri in defined.entry.uri):
        return None
    try:
        selected = select(defined.entry.uri, defined.folder)
    except (StageError, StoreError, OSError) as error:
        raise RefusedError(f"source {defined.name!r}: {error}", then="neo pin --help") from error
    is_small = selected.size_bytes <= SMALL_BYTES and len(selected.files) <= SMALL_FILES
    return selected if is_small and isinstance(selected.place, FolderPlace) else None


def _wanted(known: Sequence[str], names: Sequence[str], pipeline: str) -> Sequence[str]:
    for name in names:
        if name not in known:
            raise BadCommandError(
                f"--source {name}: {pipeline} reads no such source{suggestion(name, list(known))}; "
                f"it reads: {', '.join(known) or 'none'}",
                then=f"neo pin {pipeline}",
            )
    return names or known


def _check(definitions: Definitions, names: Sequence[str], command: CommandContext, pipeline: str) -> None:
    """Compare every file with the lock, and end the command."""
    changed: dict[str, list[str]] = {}
    for name in names:
        defined = definitions.by_name[name]
        if defined.pin is None:
            changed[name] = ["it is not pinned"]
        else:
            changed[name] = differences(defined.pin, defined.folder, Thoroughness(reread=True))
        command.say(*(f"{name}: {line}" for line in changed[name] or ["as it was pinned"]))
    code = ExitCode.REFUSED if any(changed.values()) else ExitCode.DONE
    command.end({"changed": changed}, then=f"neo pin {pipeline}" if code else f"neo plan {pipeline}", code=code)


def _pinned(defined: DefinedSource, command: CommandContext) -> Pin:
    """Pin one source and write the lock file beside its definition, before the next source is read."""
    try:
        with _progress(command, defined.name) as told:
            found = pin(list(defined.entry.uri), defined.folder, progress=told)
    except (StageError, StoreError, OSError) as error:
        raise RefusedError(f"source {defined.name!r}: {error}", then="neo pin --help") from error
    keep_in_lock(defined.folder, defined.name, found)
    return found


@contextmanager
def _progress(command: CommandContext, name: str) -> Iterator[Told]:
    """A bar with the bytes digested so far; nothing where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    shown = command.console.is_terminal and not command.as_json
    with Progress(*columns, console=command.console, transient=True, disable=not shown) as progress:
        task = progress.add_task(f"Reading {name}", total=None)
        yield lambda done_bytes, total_bytes: progress.update(task, completed=done_bytes, total=total_bytes)


def _table(rows: Sequence[tuple[str, Pin, Pin | None, int | None]]) -> TextTable:
    table = TextTable("source", number("files", goes=1), number("size"), number("rows"), "digest", "")
    for name, now, before, said_rows in rows:
        rows_text = "" if now.num_rows is None else f"{now.num_rows:,}"
        if said_rows is not None and now.num_rows is not None and said_rows != now.num_rows:
            rows_text += f" (the recipe says {said_rows:,})"
        news = "new" if before is None else "unchanged" if before.digest == now.digest else "changed"
        table.add(name, len(now.files), size_in_words(now.size_bytes), rows_text, now.digest[:SHOWN_DIGITS], news)
    return table


def _document(found: Pin) -> dict[str, object]:
    return {
        "digest": found.digest,
        "uri": list(found.uri),
        "commit": found.commit,
        "num_files": len(found.files),
        "size_bytes": found.size_bytes,
        "num_rows": found.num_rows,
    }


def _files(number: int) -> str:
    return f"{number:,} {'file' if number == 1 else 'files'}"
