"""What the pages of a run say: tags, parameters, notes, tables and pictures, from manifests alone.

Pure content. `run_pages.py` puts it where people look; nothing here knows how.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pipelines.lineage.contents import counts_of_sources, lines_of_sources
from pipelines.lineage.graph import Lineage, Node, describe_counts, last_phase, lineage_of, size_bytes
from pipelines.planning.request import FrozenStep, Request
from pipelines.tracking.graph_picture import draw_graph
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.kinds import METRICS_FILE, MODEL_PREFIX
from stages.artifacts.manifest import Manifest, artifact_folder, find_file
from stages.artifacts.records import FileEntry
from stages.store.store import Store

DIGEST_CHARACTERS = 32
"""A data set's digest on a page may have 36 characters at most."""
NUM_SAMPLE_ROWS = 100
MAX_CELL_CHARACTERS = 500
MAX_PARAMETER_CHARACTERS = 500
MAX_PICTURE_BYTES = 20_000_000
HELD_OUT = "heldout/"
"""Begins the names of numbers found on what is never trained on."""


def is_model(manifest: Manifest) -> bool:
    """Whether the artifact holds a model, by the files in its last part."""
    return any(entry.name.startswith(MODEL_PREFIX) for entry in manifest.parts[-1].files)


def step_tags(manifest: Manifest) -> dict[str, str]:
    """Tags by which a search for a fingerprint finds every page of what made or read it."""
    inputs = {f"neo.input.{name}": item.fingerprint for name, item in manifest.inputs.items()}
    return {
        "neo.stage": f"{manifest.stage} {manifest.number}",
        "neo.kind": manifest.kind,
        "neo.fingerprint": manifest.fingerprint,
        "neo.content": manifest.content,
        **inputs,
    }


