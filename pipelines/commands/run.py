"""`neo run`: plan a pipeline, run the steps that are not committed, and report the result."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.options import (
    FromOption,
    OnlyOption,
    PipelineArgument,
    RollbackOption,
    SetOption,
    UntilOption,
    UseOption,
    with_retry_rows,
)
from pipelines.commands.pin import planned_to_run
from pipelines.commands.plan import confirm_unused, in_words, plan_document, plan_table
from pipelines.commands.selection import TypedSelection
from pipelines.exits import ExitCode
from pipelines.planning.plan import Plan
from pipelines.running.attempt import RunGraph
from pipelines.running.execute_run import execute_run
from pipelines.running.names import point_name
from pipelines.running.summary import look_closer, next_command, report, result_document
from pipelines.screen.console import Display


@with_retry_rows
def run(
    ctx: typer.Context,
    pipeline: PipelineArgument,
    *,
    settings: SetOption = None,
    until: UntilOption = None,
    only: OnlyOption = None,
    uses: UseOption = None,
    froms: FromOption = None,
    allow_rollback: RollbackOption = False,
) -> None:
    """Run every step that is not committed yet.

    Partly done steps continue. If all is committed, Ray is not started. Ctrl-C asks the run to stop at its next
    commit; a second one within 3 s stops it at once. Run it again to continue.
    """
    command: CommandContext = ctx.obj
    asked = TypedSelection(pipeline, settings or (), until, only, uses or (), command.site.sources, froms or ())
    asked = replace(asked, retries=command.retry_rows)
    store = command.store_to_write()
    plan = planned_to_run(asked, store, command)
    if not plan.to_make:
        nothing_to_make(plan, command)
    command.say(plan_table(plan, graph=False), in_words(plan), "")
    confirm_unused(plan, command)
    carry_on(plan, command, again=plan.request.command, allows_rollback=allow_rollback)


def carry_on(plan: Plan, command: CommandContext, *, again: str, allows_rollback: bool) -> NoReturn:
    """Execute a plan, report the result, and end the command. `again` is the command that continues if work is left."""
    plan = plan.model_copy(update={"allows_rollback": allows_rollback})
    result = execute_run(plan, command.site, lambda board: Display(command.console, board), machines())
    command.say(*report(plan, result, command.site, command.on_same_site))
    then = look_closer(plan) if result.code == ExitCode.DONE else next_command(result, again)
    command.end(result_document(plan, result), then=then, code=result.code)


def machines() -> RunGraph:
    """What executes the graph. Imported late: Ray takes seconds, and is not needed if there is nothing to make."""
    from cluster.graph import run_graph

    return run_graph


def nothing_to_make(plan: Plan, command: CommandContext) -> NoReturn:
    """End a command with nothing to make. Also moves names back, which another version of the pipeline may have moved,
    and delivers messages that dead attempts left."""
    store = command.possible_store()
    for step in plan.request.steps:
        point_name(store, plan.request, step.name, plan.request.run)
    command.deliver_pending(store, patiently=True)
    command.say(plan_table(plan, graph=False), in_words(plan))
    command.end(plan_document(plan), then=look_closer(plan))
