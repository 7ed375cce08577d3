"""`neo trace`: lineage. Backward from an artifact to the URL tables, from a row to its samples, from weights to what
they saw; forward from a URL or a sample to everything it went into."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipelines.commands.context import CommandContext
from pipelines.commands.sighting_words import describe
from pipelines.exits import BadCommandError
from pipelines.lineage.contents import contents_of_row, seen_by
from pipelines.lineage.graph import Lineage, Node, all_manifests, describe_counts, lineage_of, size_bytes
from pipelines.runs.refs import MAX_CANDIDATES, resolve_artifact
from pipelines.screen.console import clean
from pipelines.screen.text_graph import lanes
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.kinds import Rows
from stages.artifacts.manifest import Manifest
from stages.contract import StageError
from stages.formats.rows import RowReader
from stages.formats.sample_table import SAMPLE_ID_BYTES
from stages.store.store import Store

if TYPE_CHECKING:
    from pipelines.lineage.sightings import Sighting

TABLES_OF = {"url": "URL", "sample_id": "sample"}
SAMPLE_ID_DIGITS = 2 * SAMPLE_ID_BYTES
SAMPLE_ID_START = re.compile(rf"[0-9a-f]{{4,{SAMPLE_ID_DIGITS}}}")


def trace(
    ctx: typer.Context,
    ref: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="What to trace: a run, a name or a fingerprint.")
    ] = None,
    *,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Trace one URL forward; with REF, only on the way to REF."),
    ] = None,
    sample: Annotated[
        str | None,
        typer.Option("--sample", metavar="ID", help="The same for a sample: its id, or 4 or more digits of it."),
    ] = None,
    row: Annotated[
        int | None, typer.Option("--row", metavar="N", help="Say which samples are in row N of the packed rows REF.")
    ] = None,
    saw: Annotated[
        str | None,
        typer.Option("--saw", metavar="STEP", help="Say what REF had seen by an optimizer step, or by its `end`."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw the lineage of REF as well.")
    ] = None,
) -> None:
    """Say what an artifact was made of, down to the URL tables; or what became of one URL or sample."""
    forward, into_ref = [url, sample], [row, saw, picture]
    if ref is None and (url is None and sample is None):
        raise BadCommandError("name a REF, or --url URL, or --sample ID", then="neo trace --help")
    if sum(option is not None for option in (*forward, *into_ref)) > 1:
        raise BadCommandError("say one of --url, --sample, --row, --saw and --picture", then="neo trace --help")
    command: CommandContext = ctx.obj
    store = command.store_to_read()
    lineage = lineage_of(store, *resolve_artifact(store, ref)) if ref is not None else None
    if url is not None:
        _forward_from_url(store, url, lineage, command)
    if sample is not None:
        _forward_from_sample(store, sample, lineage, command)
    if lineage is not None and row is not None:
        _row(lineage, store, row, command)
    if lineage is not None and saw is not None:
        _saw(lineage, store, saw, command)
    if lineage is not None:
        _backward(lineage, picture, command)


def _backward(lineage: Lineage, picture: Path | None, command: CommandContext) -> None:
    target = lineage.target
    command.say(lineage_table(lineage), "")
    command.say(f"{target.step} leans on {len(lineage.nodes) - 1} artifacts. Data came in at:")
    command.say(*(f"  {_source(node)}" for node in lineage.sources))
    command.say(*(f"  missing: {node.short} ({node.problem})" for node in lineage.missing))
    if picture is not None:
        from pipelines.tracking.page_contents import lineage_picture

        command.say(f"Picture: {lineage_picture(lineage, picture)}")
    document = {
        "target": target.short,
        "nodes": [_node_document(node) for node in lineage.nodes],
        "sources": [node.fingerprint for node in lineage.sources],
        "missing": [node.short for node in lineage.missing],
    }
    command.end(document, then=f"neo audit {target.fingerprint[:SHOWN_DIGITS]}")


def lineage_table(lineage: Lineage) -> Table:
    """A row for each artifact, inputs before what reads them, with the edges drawn."""
    drawn = lanes({node.fingerprint: list(dict.fromkeys(node.inputs.values())) for node in lineage.nodes})
    table = Table("", "step", "artifact", "kind", "holds", "read as", box=None, pad_edge=False)
    for node in lineage.nodes:
        reads = ", ".join(f"{name}={lineage.by_fingerprint[source].step}" for name, source in node.inputs.items())
        holds = describe_counts(node.manifest) if node.manifest else node.problem
        table.add_row(drawn[node.fingerprint], node.step, node.short, node.kind, clean(holds), clean(reads))
    return table


def _source(node: Node) -> str:
    if node.manifest is None:
        return f"{node.short}: missing"
    has_table = any(entry.name.endswith(".parquet") for part in node.manifest.parts for entry in part.files)
    entered = f"a table of {node.manifest.items.total:,} rows" if has_table else "its recipe alone"
    return f"{node.step} ({node.short}): {entered}; {describe_counts(node.manifest)}"


def _node_document(node: Node) -> dict[str, object]:
    manifest = node.manifest
    return {
        "step": node.step,
        "stage": node.stage,
        "fingerprint": node.fingerprint,
        "kind": node.kind,
        "inputs": node.inputs,
        "items": manifest.items.model_dump() if manifest else None,
        "num_entered": manifest.items.total if manifest else None,
        "num_parts": len(manifest.parts) if manifest else None,
        "size_bytes": size_bytes(manifest) if manifest else None,
        "content": manifest.content if manifest else None,
    }


def _forward_from_url(store: Store, url: str, lineage: Lineage | None, command: CommandContext) -> None:
    from pipelines.lineage.forward import trace_url

    _forward(trace_url(store, url, _on_the_way(store, lineage)), {"url": url}, _where(store, lineage), command)


def _forward_from_sample(store: Store, digits: str, lineage: Lineage | None, command: CommandContext) -> None:
    from pipelines.lineage.forward import find_samples, trace_sample

    if not SAMPLE_ID_START.fullmatch(digits):
        raise BadCommandError(f"{digits!r} is no sample id: 4 to 32 of the digits 0 to 9 and a to f", then="neo list")
    manifests, where = list(_on_the_way(store, lineage)), _where(store, lineage)
    found = {bytes.fromhex(digits)} if len(digits) == SAMPLE_ID_DIGITS else find_samples(store, digits, manifests)
    if len(found) > 1:
        listed = ", ".join(sorted(sample_id.hex() for sample_id in found)[:MAX_CANDIDATES])
        raise BadCommandError(f"{len(found)} sample ids {where} begin with {digits}: {listed}", then="neo list")
    sightings = [sighting for sample_id in found for sighting in trace_sample(store, sample_id, manifests)]
    named = next((sample_id.hex() for sample_id in found), digits)
    _forward(sightings, {"sample_id": named}, where, command)


def _forward(sightings: Sequence[Sighting], sought: Mapping[str, str], where: str, command: CommandContext) -> None:
    ((name, value),) = sought.items()
    if not sightings:
        raise BadCommandError(f"no {TABLES_OF[name]} table {where} has {value}", then="neo list")
    table = Table("step", "artifact", "kind", "what became of it", box=None, pad_edge=False)
    for sighting in sightings:
        place = f"{sighting.stage}/{sighting.fingerprint[:SHOWN_DIGITS]}"
        table.add_row(sighting.step, place, sighting.kind, clean(describe(sighting)))
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


def _on_the_way(store: Store, lineage: Lineage | None) -> Iterator[Manifest]:
    """All artifacts, or those behind one."""
    if lineage is None:
        return all_manifests(store)
    return (node.manifest for node in lineage.nodes if node.manifest)


def _where(store: Store, lineage: Lineage | None) -> str:
    return f"behind {lineage.target.short}" if lineage else f"in {store.url}"


def _row(lineage: Lineage, store: Store, row: int, command: CommandContext) -> None:
    target = lineage.target
    if target.manifest is None or target.kind != Rows.kind:
        said = f"{target.short} is {target.kind}, and --row asks for packed rows"
        raise BadCommandError(said, then=f"neo trace {target.short}")
    reader = RowReader(Rows(store, target.manifest))
    if not 0 <= row < reader.num_rows:
        said = f"{target.short} has the rows 0 to {reader.num_rows - 1}"
        raise BadCommandError(said, then=f"neo show {target.short}")
    shown, document = contents_of_row(reader, row)
    command.say(*shown)
    command.end(document, then=f"neo trace --sample {document['documents'][0]['sample_id']}")


def _saw(lineage: Lineage, store: Store, saw: str, command: CommandContext) -> None:
    """The target's own steps until the one that was asked for, and all steps of what it was made of."""
    from stages.training.exposure import is_trained

    if not saw.isdecimal() and saw != "end":
        raise BadCommandError(f"--saw {saw}: name an optimizer step, or `end`", then="neo trace --help")
    target = lineage.target
    if target.manifest is None:
        raise BadCommandError(f"{target.short} is not committed: {target.problem}", then="neo status")
    artifacts = [Artifact(store, node.manifest) for node in lineage.nodes if node.manifest is not None]
    trained = [artifact for artifact in artifacts if is_trained(artifact)]
    took_steps = bool(trained) and trained[-1].fingerprint == target.fingerprint
    if not trained or (saw != "end" and not took_steps):
        raise BadCommandError(f"{target.short} took no step over rows itself", then=f"neo trace {target.short}")
    documents = []
    for artifact in trained:
        is_asked = saw != "end" and artifact.fingerprint == target.fingerprint
        try:
            said, document = seen_by(artifact, int(saw) if is_asked else artifact.manifest.recipe["num_steps"])
        except StageError as error:
            raise BadCommandError(str(error), then=f"neo show {artifact.short}") from error
        command.say(*said, "")
        documents.append(document)
    command.end({"target": target.short, "seen": documents}, then=f"neo show {target.fingerprint[:SHOWN_DIGITS]}")
