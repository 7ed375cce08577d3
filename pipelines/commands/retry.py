"""`neo retry`: fetch failed rows of a download again, and make what reads it of them."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import UntilOption
from pipelines.commands.pin import planned_to_run
from pipelines.commands.plan import confirm_unused, in_words, plan_document, plan_table
from pipelines.commands.run import carry_on, nothing_to_make
from pipelines.commands.selection import TypedSelection
from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.plan import Plan

ReasonsOption = Annotated[
    str,
    typer.Option(
        "--reasons",
        metavar="REASONS",
        help="Reasons of the rows, such as timeout,server_error; `transient` is all that another try may mend.",
    ),
]


def retry(
    ctx: typer.Context,
    ref: Annotated[
        str,
        typer.Argument(
            metavar="REF",
            help="A download, pictures collected for conversations, or an import of what img2dataset downloaded: "
            "PIPELINE/STEP, RUN/STEP, digits of its fingerprint, or a run with one download.",
        ),
    ],
    *,
    reasons: ReasonsOption = "transient",
    until: UntilOption = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and start nothing.")] = False,
) -> None:
    """Fetch failed rows of a committed download again.

    The pictures go into parts of their own, behind the parts of the download, which stay as they are. Then the other
    steps of its run are made of both: what does not change is taken over. Named again, rows that failed again are
    fetched once more.
    """
    from pipelines.runs.retries import find_download
    from stages.download.failed_rows import spelled_reasons

    command: CommandContext = ctx.obj
    try:
        wanted = spelled_reasons(reasons.split(","))
    except ValueError as error:
        raise BadCommandError(f"--reasons {reasons}: {error}", then=f"neo show {ref}") from error
    store = command.possible_store() if plan else command.store_to_write()
    found = find_download(store, ref)
    num_rows, name = found.num_failed(wanted), f"{found.request.run}/{found.step.name}"
    if not num_rows:
        failed = ", ".join(f"{number:,} {reason}" for reason, number in found.head.items.failed.items())
        command.say(f"Nothing to retry: no row of {name} failed for {reasons}. Failed rows: {failed or 'none'}.")
        command.end({"retried": name, "reasons": list(wanted), "num_rows": 0}, then=f"neo show {name}")
    before = TypedSelection.as_before(found.request, command.site.sources)
    asked = before.with_retry(f"{found.step.name}={reasons}", until or before.until)
    current = planned_to_run(asked, store, command)
    _check_same(current, found.step.name, found.step.fingerprint, ref)
    command.say(f"{num_rows:,} rows of {name} failed for {reasons} and are to be fetched again.", "")
    if not current.to_make:
        nothing_to_make(current, command)
    command.say(plan_table(current, graph=False), in_words(current), "")
    if plan:
        command.end(plan_document(current), then=current.request.command)
    confirm_unused(current, command)
    carry_on(current, command, again=current.request.command, allows_rollback=False)


def _check_same(plan: Plan, step: str, fingerprint: str, ref: str) -> None:
    """Raise `RefusedError` where the pipeline, as it is now, names another download by this step."""
    now = next((one.fingerprint for one in plan.request.steps if one.name == step), None)
    if now != fingerprint:
        raise RefusedError(
            f"the pipeline {plan.request.request} has changed since: its step {step!r} is no longer what {ref} names; "
            "run it as it is now, then retry that",
            then=f"neo plan {plan.request.request}",
        )
