"""`neo impact`: what bad data did, in which steps and checkpoints it is, and what training again costs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from pipelines.commands.asked_about import (
    ListOption,
    MadeByOption,
    OfOption,
    PartOption,
    ReasonOption,
    SourceOption,
    TypedQuestion,
    WhatArgument,
)
from pipelines.commands.context import CommandContext
from pipelines.commands.exposure import section, steps_in_words, unsure_sections
from pipelines.commands.options import DomainOption, more_option, with_more_options
from pipelines.exits import ExitCode
from pipelines.lineage.graph import all_nodes, lineage_of
from pipelines.planning.request import FROZEN_PLAN, Request
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.text_table import Column, TextTable, number, sentence
from stages.store.store import Store
from stages.surfaces.first_few import first_few

if TYPE_CHECKING:
    from pipelines.commands.find_asked import Asked
    from pipelines.exposure.impact import Impact, TrainingImpact

SCHEMA_VERSION = 1
"""Version of the JSON document: raised where a field changes its meaning or goes."""
MAX_CHECKPOINTS = 6
"""Checkpoints that a line names, at most; `--json` has all."""
BehindOption: TypeAlias = Annotated[
    str | None, typer.Option("--behind", metavar="REF", help="Tell of REF alone and of what it was made of.")
]


@with_more_options(
    more_option("reason", None, ReasonOption),
    more_option("made_by", None, MadeByOption),
    more_option("behind", None, BehindOption),
)
def impact(
    ctx: typer.Context,
    what: WhatArgument = None,
    *,
    listed: ListOption = None,
    domain: DomainOption = None,
    source: SourceOption = None,
    of: OfOption = None,
    parts: PartOption = None,
) -> None:
    """Show which steps hold something bad, and what to train again.

    For example: neo impact --of tiny/pairs --part 00003. The trainings that read it, finished or not, with the first
    step; what began from them; what was made of them; the last clean checkpoint before; and steps, rows, tokens and
    hours to train again from there. Nothing behind something that cannot be read is called clean.
    """
    from pipelines.commands.find_asked import find, with_asked
    from pipelines.exposure.account import weigh
    from pipelines.exposure.holds import Doubts, note_missing
    from pipelines.exposure.impact import Judge
    from pipelines.exposure.wanted import ANY

    command: CommandContext = ctx.obj
    question = TypedQuestion(what=what, listed=listed, domain=domain, source=source, of=of, parts=parts or (),
                        reason=command.reason, made_by=command.made_by, verb="neo impact")  # fmt: skip
    question.check()
    store, doubts = command.store_to_read(), Doubts()
    nodes = {node.short: node for node in all_nodes(store)}
    among = None
    if command.behind is not None:
        lineage = lineage_of(store, *resolve_artifact(store, command.behind))
        among = frozenset(node.short for node in lineage.nodes)
        nodes = with_asked(store, question, {short: node for short, node in nodes.items() if short in among})
    note_missing(nodes, doubts)
    found = find(command, store, question, nodes, doubts)
    whole = frozenset(
        short
        for short, hold in found.beginnings.holds.items()
        if (question.of or question.made_by) and not question.parts and ANY in hold and hold[ANY].is_every
    )
    told = Judge(weigh(store, nodes.values(), found.beginnings, doubts), whole, among).judge()
    command.say(f"{found.title}:", *found.lines(), "", *_tables(told))
    command.say("", _conclusion(told))
    document: dict[str, Any] = {"version": SCHEMA_VERSION, **found.document, **told.document}
    code = ExitCode.STEP_FAILED if told.doubts else ExitCode.DONE
    command.end(document, then=_next(store, told, found), code=code)


def _tables(told: Impact) -> Iterator[TextTable | str]:
    if told.trainings:
        yield _trainings_table(told)
    if any(one.holds for one in told.trainings):
        yield from ("", _again_table(told))
    if told.made:
        yield from ("", _made_table(told))
    yield from section("Hold none of it:", told.clean)
    yield from unsure_sections(told)


def _trainings_table(told: Impact) -> TextTable:
    table = TextTable(
        "training",
        Column("artifact", goes=1),
        number("from step"),
        sentence("steps that read it"),
        sentence("checkpoints"),
    )
    for one in told.trainings:
        first = "not known" if one.first_step is None and one.doubts else "none yet"
        table.add(
            one.training.step,
            one.training.short,
            first if one.first_step is None else one.first_step,
            _steps(one),
            first_few([f"{step:,}" for step in one.checkpoints], MAX_CHECKPOINTS),
        )
    return table


def _steps(one: TrainingImpact) -> str:
    """Which steps read it, in words."""
    words = []
    if one.is_bad_itself:
        words.append("it is what was asked about")
    if one.begins_from:
        words.append(f"began from {first_few(list(one.begins_from), MAX_CHECKPOINTS)}")
    if one.reads.first is not None or not words:
        words.append(f"{steps_in_words(one.reads.stretches)} of {one.training.num_taken:,}")
    if one.to_come.first is not None:
        words.append(f"still to come: {steps_in_words(one.to_come.stretches)}")
    if one.doubts:
        words.append("maybe more: something could not be read")
    return "; ".join(words)


def _again_table(told: Impact) -> TextTable:
    table = TextTable(
        "to train again",
        sentence("from"),
        number("steps"),
        number("rows", goes=1),
        number("tokens"),
        sentence("hours x ranks"),
    )
    for one in told.trainings:
        if one.holds:
            cost = one.cost
            hours = cost.hours_from if cost.rank_hours is None else f"{cost.rank_hours:,.3g} ({cost.hours_from})"
            tokens = "?" if cost.num_tokens is None else f"{cost.num_tokens:,.0f}"
            table.add(one.training.step, _from(one), cost.num_steps, cost.num_rows, tokens, hours)
    return table


def _from(one: TrainingImpact) -> str:
    """Where to train again from, in words."""
    if one.clean is None:
        return "step 0, once what it begins from is made again"
    remark = f": {one.clean.remark}" if one.clean.remark else ""
    if not one.clean.training:
        return f"step 0{remark}"
    other = "" if one.clean.training == one.training.short else f" of {one.clean.training}"
    return f"checkpoint {one.clean.at_step:,}{other}{remark}"


def _made_table(told: Impact) -> TextTable:
    table = TextTable("holds it too", "artifact", Column("kind", goes=1), sentence("how"))
    for one in told.made:
        through = f": {first_few(list(one.through), MAX_CHECKPOINTS)}" if one.through else ""
        table.add(one.step, one.short, one.kind, f"{one.how}{through}")
    return table


def _conclusion(told: Impact) -> str:
    """What it comes to, in a sentence or two."""
    holding = [one for one in told.trainings if one.holds]
    coming = [one for one in told.trainings if one.to_come.first is not None]
    words = []
    if holding:
        again: Mapping[str, Any] = told.again
        hours = "" if again["rank_hours"] is None else f" and {again['rank_hours']:,.3g} hours times ranks"
        words.append(
            f"{len(holding):,} training{'' if len(holding) == 1 else 's'} and {len(told.made):,} "
            f"artifact{'' if len(told.made) == 1 else 's'} made of them hold it; training again takes "
            f"{again['num_steps']:,} steps{hours}."
        )
    if coming:
        words.append(f"{coming[0].training.step} will read it at step {coming[0].to_come.first:,}.")
    if told.doubts:
        words.append("Something cannot be read, so more may hold it: what is not named here is not called clean.")
    elif not holding:
        words.append("No committed step of a training holds it.")
    return " ".join(words)


def _next(store: Store, told: Impact, found: Asked) -> str:
    if told.doubts:
        at = next(iter(found.doubts.reasons))
        return f"neo audit {at}"
    for one in told.trainings:
        if one.to_come.first is not None and not one.holds:
            step = one.to_come.first
            return f"neo skip {one.training.short.rpartition('/')[2]} --step {step} --reason TEXT"
        if one.clean is not None and one.clean.training == one.training.short:
            plan = FROZEN_PLAN.read_or_skip(store, f"runs/{one.training.run}/plan.json") if one.training.run else None
            if plan is not None:
                return _plan_from(plan, one.training.step, one.clean.at_step)
    names = [one.training.short for one in told.trainings] + [one.short for one in told.made]
    return f"neo trace {names[-1]}" if names else "neo list"


def _plan_from(request: Request, step: str, at_step: int) -> str:
    """The command that plans a request again, with one training begun from its own checkpoint."""
    steps = tuple(one.model_copy(update={"fork": None}) if one.name == step else one for one in request.steps)
    command = request.model_copy(update={"steps": steps}).command
    return f"{command.replace('neo run', 'neo plan', 1)} --from {shlex.quote(f'{step}@{at_step}')}"