def parameters(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The fields of a recipe, nested ones with dots, as short texts."""
    flat: dict[str, str] = {}
    for name, value in recipe.items():
        if isinstance(value, Mapping) and value:
            flat |= parameters(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            flat[f"{prefix}{name}"] = text[:MAX_PARAMETER_CHARACTERS]
    return flat


def counts(manifest: Manifest) -> dict[str, float]:
    """What an artifact amounts to, as numbers for a page."""
    items = manifest.items
    balance = {"items_kept": items.kept, "items_dropped": items.num_dropped, "items_failed": items.num_failed}
    return {
        **(balance if items.total else {}),
        "num_parts": len(last_phase(manifest)),
        "size_bytes": size_bytes(manifest),
    }


def funnel(manifest: Manifest) -> dict[str, Any]:
    """Where every item that entered went."""
    items = manifest.items
    return {"entered": items.total, "kept": items.kept, "dropped": items.dropped, "failed": items.failed}


def evaluation_metrics(artifact: Artifact) -> dict[str, float]:
    """The numbers of an artifact's `metrics.json`, or nothing if it has none."""
    entry = find_file(artifact.manifest, METRICS_FILE)
    metrics: dict[str, float] = json.loads(artifact.read(entry)) if entry else {}
    return metrics


def pictures(manifest: Manifest) -> list[FileEntry]:
    """The pictures that an artifact holds for people."""
    entries = (entry for part in manifest.parts for entry in part.files)
    return [entry for entry in entries if entry.name.endswith(".png") and entry.size_bytes <= MAX_PICTURE_BYTES]


def is_loss(metric: str) -> bool:
    """Whether a metric is a loss of training: overall, of a source, or either on held-out rows."""
    return metric.removeprefix(HELD_OUT).split("/")[0] == "loss"


def order_of_losses(metric: str) -> tuple[int, bool, str]:
    """The overall losses first, what is trained on before what is held out."""
    return metric.count("/") - metric.startswith(HELD_OUT), metric.startswith(HELD_OUT), metric


def dataset(manifest: Manifest, store: Store) -> dict[str, str]:
    """An artifact as a data set of a page, the same for whoever made it and whoever reads it."""
    return {
        "name": f"{manifest.stage}/{manifest.fingerprint[:SHOWN_DIGITS]}",
        "digest": manifest.content[:DIGEST_CHARACTERS],
        "source_type": "neo",
        "source": json.dumps({"uri": f"{store.url}/{artifact_folder(manifest.stage, manifest.fingerprint)}"}),
        "profile": json.dumps({**counts(manifest), "kind": manifest.kind}),
    }


def write_files(artifact: Artifact, folder: Path) -> None:
    """Manifest, funnel, a hundred rows of the sample table, the artifact's pictures and that of its lineage."""
    manifest = artifact.manifest
    texts = {
        "manifest.json": manifest.model_dump_json(indent=2),
        "funnel.json": json.dumps(funnel(manifest), indent=2),
        "samples.csv": sample_rows(artifact),
    }
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    for entry in pictures(manifest):
        (folder / Path(entry.name).name).write_bytes(artifact.read(entry))
    lineage_picture(lineage_of(artifact.store, manifest.stage, manifest.fingerprint), folder / "lineage.png")


def sample_rows(artifact: Artifact) -> str:
    """The first rows of the first sample table as CSV, or '' where no part has a table."""
    import pyarrow.parquet as pq

    for part in last_phase(artifact.manifest):
        for entry in part.files:
            if entry.name.endswith(".parquet"):
                file = pq.ParquetFile(artifact.local_path(entry))
                batch = next(file.iter_batches(batch_size=NUM_SAMPLE_ROWS), None)
                return _csv(batch.schema.names, batch.to_pylist()) if batch is not None else ""
    return ""


def lineage_picture(lineage: Lineage, path: Path) -> Path:
    """Draw a lineage: every artifact with its step, name and counts; returns the path of the PNG."""
    reads = {node.fingerprint: list(dict.fromkeys(node.inputs.values())) for node in lineage.nodes}
    texts = {node.fingerprint: _box_lines(node) for node in lineage.nodes}
    roles = {node.fingerprint: _role(node, lineage) for node in lineage.nodes}
    return draw_graph(reads, texts, roles, path)


def step_note(request: Request, step: FrozenStep, manifest: Manifest, link: Callable[[str], str]) -> str:
    """What a step's page says in words. `link` turns a step's name into a link to its page."""
    made_from = [f"- `{name}`: {link(source.step)}" for name, source in step.inputs.items()]
    readers = [other.name for other in request.steps if any(i.step == step.name for i in other.inputs.values())]
    lines = [
        f"**{step.name}** is {manifest.kind} `{manifest.stage}/{manifest.fingerprint[:SHOWN_DIGITS]}`: "
        f"{describe_counts(manifest)}.",
        "",
        "Made from:" if made_from else "Made from what was read from outside.",
        *made_from,
        "",
        f"Read by: {', '.join(link(name) for name in readers) or 'nothing in this run'}.",
        "",
        *_reasons(manifest),
        *_sources(manifest),
        f"Pages that made or read it: search for `` tags.`neo.fingerprint` = '{manifest.fingerprint}' `` "
        "and likewise for `neo.input.<name>`.",
        "",
        f"`neo trace {request.pipeline}/{step.name}` prints its lineage, `{request.command}` goes on.",
    ]
    return "\n".join(lines)


def run_note(request: Request, outcome: str, link: Callable[[str], str]) -> str:
    """What a run's page says in words."""
    steps = [f"1. {link(step.name)}: {step.stage} `{step.fingerprint[:SHOWN_DIGITS]}`" for step in request.steps]
    settings = [f"- `--set {setting}`" for setting in request.settings]
    return "\n".join(
        [
            f"**{request.run}**: pipeline `{request.pipeline}`, {outcome}.",
            "",
            *(["Changed by hand:", *settings, ""] if settings else []),
            "Steps:",
            *steps,
            "",
            f"`{request.command}` goes on from what is committed; `neo show {request.run}` says how it stands.",
        ]
    )


def _box_lines(node: Node) -> tuple[str, str, str]:
    counted = describe_counts(node.manifest) if node.manifest else "missing"
    return node.step, f"{node.kind} {node.fingerprint[:SHOWN_DIGITS]}", counted


def _role(node: Node, lineage: Lineage) -> str:
    if node.manifest is None:
        return "missing"
    if node is lineage.target or node.kind in ("Evaluation", "ExportedCheckpoint"):
        return "result"
    if is_model(node.manifest):
        return "model"
    return "data" if node.inputs else "source"


def _reasons(manifest: Manifest) -> Iterator[str]:
    items = manifest.items
    if not items.dropped and not items.failed:
        return
    yield "| items | verdict | reason |"
    yield "| ---: | --- | --- |"
    yield f"| {items.kept:,} | kept | |"
    for verdict, reasons in (("dropped", items.dropped), ("failed", items.failed)):
        for reason, number in sorted(reasons.items(), key=lambda pair: -pair[1]):
            yield f"| {number:,} | {verdict} | {reason} |"
    yield ""


def _sources(manifest: Manifest) -> Iterator[str]:
    head, *rows = lines_of_sources(counts_of_sources(manifest))
    if rows:
        yield f"| {' | '.join(head)} |"
        yield f"| --- |{' ---: |' * (len(head) - 1)}"
        yield from (f"| {' | '.join(row)} |" for row in rows)
        yield ""


def _csv(names: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        return json.dumps(value, default=bytes.hex, ensure_ascii=False)[:MAX_CELL_CHARACTERS]
    return str(value)[:MAX_CELL_CHARACTERS]
