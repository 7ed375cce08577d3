"""`neo takedown`: what is to be forgotten, recorded for good; the next run makes everything again without it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipelines.commands.context import CommandContext
from pipelines.commands.unindexed import tell_reading
from pipelines.exits import BadCommandError, RefusedError
from pipelines.screen.console import clean
from pipelines.screen.text_table import TextTable, number, sentence
from stages.surfaces.first_few import first_few

if TYPE_CHECKING:
    from pipelines.lineage.graph import Node
    from pipelines.takedowns.records import Takedown
    from pipelines.takedowns.survey import TakedownSurvey
    from pipelines.takedowns.typed_list import TypedList
    from stages.artifacts.head import ManifestHead
    from stages.store.store import Store

SCHEMA_VERSION = 1
"""Version of the JSON document: raised where a field changes its meaning or goes."""
MAX_SHOWN = 12
"""Models that are named, at most."""


def takedown(
    ctx: typer.Context,
    listed: Annotated[
        Path | None,
        typer.Argument(
            metavar="LIST",
            help="A URL, host, sha256 of a picture or sample id on each line; or a CSV or JSON with `kind` (url, "
            "domain, picture, sample, caption) and `value`. Without it, the takedowns on record.",
        ),
    ] = None,
    *,
    record: Annotated[bool, typer.Option("--record", help="Record it, for good; without this, it is shown.")] = False,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the record.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Also where it takes all that a source has kept.")] = False,
) -> None:
    """Forget what a list names: show what holds it, or record it.

    From then on no picture of the list is fetched, and the next run makes what holds something of it again, without it:
    parts that hold nothing are taken over, models are trained again. For example:
    neo takedown opt_outs.txt --record --reason "request 17 of 2 December"
    """
    command: CommandContext = ctx.obj
    if listed is None:
        if record or reason or yes:
            raise BadCommandError("name the LIST that is taken down", then="neo takedown --help")
        _show_recorded(command)
    _take_down(command, listed, reason=reason, records=record, takes_all=yes)


def _take_down(command: CommandContext, path: Path, *, reason: str, records: bool, takes_all: bool) -> NoReturn:
    from pipelines.lineage.graph import all_nodes
    from pipelines.takedowns.held import keep_held_parts
    from pipelines.takedowns.records import keep_list, record
    from pipelines.takedowns.survey import survey
    from pipelines.takedowns.typed_list import list_bytes, read_list_file
    from stages.takedowns.lists import digest_of

    typed = read_list_file(path)
    store = command.store_to_write() if records else command.possible_store()
    data = list_bytes(typed)
    unsearched: list[Node] = []
    found = survey(store, data, _searched(all_nodes(store), unsearched), partial(_tell, command))
    _say_found(command, path, typed, found, is_all=not unsearched)
    command.say(*_left_out(unsearched))
    document = _document(path, typed, digest_of(data), found)
    document["unsearched"] = [{"artifact": one.short, "why": one.why_no_head} for one in unsearched]
    _check_all(found, path, takes_all=takes_all or not records)
    if not records:
        words = ["neo", "takedown", str(path), "--record", *(["--reason", reason] if reason else [])]
        words += ["--yes"] if any(one.is_all for one in found.holders) else []
        command.end({**document, "recorded": False}, then=shlex.join(words))
    digest = keep_list(store, data)
    for one in found.searched:  # also of what holds nothing: each plan would read its tables again
        keep_held_parts(store, digest, one.head, one.held)
    recorded, is_new = record(store, digest, reason)
    command.say(
        "", f"Takedown {recorded} is {'recorded' if is_new else 'on record already'}: no picture of it is fetched."
    )
    again = _pipelines(store, found)
    command.say(*_what_next(store, found, again))
    document |= {"recorded": True, "number": recorded, "is_new": is_new, "plan": [f"neo plan {one}" for one in again]}
    command.end(document, then=f"neo plan {again[0]}" if again else "neo takedown")


def _check_all(found: TakedownSurvey, path: Path, *, takes_all: bool) -> None:
    """Raise `RefusedError` where everything of a source would go, and nobody said that it may."""
    whole = [f"{one.step} ({one.head.short})" for one in found.holders if one.is_all]
    if whole and not takes_all:
        raise RefusedError(
            f"{path} takes down all that {', '.join(whole)} kept, and a step that keeps nothing fails; take such a "
            "source out of the pipeline. Nothing was recorded. With --yes it is recorded all the same",
            then=f"neo takedown {shlex.quote(str(path))}",
        )


def _searched(nodes: Iterable[Node], unsearched: list[Node]) -> Iterator[ManifestHead]:
    """The heads of artifacts; those without one are added to `unsearched`."""
    for node in nodes:
        if node.head is None:
            unsearched.append(node)
        else:
            yield node.head


def _left_out(unsearched: Sequence[Node]) -> list[str]:
    """What was not searched and may hold something, in words."""
    groups = {
        "unfinished": [one.short for one in unsearched if one.is_absent],
        "unreadable": [one.short for one in unsearched if not one.is_absent],
    }
    return [
        f"Not searched, since {why}: {clean(first_few(names, MAX_SHOWN))}." for why, names in groups.items() if names
    ]


def _say_found(command: CommandContext, path: Path, typed: TypedList, found: TakedownSurvey, *, is_all: bool) -> None:
    listed = ", ".join(f"{count:,} {kind}{'' if count == 1 else 's'}" for kind, count in typed.numbers.items())
    command.say(f"{path} lists {listed}.", "")
    if not found.holders:
        searched = "Nothing in the store has any of it" if is_all else "Nothing that was searched has any of it"
        command.say(f"{searched}. On record, no picture of it is fetched.")
        return
    table = TextTable(
        "step", "artifact", number("samples"), number("kept", goes=2), number("parts", goes=1), sentence("then")
    )
    for one in found.holders:
        then = "made again without them" if one.is_rewritten else "left as it is: its stage cannot make it again so"
        parts = f"{len(one.held.parts):,} of {one.head.last_phase.num_parts:,}"
        table.add(one.step, one.head.short, one.held.num_samples, one.held.num_kept, parts, then)
    command.say(table)
    names = [f"{one.provenance.get('step', one.stage)} ({one.short})" for one in found.models]
    if names:
        command.say("", f"Models made from these: {clean(first_few(names, MAX_SHOWN))}.")


def _what_next(store: Store, found: TakedownSurvey, again: Sequence[str]) -> list[str]:
    """What is left to do, in words."""
    from pipelines.runs.run import all_runs

    lines = []
    if again:
        lines += ["What is made and trained again:", *(f"  neo plan {one}" for one in again)]
    under_way = [run.name for run in all_runs(store) if run.state() in ("running", "unknown")]
    if under_way:
        lines.append(
            f"Under way: {', '.join(under_way)}. A run ends by the plan that it was frozen with; `neo run` afterwards "
            "makes again what holds something."
        )
    if found.runs:
        forgets = " ".join(f"--forget {run}" for run in found.runs)
        lines.append(f"Once that is made, this says what of before may be deleted: neo gc {forgets}")
    return lines


def _pipelines(store: Store, found: TakedownSurvey) -> list[str]:
    """The pipelines of the runs that made what holds something, as they were typed."""
    from pipelines.planning.request import FROZEN_PLAN

    requests = (FROZEN_PLAN.read_or_skip(store, f"runs/{run}/plan.json") for run in found.runs)
    return list(dict.fromkeys(shlex.quote(one.request) for one in requests if one is not None))


def _show_recorded(command: CommandContext) -> NoReturn:
    from pipelines.takedowns.records import SHOWN_DIGITS, takedowns

    known = takedowns(command.possible_store())
    table = TextTable(number("number"), "when", "by", sentence("entries"), "list", sentence("reason"))
    for place, one in enumerate(known, start=1):
        entries = ", ".join(f"{count:,} {kind}" for kind, count in one.num_entries.items())
        table.add(place, _when(one), one.by, entries, one.list_sha256[:SHOWN_DIGITS], one.reason)
    command.say(table if known else "Nothing was taken down.")
    document = [{"number": place, **one.model_dump(mode="json")} for place, one in enumerate(known, start=1)]
    command.end({"version": SCHEMA_VERSION, "takedowns": document}, then="neo takedown --help")


def _when(one: Takedown) -> str:
    return datetime.fromtimestamp(one.at_seconds, UTC).strftime("%Y-%m-%d %H:%M")


def _tell(command: CommandContext, head: ManifestHead) -> None:
    words = (
        ": its {num_tables} tables are read. Lists of pictures and samples alone are found by indexes, which "
        "`neo index` makes."
    )
    tell_reading(command, head, head.short, words)


def _document(path: Path, typed: TypedList, digest: str, found: TakedownSurvey) -> dict[str, Any]:
    return {
        "version": SCHEMA_VERSION,
        "list": str(path),
        "list_sha256": digest,
        "num_lines": dict(typed.numbers),
        "holders": [
            {
                "step": one.step,
                "artifact": one.head.short,
                "num_samples": one.held.num_samples,
                "num_kept": one.held.num_kept,
                "num_parts": len(one.held.parts),
                "is_all": one.is_all,
                "is_made_again": one.is_rewritten,
            }
            for one in found.holders
        ],
        "models": [one.short for one in found.models],
        "runs": list(found.runs),
    }
