"""`neo diff`: what differs between two artifacts of a kind, or two runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer
from rich.text import Text

from pipelines.commands.context import CommandContext
from pipelines.comparing.differences import Differences, StepDifference, compare, document
from pipelines.comparing.scores import NumberChange, ScoreDifference, UnpairedEvaluation
from pipelines.comparing.sides import Side, side_of
from pipelines.exits import BadCommandError
from pipelines.screen.console import clean
from pipelines.screen.text_table import TextTable, number, sentence

MAX_LINES = 12
"""Numbers and versions of a step that are shown, at most; `--json` has all."""


def diff(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(metavar="A", help="A run, a name such as tiny/chat, or a fingerprint.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another of its kind.")],
) -> None:
    """Show what differs between two artifacts or runs.

    Along both lineages: recipes, code, versions, sources, counts and draws of the steps that differ, and scores on the
    same questions.
    """
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    first, second = side_of(store, a), side_of(store, b)
    if first.kind != second.kind:
        raise BadCommandError(
            f"{a} is {_of_kind(first)} and {b} is {_of_kind(second)}: name two of one kind", then="neo list"
        )
    found = compare(store, first, second)
    command.say(f"A  {_of_kind(first)} {first.name}", f"B  {_of_kind(second)} {second.name}", "", in_words(found), "")
    command.say(*(f"--set {change}" for change in found.settings))
    for step in found.steps:
        if step.relation != "same":
            command.say(step_table(step), "")
    for score in found.scores:
        command.say(*score_lines(score), "")
    if found.unpaired:
        command.say(unpaired_table(found.unpaired), "")
    command.end(document(first, second, found), then=f"neo trace {b}" if first.kind != "run" else f"neo show {b}")


def in_words(found: Differences) -> str:
    """How many steps are the same, differ, and are on one side alone, in a sentence."""
    if len(found.of("same")) == len(found.steps):
        return f"Nothing differs: all {len(found.steps)} steps are the same artifacts."
    counts = [
        (len(found.of("same")), "the same"),
        (len(found.of("differs")), "different"),
        (len(found.of("only_in_a")), "only in A"),
        (len(found.of("only_in_b")), "only in B"),
    ]
    return f"Of {len(found.steps)} steps: {', '.join(f'{number} {what}' for number, what in counts if number)}."


def step_table(step: StepDifference) -> TextTable:
    """What differs between two steps, a line for each field; one line where only what is read differs."""
    table = TextTable("", sentence(""), has_headings=False)
    both = f"{step.a} -> {step.b.rpartition('/')[2]}" if step.relation == "differs" else step.a or step.b
    renamed = f" (in B {step.renamed})" if step.renamed else ""
    alone = {"only_in_a": "  only in A", "only_in_b": "  only in B"}.get(step.relation, "")
    table.add(Text(clean(step.step + renamed), "bold"), Text(both + alone))
    for title, changes in (
        ("recipe", step.recipe), ("code", step.code), ("reads", step.reads), ("source", step.sources),
    ):  # fmt: skip
        for change in changes:
            table.add(f"  {title}", Text(clean(str(change)), "cyan"))
    if step.reads_changed:
        table.add("  reads", Text(clean(f"{', '.join(step.reads_changed)}: different")))
    if step.same_content:
        table.add("  holds", "the same, byte by byte")
    lines = [str(change) for change in step.versions] if step.differs_itself else []
    lines = [f"made with {line}" for line in lines] + [_number(change) for change in step.counts]
    for line in lines[:MAX_LINES]:
        table.add("", Text(clean(line)))
    if len(lines) > MAX_LINES:
        table.add("", f"... {len(lines) - MAX_LINES} more: --json")
    return table


def score_lines(score: ScoreDifference) -> Iterator[str | TextTable]:
    """Two evaluations, and their numbers that differ, without the ends of intervals."""
    yield from (f"scores on {_asked(score)}", f"  A  {score.a}", f"  B  {score.b}")
    table = TextTable("score", number("A"), number("B"), number("B - A"))
    shown = [one for one in score.numbers if one.a != one.b and not one.name.endswith(("_low", "_high"))]
    for one in shown[:MAX_LINES]:
        change = f"{one.b - one.a:+.4g}" if one.a is not None and one.b is not None else ""
        table.add(one.name, *("-" if value is None else f"{value:.4g}" for value in (one.a, one.b)), change)
    if len(shown) > MAX_LINES:
        table.add(f"... {len(shown) - MAX_LINES} more: --json")
    if not shown:
        table.add("all the same")
    yield table


def unpaired_table(unpaired: Sequence[UnpairedEvaluation]) -> TextTable:
    """The evaluations that are compared with none, each with what sets it apart from the nearest of the other side."""
    table = TextTable("", sentence(""), has_headings=False)
    table.add(Text("not compared", "bold"))
    for one in unpaired:
        own, other = ("A", "B") if one.side == "a" else ("B", "A")
        table.add(f"  {own}  {clean(one.evaluation)}", Text(clean(f"{one.step}, on {_asked(one)}")))
        for change in one.changes[:MAX_LINES]:
            table.add("", Text(clean(str(change)), "cyan"))
        if len(one.changes) > MAX_LINES:
            table.add("", f"... {len(one.changes) - MAX_LINES} more: --json")
        if not one.nearest:
            table.add("", f"{other} has none on these questions")
        elif not one.changes:
            table.add("", Text(clean(f"asks as {one.nearest} of {other}, and is not the only one that does")))
        else:
            table.add("", Text(clean(f"(between A and B; the nearest of {other} is {one.nearest})")))
    return table


def _asked(one: ScoreDifference | UnpairedEvaluation) -> str:
    return f"{one.questions} and {one.pairs}" if one.pairs else one.questions


def _number(change: NumberChange) -> str:
    before, after = ("none" if value is None else f"{value:,.10g}" for value in (change.a, change.b))
    by = f" ({change.b - change.a:+,.10g})" if change.a is not None and change.b is not None else ""
    return f"{change.name}: {before} -> {after}{by}"


def _of_kind(side: Side) -> str:
    return f"{side.kind}" if side.kind == "run" else f"artifact {side.kind}"
