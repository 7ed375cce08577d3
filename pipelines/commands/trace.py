"""`neo trace`: lineage. Backward from an artifact to the URL tables; forward from a URL to everything it went into."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from pipelines.commands.answer import Answer, JsonOption, SiteOption, existing_store, find_site
from pipelines.courier import settle
from pipelines.display import clean
from pipelines.exits import BadCommandError
from pipelines.lanes import lanes
from pipelines.lineage import Lineage, Node, all_manifests, describe_counts, lineage_of, size_bytes
from pipelines.refs import resolve_place
from stages.fingerprint import SHOWN_DIGITS
from stages.store import Store


def trace(
    ref: Annotated[
        str | None, typer.Argument(metavar="[REF]", help="What to trace: a run, a name or a fingerprint.")
    ] = None,
    *,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Trace one URL forward; with REF, only on the way to REF."),
    ] = None,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="FILE.png", help="Draw the lineage of REF as well.")
    ] = None,
    site: SiteOption = "",
    as_json: JsonOption = False,
) -> None:
    """Say what an artifact was made of, down to the URL tables; or with --url, what one URL went into."""
    if ref is None and url is None:
        raise BadCommandError("name a REF, or --url URL, or both", then="neo trace --help")
    answer = Answer(as_json=as_json)
    place = find_site(site)
    store = existing_store(place)
    settle(store, place.mlflow)
    lineage = lineage_of(store, *resolve_place(store, ref)) if ref is not None else None
    if url is not None:
        _forward(store, url, lineage, answer)
    if lineage is not None:
        _backward(lineage, picture, answer)


def _backward(lineage: Lineage, picture: Path | None, answer: Answer) -> None:
    target = lineage.target
    answer.say(lineage_table(lineage), "")
    answer.say(f"{target.step} leans on {len(lineage.nodes) - 1} artifacts. Data came in at:")
    answer.say(*(f"  {_source(node)}" for node in lineage.sources))
    answer.say(*(f"  missing: {node.short} ({node.complaint})" for node in lineage.missing))
    if picture is not None:
        from pipelines.pages import lineage_picture

        answer.say(f"Picture: {lineage_picture(lineage, picture)}")
    document = {
        "target": target.short,
        "nodes": [_node_document(node) for node in lineage.nodes],
        "sources": [node.fingerprint for node in lineage.sources],
        "missing": [node.short for node in lineage.missing],
    }
    answer.end(document, then=f"neo audit {target.fingerprint[:SHOWN_DIGITS]}")


def lineage_table(lineage: Lineage) -> Table:
    """A row for each artifact, inputs before what reads them, with the edges drawn."""
    drawn = lanes({node.fingerprint: list(dict.fromkeys(node.inputs.values())) for node in lineage.nodes})
    table = Table("", "step", "artifact", "kind", "holds", "read as", box=None, pad_edge=False)
    for node in lineage.nodes:
        reads = ", ".join(f"{name}={lineage.by_fingerprint[source].step}" for name, source in node.inputs.items())
        holds = describe_counts(node.manifest) if node.manifest else node.complaint
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


def _forward(store: Store, url: str, lineage: Lineage | None, answer: Answer) -> None:
    from pipelines.forward import trace_url

    on_the_way = (node.manifest for node in lineage.nodes if node.manifest) if lineage else all_manifests(store)
    sightings = trace_url(store, url, on_the_way)
    if not sightings:
        where = f"behind {lineage.target.short}" if lineage else f"in {store.url}"
        raise BadCommandError(f"no URL table {where} has {url}", then="neo list")
    table = Table("step", "artifact", "kind", "what became of it", box=None, pad_edge=False)
    for sighting in sightings:
        place = f"{sighting.stage}/{sighting.fingerprint[:SHOWN_DIGITS]}"
        table.add_row(sighting.step, place, sighting.kind, clean(sighting.said))
    answer.say(clean(url), table)
    document = {"url": url, "sightings": [sighting.model_dump() for sighting in sightings]}
    answer.end(document, then=f"neo show {sightings[-1].fingerprint[:SHOWN_DIGITS]}")
