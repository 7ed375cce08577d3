"""`neo plan`: what a run would do with each step, and why. Starts nothing and writes nothing."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.commands.options import OnlyOption, PipelineArgument, SetOption, UntilOption, UseOption
from pipelines.commands.selection import TypedSelection, planned
from pipelines.planning.plan import Decision, Plan
from pipelines.screen.text_graph import lanes
from stages.artifacts.fingerprint import SHOWN_DIGITS

ACTION_STYLES = {"make": "bold cyan", "continue": "yellow", "reuse": "green dim"}


def plan(
    ctx: typer.Context,
    pipeline: PipelineArgument,
    *,
    settings: SetOption = None,
    until: UntilOption = None,
    only: OnlyOption = None,
    uses: UseOption = None,
    graph: Annotated[bool, typer.Option("--graph", help="Draw which step reads which.")] = False,
) -> None:
    """Show what a run would make, reuse or continue.

    A row for each step, with the reason. Changes nothing.
    """
    asked = TypedSelection(pipeline, settings or (), until, only, uses or ())
    command: CommandContext = ctx.obj
    current = planned(asked, command.possible_store())
    command.say(plan_table(current, graph=graph), in_words(current))
    command.end(plan_document(current), then=current.request.command)


def plan_table(plan: Plan, *, graph: bool) -> Table:
    """A row for each step: its action and the reason; with `graph`, lanes that draw which step reads which."""
    edges = {step.name: sorted({item.step for item in step.inputs.values()}) for step in plan.request.steps}
    drawn = lanes(edges)
    table = Table(box=None, pad_edge=False)
    for heading in [*([""] if graph else []), "step", "stage", "artifact", "plan", "why"]:
        table.add_column(heading, no_wrap=heading != "why", overflow="fold")
    for step, decision in zip(plan.request.steps, plan.decisions, strict=True):
        why = Text(decision.reason)
        for change in decision.changes:
            why.append(f"\n{change}", style="cyan")
        table.add_row(
            *([drawn[step.name]] if graph else []),
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


def plan_document(plan: Plan) -> dict[str, object]:
    """The plan as a JSON document."""
    return {
        "run": plan.request.run,
        "pipeline": plan.request.pipeline,
        "settings": list(plan.request.settings),
        "steps": [
            {
                "name": step.name,
                "stage": step.stage,
                "fingerprint": step.fingerprint,
                "reads": {name: item.step for name, item in step.inputs.items()},
                **_decided(decision),
            }
            for step, decision in zip(plan.request.steps, plan.decisions, strict=True)
        ],
    }


def _decided(decision: Decision) -> dict[str, object]:
    return decision.model_dump(mode="json", exclude={"step"})
