"""`neo resume`: a new attempt of a run, from its frozen plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import KeepCodeOption, OptionalRunArgument, RollbackOption
from pipelines.commands.plan import in_words, plan_table
from pipelines.commands.run import carry_on, nothing_to_make
from pipelines.commands.selection import TypedSelection, requested
from pipelines.commands.status import later_takedowns
from pipelines.exits import CommandError, ResumeRefusedError
from pipelines.planning.plan import Plan, check_only, decide
from pipelines.planning.request import Request
from pipelines.planning.site_checks import check_ray_version, check_site_names
from pipelines.planning.source_checks import check_frozen_sources
from pipelines.runs.attempts import supersede
from pipelines.runs.own_code import explained, with_newest_code
from pipelines.runs.refs import find_run
from pipelines.runs.resume import check_plan_matches_code, lost_work, newest_run, wait_for_known_state
from pipelines.runs.run import Run
from stages.store.store import Store

TakeOverOption = Annotated[
    bool,
    typer.Option("--take-over", help="Supersede an attempt that may still be at work, if its machines are lost."),
]


def resume(
    ctx: typer.Context,
    run: OptionalRunArgument = None,
    *,
    take_over: TakeOverOption = False,
    allow_rollback: RollbackOption = False,
    keep_code: KeepCodeOption = False,
) -> None:
    """Resume a run from its frozen plan.

    Steps and recipes are those of the plan; the code of your own stages is that of their file now, if it is there.
    Committed parts are not made again, training continues from its last committed checkpoint.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    resumed = find_run(store, run) if run else newest_run(store, unfinished=True)
    if resumed is None:
        command.say(f"Nothing to resume: every run in {store.url} is done.")
        command.end({"run": None}, then="neo list")
    plan = decide(resumed.request, store)
    if not plan.to_make:
        nothing_to_make(plan, command)
    request, changes = (resumed.request, []) if keep_code else with_newest_code(resumed)
    plan = explained(decide(request, store), store)
    current = resumed if request is resumed.request else Run(store, request.run)
    if not plan.to_make:  # the newest code has made it all, under another run
        command.say(*changes)
        nothing_to_make(plan, command)
    check_only(plan, store)
    check_plan_matches_code(plan)
    check_ray_version()
    command.say(*check_site_names(command.site, plan.request))
    check_frozen_sources(plan.request, plan.to_make, store, command.site.sources, then=plan.request.command)
    if take_over:
        ended = supersede(resumed, "superseded by `neo resume --take-over`")
        command.say(*(f"Attempt {number} is superseded: it commits nothing more." for number in ended))
    else:
        _refuse_if_alive(resumed, command)
    if current.name != resumed.name:
        _refuse_if_alive(current, command)
    command.say(*changes)
    command.say(plan_table(plan, graph=False), in_words(plan))
    command.say(*_what_was_lost(resumed, plan), *_what_differs(plan.request, store, command.site.sources))
    command.say(*later_takedowns(store, plan.request), "")
    carry_on(plan, command, again=f"neo resume {current.name}", allows_rollback=allow_rollback)


def _refuse_if_alive(run: Run, command: CommandContext) -> None:
    """Two attempts at once would not harm each other, but the second would only wait for the first."""
    if wait_for_known_state(run, command.say) == "running":
        last = list(run.attempts())[-1]
        raise ResumeRefusedError(
            f"run {run.name} is under way: attempt {last.number} on {last.host}, process {last.process_id}",
            then=f"neo status {run.name} --watch   (or neo cancel {run.name}; or, if its machines are lost, "
            f"neo resume {run.name} --take-over)",
        )


def _what_was_lost(run: Run, plan: Plan) -> list[str]:
    attempts = list(run.attempts())
    if not attempts:
        return []
    number = attempts[-1].number
    end = run.end(number)
    ended = f"{end.outcome}{f', {end.reason}' if end.reason else ''}" if end else "its end is not on record"
    lost = lost_work(run, plan, number)
    lines = [f"  {step}: {words}" for step, words in lost.items()]
    return [f"Attempt {number} ended: {ended}. Lost work: {'' if lost else 'nothing known'}".rstrip(), *lines]


def _what_differs(request: Request, store: Store, places: Mapping[str, str]) -> list[str]:
    """A line if the pipeline's file, as it is now, gives another run."""
    try:
        today = requested(TypedSelection.as_before(request, places), store)
    except CommandError as error:
        return [f"The pipeline cannot be loaded any more ({error}); this run does not need it."]
    if today.run == request.run:
        return []
    return [
        f"{request.request} has changed since; this run continues from its frozen plan. "
        f"The pipeline as it is now is run {today.run}: {today.command}"
    ]
