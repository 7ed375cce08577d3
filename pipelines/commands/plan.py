"""`neo plan`: what a run would do with each step, and why. Starts nothing and writes nothing."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Annotated

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import (
    FromOption,
    OnlyOption,
    PipelineArgument,
    SetOption,
    UntilOption,
    UseOption,
    with_retry_rows,
)
from pipelines.commands.selection import TypedSelection, decided, requested_with_sources
from pipelines.exits import RefusedError
from pipelines.planning.held_out_checks import holds_nothing_out
from pipelines.planning.plan import Decision, Plan
from pipelines.planning.recipe_diff import paths_in
from pipelines.planning.request import FrozenStep
from pipelines.planning.site_checks import check_site_names
from pipelines.screen.text_graph import lanes
from pipelines.screen.text_table import Column, TextTable, sentence
from stages.artifacts.fingerprint import SHOWN_DIGITS

ACTION_STYLES = {"make": "bold cyan", "continue": "yellow", "reuse": "green dim"}


@with_retry_rows
def plan(
    ctx: typer.Context,
    pipeline: PipelineArgument,
    *,
    settings: SetOption = None,
    until: UntilOption = None,
    only: OnlyOption = None,
    uses: UseOption = None,
    froms: FromOption = None,
    graph: Annotated[bool, typer.Option("--graph", help="Draw which step reads which.")] = False,
) -> None:
    """Show what a run would make, reuse or continue.

    A row for each step, with the reason. Changes nothing.
    """
    command: CommandContext = ctx.obj
    asked = TypedSelection(pipeline, settings or (), until, only, uses or (), command.site.sources, froms or ())
    asked = replace(asked, retries=command.retry_rows)
    store = command.possible_store()
    request, definitions = requested_with_sources(asked, store)
    command.say(*check_site_names(command.site, request))
    current = decided(asked, store, request, definitions)
    command.say(plan_table(current, graph=graph), in_words(current))
    if current.request.unpinned:
        command.say("", *definitions.why_not_planned(current.request.unpinned, pipeline))
    then = f"neo pin {pipeline}" if current.request.unpinned else current.request.command
    command.end(plan_document(current), then=then)


def plan_table(plan: Plan, *, graph: bool) -> TextTable:
    """A row for each step: its action and the reason; with `graph`, lanes that draw which step reads which."""
    edges = {step.name: sorted({item.step for item in step.inputs.values()}) for step in plan.request.steps}
    drawn = lanes(edges)
    columns = (Column("step"), Column("stage", goes=1), Column("artifact"), Column("plan"), sentence("why"))
    table = TextTable(*([Column("", "lanes")] if graph else []), *columns)
    for step, decision in zip(plan.request.steps, plan.decisions, strict=True):
        why = Text(decision.reason)
        for change in decision.changes:
            why.append(f"\n{change}", style="cyan")
        if decision.unused is not None:
            why.append(f"\n{decision.unused}", style="yellow")
        for field in _uncompared(step):
            why.append(f"\n{field} is a path, and what lies there is not compared: take a Source", style="yellow")
        if holds_nothing_out(step):
            why.append("\nholds nothing out: bind what the model is examined on to `heldout`", style="yellow")
        if decision.trained_on:
            why.append(f"\n{decision.trained_on}; it would refuse to begin", style="yellow")
        table.add(
            *(["\n".join(drawn[step.name])] if graph else []),
            step.name,
            step.stage,
            step.fingerprint[:SHOWN_DIGITS],
            Text(decision.action, ACTION_STYLES[decision.action]),
            why,
        )
    return table


def in_words(plan: Plan) -> str:
    """The number of steps to make, to continue and to reuse, in a sentence."""
    numbers = {action: sum(d.action == action for d in plan.decisions) for action in ("make", "continue", "reuse")}
    if not plan.to_make:
        return f"Nothing to make: all {numbers['reuse']} steps of {plan.request.pipeline} are committed."
    counts = ", ".join(f"{number} to {action}" for action, number in numbers.items() if number)
    return f"{plan.request.pipeline}: {counts} (run {plan.request.run})"


def confirm_unused(plan: Plan, command: CommandContext) -> None:
    """Ask a person whether trainings may begin anew that leave committed steps unused; a script is not asked.

    Raises `RefusedError` if they may not.
    """
    if not plan.unused or command.as_json or not (command.console.is_terminal and sys.stdin.isatty()):
        return
    names = ", ".join(plan.unused)
    if not typer.confirm(f"Begin {names} at step 0?"):
        raise RefusedError(
            f"nothing was started: {names} would have begun at step 0; what was committed before stays",
            then=f"neo plan {plan.request.request}",
        )


def plan_document(plan: Plan) -> dict[str, object]:
    """The plan as a JSON document."""
    return {
        "run": plan.request.run,
        "pipeline": plan.request.pipeline,
        "settings": list(plan.request.settings),
        "sources": {name: source.model_dump(mode="json") for name, source in plan.request.sources.items()},
        "unpinned": list(plan.request.unpinned),
        "steps": [
            {
                "name": step.name,
                "stage": step.stage,
                "fingerprint": step.fingerprint,
                "reads": {name: item.step for name, item in step.inputs.items()},
                "uncompared_paths": _uncompared(step),
                "holds_nothing_out": holds_nothing_out(step),
                **_decided(decision),
            }
            for step, decision in zip(plan.request.steps, plan.decisions, strict=True)
        ],
    }


def _uncompared(step: FrozenStep) -> list[str]:
    """Fields of a user's stage that hold a path of this machine as text."""
    return paths_in(step.recipe) if step.code else []


def _decided(decision: Decision) -> dict[str, object]:
    return decision.model_dump(mode="json", exclude={"step"})
