"""`neo where`: lineage forward, from a URL or a sample to every artifact that it went into."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich.table import Table

from pipelines.commands.context import CommandContext
from pipelines.commands.sighting_words import describe
from pipelines.exits import BadCommandError
from pipelines.lineage.graph import Lineage, all_heads, lineage_of
from pipelines.runs.refs import MAX_CANDIDATES, resolve_artifact
from pipelines.screen.console import clean
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    from pipelines.lineage.sightings import Sighting

TABLES_OF = {"url": "URL", "sample_id": "sample"}
SAMPLE_ID_DIGITS = 2 * SAMPLE_ID_BYTES
SAMPLE_ID_START = re.compile(rf"[0-9a-f]{{4,{SAMPLE_ID_DIGITS}}}")


def where(
    ctx: typer.Context,
    what: Annotated[
        str,
        typer.Argument(
            metavar="URL|ID",
            help="A URL, the name of a picture or video in its source, or a sample's id: all its digits or 4 or more.",
        ),
    ],
    *,
    behind: Annotated[
        str, typer.Option("--behind", metavar="REF", help="Only in REF and in what it was made of.")
    ] = "",
) -> None:
    """Show what one URL, pair, video, clip, text or conversation went into.

    Its verdict, the draws and packed rows that hold it, the optimizer steps that read it, and the checkpoints that
    were trained on it.
    """
    command: CommandContext = ctx.obj
    if SAMPLE_ID_START.fullmatch(what):
        follow_sample(command, what, behind)
    follow_url(command, what, behind)


def follow_url(command: CommandContext, url: str, behind: str) -> NoReturn:
    """Where a URL went, or what is called so in its source. Raises `BadCommandError` if no table has it."""
    from pipelines.lineage.forward import trace_url

    store = command.store_to_read()
    lineage = _lineage(store, behind)
    sightings = trace_url(store, url, _heads(store, lineage))
    if not sightings and ":" not in url and "/" not in url:
        raise BadCommandError(
            f"{url!r} is no sample id: 4 to {SAMPLE_ID_DIGITS} of the digits 0 to 9 and a to f; and no URL, nor "
            f"the name of a picture or video {_place(store, lineage)}",
            then="neo list",
        )
    _say(sightings, {"url": url}, _place(store, lineage), command)


def follow_sample(command: CommandContext, digits: str, behind: str) -> NoReturn:
    """Where a sample went, by the beginning of its id. Raises `BadCommandError` if none or several begin so."""
    from pipelines.lineage.forward import find_samples, trace_sample

    store = command.store_to_read()
    if not SAMPLE_ID_START.fullmatch(digits):
        raise BadCommandError(
            f"{digits!r} is no sample id: 4 to {SAMPLE_ID_DIGITS} of the digits 0 to 9 and a to f; and no URL",
            then="neo list",
        )
    lineage = _lineage(store, behind)
    manifests, place = list(_heads(store, lineage)), _place(store, lineage)
    ids = {bytes.fromhex(digits)} if len(digits) == SAMPLE_ID_DIGITS else find_samples(store, digits, manifests)
    if len(ids) > 1:
        listed = ", ".join(sorted(sample_id.hex() for sample_id in ids)[:MAX_CANDIDATES])
        raise BadCommandError(f"{len(ids)} sample ids {place} begin with {digits}: {listed}", then="neo list")
    sightings = [sighting for sample_id in ids for sighting in trace_sample(store, sample_id, manifests)]
    named = next((sample_id.hex() for sample_id in ids), digits)
    _say(sightings, {"sample_id": named}, place, command)


def _say(sightings: Sequence[Sighting], sought: Mapping[str, str], place: str, command: CommandContext) -> NoReturn:
    """`sought` has one entry: url or sample_id, and its value."""
    ((name, value),) = sought.items()
    if not sightings:
        raise BadCommandError(f"no {TABLES_OF[name]} table {place} has {value}", then="neo list")
    table = Table("step", "artifact", "kind", "what it holds", box=None, pad_edge=False)
    for sighting in sightings:
        artifact = f"{sighting.stage}/{sighting.fingerprint[:SHOWN_DIGITS]}"
        table.add_row(sighting.step, artifact, sighting.kind, clean(describe(sighting)))
    command.say(clean(value), table)
    document = {**sought, "sightings": [_sighting_document(sighting) for sighting in sightings]}
    command.end(document, then=f"neo show {sightings[-1].fingerprint[:SHOWN_DIGITS]}")


def _sighting_document(sighting: Sighting) -> dict[str, object]:
    """The keys are part of what `--json` promises."""
    return {
        "step": sighting.step,
        "stage": sighting.stage,
        "fingerprint": sighting.fingerprint,
        "kind": sighting.kind,
        "said": describe(sighting),
        "details": sighting.details(),
    }


def _lineage(store: Store, behind: str) -> Lineage | None:
    return lineage_of(store, *resolve_artifact(store, behind)) if behind else None


def _heads(store: Store, lineage: Lineage | None) -> Iterator[ManifestHead]:
    """All artifacts, or those of a lineage."""
    if lineage is None:
        return all_heads(store)
    return (node.head for node in lineage.nodes if node.head)


def _place(store: Store, lineage: Lineage | None) -> str:
    return f"behind {lineage.target.short}" if lineage else f"in {store.url}"
