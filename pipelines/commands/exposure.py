"""`neo exposure`: how often weights saw a sample, a part, a domain or a source, and what of that is not known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import typer

from pipelines.commands.asked_about import (
    ListOption,
    OfOption,
    PartOption,
    ReasonOption,
    SourceOption,
    TypedQuestion,
    WhatArgument,
)
from pipelines.commands.context import CommandContext
from pipelines.commands.options import DomainOption, RefArgument, more_option, with_more_options
from pipelines.exits import BadCommandError, ExitCode
from pipelines.lineage.graph import all_nodes
from pipelines.runs.refs import resolve_artifact
from pipelines.screen.text_table import Column, TextTable, number, sentence
from stages.artifacts.fingerprint import SHOWN_DIGITS

if TYPE_CHECKING:
    from pipelines.exposure.account import Exposure
    from pipelines.exposure.impact import Impact

SCHEMA_VERSION = 1
"""Version of the JSON document: raised where a field changes its meaning or goes."""
MAX_STRETCHES = 6
"""Runs of consecutive steps that a line shows, at most; `--json` has all."""
MAX_LINES = 20
"""Lines that a section shows, at most; `--json` has all."""


@with_more_options(more_option("reason", None, ReasonOption))
def exposure(
    ctx: typer.Context,
    ref: RefArgument,
    what: WhatArgument = None,
    *,
    listed: ListOption = None,
    domain: DomainOption = None,
    source: SourceOption = None,
    of: OfOption = None,
    parts: PartOption = None,
) -> None:
    """Show how often, and in which steps, weights saw something.

    For example: neo exposure tiny/chat --domain example.org. What REF was trained on, itself and in the weights that it
    began from, by optimizer step; what it was only examined on, measured on or wrote captions for; and what the store
    does not know, such as what a language model from outside has seen. 0 is claimed only where it is known.
    """
    from pipelines.commands.find_asked import find, with_asked
    from pipelines.exposure.account import weigh
    from pipelines.exposure.holds import Doubts, note_missing, relevant
    from pipelines.exposure.weights import USERS

    command: CommandContext = ctx.obj
    question = TypedQuestion(what=what, listed=listed, domain=domain, source=source, of=of, parts=parts or (),
                        reason=command.reason, verb="neo exposure")  # fmt: skip
    question.check()
    store, doubts = command.store_to_read(), Doubts()
    stage, fingerprint = resolve_artifact(store, ref)
    short = f"{stage}/{fingerprint[:SHOWN_DIGITS]}"
    nodes = {node.short: node for node in all_nodes(store)}
    head = nodes[short].head if short in nodes else None
    if head is not None and head.kind not in USERS:
        raise BadCommandError(f"{short} holds {head.kind}, which is no weights", then=f"neo show {short}")
    near = with_asked(store, question, relevant(nodes, short)) if head is not None else nodes
    note_missing(near, doubts)
    found = find(command, store, question, near, doubts, elsewhere=nodes)
    told = weigh(store, near.values(), found.beginnings, doubts).exposure(short)
    if head is None and not told.trained_on:
        why = f": {nodes[short].why_no_head}" if short in nodes else ""
        raise BadCommandError(f"{short} is no training that began, and is not committed{why}", then="neo list")
    command.say(f"{short} and {found.title}:", *found.lines(), "", *_tables(told))
    command.say("", _conclusion(told))
    document: dict[str, Any] = {"version": SCHEMA_VERSION, "weights": short, **found.document, **told.document}
    code = ExitCode.STEP_FAILED if told.doubts else ExitCode.DONE
    command.end(document, then=_next(told), code=code)


def _tables(told: Exposure) -> Iterator[TextTable | str]:
    yield _trained_table(told)
    if told.otherwise or told.captions:
        yield from ("", _otherwise_table(told))
    yield from section("Not known:", [f"{one.what}: {one.why}" for one in told.not_known])
    yield from unsure_sections(told)


def _trained_table(told: Exposure) -> TextTable:
    table = TextTable(
        "trained in", Column("artifact", goes=2), number("times"), number("samples", goes=1), sentence("steps")
    )
    for one in told.trained_on:
        steps = f"{steps_in_words(one.reads.stretches)} of {one.training.num_taken:,}"
        table.add(one.training.step, one.training.short, one.reads.num_documents, one.num_samples, steps)
    if not told.trained_on:
        table.add("no training that the store knows", None, 0)
    return table


def _otherwise_table(told: Exposure) -> TextTable:
    table = TextTable("seen otherwise", sentence("by"), sentence("holds"))
    for one in told.otherwise:
        remark = f" ({one.remark})" if one.remark else ""
        table.add(one.how, one.by, f"{one.num_documents:,} in {one.name} ({one.artifact}){remark}")
    for captions, by, times in told.captions:
        table.add("learned from captions", captions, f"written by {by}, trained on it {times:,} times")
    return table


def section(title: str, lines: Sequence[str]) -> list[str]:
    """The first lines below a title, and a blank one above; nothing where there are none."""
    if not lines:
        return []
    left = len(lines) - MAX_LINES
    more = [f"  and {left:,} more, which --json names"] if left > 0 else []
    return ["", title, *(f"  {line}" for line in lines[:MAX_LINES]), *more]


def unsure_sections(told: Exposure | Impact) -> Iterator[str]:
    """What of an answer could not be read, or not be compared."""
    yield from section("Could not be read:", told.doubts)
    yield from section("Looked up in an index too long to be compared with its digest:", told.not_compared)


def steps_in_words(stretches: list[list[int]]) -> str:
    """Runs of consecutive steps: `3, 7 to 9, 12 and 40 more`."""
    words = [f"{first:,}" if first == last else f"{first:,} to {last:,}" for first, last in stretches[:MAX_STRETCHES]]
    left = sum(last - first + 1 for first, last in stretches[MAX_STRETCHES:])
    return f"{', '.join(words) or 'none'}{f' and {left:,} more' if left else ''}"


def _conclusion(told: Exposure) -> str:
    """What the answer comes to, in a sentence or two."""
    times = f"{told.times:,} time{'' if told.times == 1 else 's'}"
    if told.doubts:
        return (
            f"Trained on it {times} in what could be read. Something behind these weights cannot be read, so they may "
            "have seen it more often: this is no proof that they did not."
        )
    if told.not_known:
        seen = f"Trained on it {times} in this store." if told.times else "No training in this store read it."
        return f"{seen} What is not known may have seen it, so {told.times:,} is the least, not all."
    if told.times:
        return f"Trained on it {times}. All that lies behind these weights is in this store."
    return "Never trained on it: all that lies behind these weights is in this store."


def _next(told: Exposure) -> str:
    if told.doubts:
        return f"neo audit {told.short}"
    return f"neo seen {told.short}" if told.times else f"neo trace {told.short}"
