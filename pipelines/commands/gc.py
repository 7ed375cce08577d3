"""`neo gc`: what of a store may be deleted, and its deletion."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from pipelines.commands.context import CommandContext
from pipelines.exits import BadCommandError, RefusedError
from pipelines.garbage.deletion import Deletion
from pipelines.garbage.lists import list_key
from pipelines.garbage.reachability import Reachability, name_of
from pipelines.garbage.survey import Candidate, Survey, survey
from pipelines.runs.refs import find_run, runs_and_artifacts
from pipelines.screen.byte_progress import size_in_words
from pipelines.screen.console import clean
from pipelines.screen.text_table import TextTable, number, sentence
from stages.store.errors import TornRecordError
from stages.store.store import Store

DEFAULT_GRACE_HOURS = 24.0
MAX_GRACE_HOURS = 876_000
"""A hundred years: no store is older."""
SCHEMA_VERSION = 1
"""Version of the JSON document: raised where a field changes its meaning or goes."""


def gc(
    ctx: typer.Context,
    *,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; without this, it is only shown.")] = False,
    forgets: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="RUN", help="A run that shall keep nothing any more; may be repeated."),
    ] = None,
    keeps: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="REF", help="What stays, with all it was made of; may be repeated."),
    ] = None,
    grace_hours: Annotated[
        float, typer.Option("--grace", metavar="HOURS", min=0.0, help="What was written within these hours stays.")
    ] = DEFAULT_GRACE_HOURS,
) -> None:
    """Show what may be deleted, and delete it with --delete.

    What no run and no name leads to, and uploads that no record names. All that a checkpoint's replay reads stays: what
    it was made of, and what that leans on.
    """
    if not grace_hours <= MAX_GRACE_HOURS:  # which nan is not, either
        raise BadCommandError(
            f"--grace {grace_hours:g}: give hours from 0 to {MAX_GRACE_HOURS:,}, a hundred years", then="neo gc"
        )
    command: CommandContext = ctx.obj
    store = command.store_to_write() if delete else command.store_to_read()
    forgotten = [_forgettable(store, ref) for ref in forgets or ()]
    kept_runs, kept = runs_and_artifacts(store, keeps or ())
    grace = timedelta(hours=grace_hours)
    reached = Reachability(store, [name_of(*one) for one in kept], forgotten)
    with _refusing_damage():
        for run in kept_runs:
            reached.add_run(run)
        found = survey(store, reached, grace, datetime.now(UTC))
    command.say(*_in_words(found, kept_runs, delete=delete))
    document: dict[str, Any] = {"version": SCHEMA_VERSION, "deleted": False, **_document(found)}
    typed = [word for run in forgotten for word in ("--forget", run)]
    typed += [word for ref in keeps or () for word in ("--keep", ref)]
    typed += ["--grace", f"{grace_hours:g}"] if grace_hours != DEFAULT_GRACE_HOURS else []
    if not found.deletable and not found.runs:
        command.end(document, then="neo list")
    if not delete:
        command.end(document, then=" ".join(["neo gc --delete", *typed]))
    deletion = Deletion(store, reached, grace, lambda line: command.say(clean(line)))
    with _refusing_damage():
        end = deletion.carry_out(found)
    command.say(
        "",
        f"Deleted {end.num_objects:,} objects, {size_in_words(end.size_bytes)}; {list_key(deletion.number)} in the "
        "store names them.",
    )
    document |= {"deleted": True, "list": list_key(deletion.number), "spared": end.spared}
    command.end(document, then="neo list")


@contextmanager
def _refusing_damage() -> Iterator[None]:
    try:
        yield
    except TornRecordError as error:
        raise RefusedError(
            f"nothing is deleted while a record is damaged that may lead to anything: {error}", then="neo list"
        ) from error


def _forgettable(store: Store, ref: str) -> str:
    """The name of a run that may be forgotten. Raises `CommandError` for none, and for one that is at work."""
    run = find_run(store, ref)
    if run.state() in ("running", "unknown"):
        raise RefusedError(f"--forget {ref}: {run.name} is at work", then=f"neo cancel {run.name}")
    return run.name


def _in_words(found: Survey, kept_runs: Sequence[str], *, delete: bool) -> list[TextTable | str]:
    words: list[TextTable | str] = [f"{'Forgetting' if delete else 'To forget:'} run {run}." for run in found.runs]
    words += [f"Keeping all that run {run} makes." for run in kept_runs]
    words += [""] if words else []
    if found.deletable:
        words += [_table(found.deletable), ""]
    staying = [one for one in found.candidates if one.stays]
    if staying:
        words += ["Left for now, being too new (--grace), or needed by what is:", _table(staying), ""]
    if not found.deletable:
        return [*words, "Nothing may be deleted: runs and names lead to all the rest."]
    total = found.total
    will = "Deleting" if delete else "To delete:"
    return [*words, f"{will} {total.number:,} objects, {size_in_words(total.size_bytes)}."]


def _table(candidates: Sequence[Candidate]) -> TextTable:
    table = TextTable("artifact", number("objects", goes=1), number("size"), sentence("why"))
    for one in candidates:
        why = "; ".join(filter(None, (one.why, one.stays)))
        table.add(one.short, one.objects.number, size_in_words(one.objects.size_bytes), why)
    return table


def _document(found: Survey) -> dict[str, Any]:
    def listed(one: Candidate) -> dict[str, Any]:
        return {
            "artifact": one.short,
            "why": one.why,
            "is_whole": one.is_whole,
            "num_objects": one.objects.number,
            "size_bytes": one.objects.size_bytes,
        }

    return {
        "deletions": [listed(one) for one in found.deletable],
        "stays": [{**listed(one), "stays": one.stays} for one in found.candidates if one.stays],
        "forgotten": list(found.runs),
        "num_objects": found.total.number,
        "size_bytes": found.total.size_bytes,
    }
