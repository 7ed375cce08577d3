"""The contents of MLflow pages: tags, parameters, metrics, notes, tables and pictures, from the heads of artifacts.

Owns the texts and numbers and never calls MLflow: `run_pages.py` and `committed_step.py` add them to pages.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines.lineage.contents import MAX_PICTURE_BYTES, counts_of_sources, lines_of_sources, pictures
from pipelines.lineage.graph import describe_counts, lineage_of, step_name
from pipelines.planning.request import FrozenStep, Request
from pipelines.report.lineage_svg import lineage_svg
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import HEAD_FILE, ManifestHead, NamedFile, head_bytes
from stages.artifacts.manifest import manifest_key
from stages.artifacts.profiles import profile_files
from stages.store.errors import StoreError
from stages.surfaces.csv_tables import Cell, write_csv
from stages.surfaces.markdown import code, escaped, table
from stages.surfaces.visible import visible

NUM_SAMPLE_ROWS = 100
"""Rows of `samples.csv`: the first ones of the first sample table."""
MAX_CELL_CHARACTERS = 500
MAX_PARAMETER_CHARACTERS = 500
PROFILE_FOLDER = "profile"
"""The folder, among the files of a page, of what was drawn of a stage's work."""
LINEAGE_NAME = "lineage.svg"
"""The picture of an artifact's lineage, among the files of a page."""
HELD_OUT = "heldout/"
"""Prefix of metrics that were measured on the held-out set."""


def step_tags(head: ManifestHead) -> dict[str, str]:
    """Tags of a step's page. Searching them for a fingerprint finds the pages that made or read the artifact."""
    inputs = {f"neo.input.{name}": item.fingerprint for name, item in head.inputs.items()}
    return {
        "neo.stage": f"{head.stage} {head.number}",
        "neo.kind": head.kind,
        "neo.fingerprint": head.fingerprint,
        "neo.content": head.content,
        **inputs,
    }


def parameters(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """The fields of a recipe as texts of at most 500 characters, nested ones with dots: `mix.seed` to `7`."""
    flat: dict[str, str] = {}
    for name, value in recipe.items():
        if isinstance(value, Mapping) and value:
            flat |= parameters(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            flat[f"{prefix}{name}"] = visible(text)[:MAX_PARAMETER_CHARACTERS]
    return flat


def counts(head: ManifestHead) -> dict[str, float]:
    """Metrics of every committed step: items by verdict, parts, bytes."""
    items = head.items
    balance = {"items_kept": items.kept, "items_dropped": items.num_dropped, "items_failed": items.num_failed}
    return {
        **(balance if items.total else {}),
        "num_parts": head.last_phase.num_parts,
        "size_bytes": head.size_bytes,
    }


def funnel(head: ManifestHead) -> dict[str, Any]:
    """The item counts of an artifact: all that entered, and the number for each verdict and reason."""
    items = head.items
    return {"entered": items.total, "kept": items.kept, "dropped": items.dropped, "failed": items.failed}


_COMMIT = "mlflow.source.git.commit"


def is_loss(metric: str) -> bool:
    """Whether a metric is a loss of training: `loss`, `loss/<source>`, or one of them after `heldout/`."""
    return metric.removeprefix(HELD_OUT).split("/")[0] == "loss"


def order_of_losses(metric: str) -> tuple[int, bool, str]:
    """Sort key of losses: `loss`, `heldout/loss`, then `loss/<source>` and `heldout/loss/<source>`."""
    return metric.count("/") - metric.startswith(HELD_OUT), metric.startswith(HELD_OUT), metric


def folder_url(artifact: Artifact) -> str:
    """The URL of the artifact's folder in the store."""
    return f"{artifact.store.url}/{artifact.folder}"


def manifest_url(artifact: Artifact) -> str:
    """The URL of the artifact's manifest in the store."""
    return f"{artifact.store.url}/{manifest_key(artifact.stage, artifact.fingerprint)}"


def write_files(artifact: Artifact, folder: Path) -> None:
    """Write the files of a step's page to `folder`: head, item counts, first samples, pictures, lineage.

    The manifest itself, which may have many MB, stays in the store: the tag `neo.manifest` of the page says where.
    """
    head = artifact.head
    texts = {
        HEAD_FILE: head_bytes(head).decode(),
        "funnel.json": json.dumps(funnel(head), indent=2),
        "samples.csv": sample_rows(artifact),
    }
    for name, text in texts.items():
        if text:
            (folder / name).write_text(text, encoding="utf-8")
    for entry in pictures(head):
        (folder / Path(entry.name).name).write_bytes(artifact.read(entry))
    write_profile(artifact, folder / PROFILE_FOLDER)
    lineage = lineage_of(artifact.store, head.stage, head.fingerprint)
    (folder / LINEAGE_NAME).write_text(lineage_svg(lineage), encoding="utf-8")


def write_profile(artifact: Artifact, folder: Path) -> None:
    """Write what was drawn of a stage's work to `folder`; nothing where nothing was, or where it is damaged."""
    for entry in profile_files(artifact):
        if entry.size_bytes <= MAX_PICTURE_BYTES:
            with suppress(StoreError):
                data = artifact.read(entry)
                folder.mkdir(exist_ok=True)
                (folder / entry.name).write_bytes(data)


def sample_rows(artifact: Artifact) -> str:
    """The first rows of the first sample table as CSV; '' if no part of the last phase has a table.

    Of a table in an object store, what is asked for is read and nothing else.
    """
    import pyarrow.parquet as pq

    tables = (one.file for one in artifact.head.files if one.file.name.endswith(".parquet") and _is_last(one, artifact))
    entry = next(tables, None)
    if entry is None:
        return ""
    with pq.ParquetFile(artifact.open(entry)) as file:
        batch = next(file.iter_batches(batch_size=NUM_SAMPLE_ROWS, use_threads=False), None)
    return _csv(batch.schema.names, batch.to_pylist()) if batch is not None else ""


def _is_last(one: NamedFile, artifact: Artifact) -> bool:
    return one.phase == artifact.head.last_phase.phase


def step_note(request: Request, step: FrozenStep, head: ManifestHead, link: Callable[[str], str]) -> str:
    """The note of a step's page, in Markdown. `link` turns a step's name into a link to its page."""
    readers = [other.name for other in request.steps if any(i.step == step.name for i in other.inputs.values())]
    lines = [
        f"**{escaped(step.name)}** is {escaped(head.kind)} {code(head.short)}: {escaped(describe_counts(head))}.",
        "",
        *_origin(step, head, link),
        "",
        f"Read by: {', '.join(link(name) for name in readers) or 'nothing in this run'}.",
        "",
        *_reasons(head),
        *_rules(head),
        *_sources(head),
        f"Pages that made or read it: search for `` tags.`neo.fingerprint` = '{head.fingerprint}' `` "
        "or for `neo.input.<name>`.",
        "",
        f"{code(f'neo trace {request.pipeline}/{step.name}')} prints its lineage, {code(request.command)} continues.",
    ]
    return "\n".join(lines)


def run_note(request: Request, outcome: str, link: Callable[[str], str], origin: Mapping[str, str]) -> str:
    """The note of a run's page, in Markdown. `origin` holds the tags that say who began it, and where."""
    steps = [
        f"1. {link(step.name)}: {escaped(step.stage)} {code(step.fingerprint[:SHOWN_DIGITS])}" for step in request.steps
    ]
    settings = [f"- {code(f'--set {setting}')}" for setting in request.settings]
    return "\n".join(
        [
            f"**{escaped(request.run)}**: pipeline {code(request.pipeline)}, {escaped(outcome)}.",
            "",
            *_asked_by(origin),
            *(["Settings:", *settings, ""] if settings else []),
            "Steps:",
            *steps,
            "",
            f"{code(request.command)} continues from what is committed; "
            f"{code(f'neo show {request.run}')} shows its state.",
        ]
    )


def _asked_by(origin: Mapping[str, str]) -> Iterator[str]:
    """A line that says who began a run, on which machine, with which code; nothing where that is not recorded."""
    phrases = [
        f"Begun by {escaped(origin['mlflow.user'])}" if "mlflow.user" in origin else "Begun",
        f"on {escaped(origin['neo.host'])} ({escaped(origin['neo.hardware'])})" if "neo.hardware" in origin else "",
        f"with commit {code(origin[_COMMIT][:SHOWN_DIGITS])}" if _COMMIT in origin else "",
        "and changes to it" if origin.get("mlflow.source.git.dirty") == "true" else "",
    ]
    if len(said := [phrase for phrase in phrases if phrase]) > 1:
        yield f"{' '.join(said)}."
        yield ""


def _origin(step: FrozenStep, head: ManifestHead, link: Callable[[str], str]) -> Iterator[str]:
    """Lines that say what an artifact was made from: steps of this run, or artifacts if `--use` bound it."""
    if step.used:
        made_by = head.provenance.get("attempt", "an unnamed attempt")
        yield f"Bound by `--use`; made by {escaped(str(made_by))} as step {escaped(step_name(head))}."
        yield ""
    if not head.inputs:
        yield "Made from no other artifact: its data was read from outside."
        return
    yield "Made from:"
    for name, item in head.inputs.items():
        parent = code(f"{item.stage}/{item.fingerprint[:SHOWN_DIGITS]}")
        # Not inputs of this run: those of before a fork, and rows that it was examined on under another binding.
        elsewhere = step.used or name not in step.inputs
        yield f"- {code(name)}: {parent if elsewhere else link(step.inputs[name].step)}"


def _reasons(head: ManifestHead) -> Iterator[str]:
    """A Markdown table of items by verdict and reason; nothing if all are kept."""
    items = head.items
    if not items.dropped and not items.failed:
        return
    rows = [(f"{items.kept:,}", "kept", "")]
    for verdict, reasons in (("dropped", items.dropped), ("failed", items.failed)):
        by_number = sorted(reasons.items(), key=lambda pair: -pair[1])
        rows += [(f"{number:,}", verdict, escaped(reason)) for reason, number in by_number]
    yield table(("items", "verdict", "reason"), rows)


def _rules(head: ManifestHead) -> Iterator[str]:
    """A Markdown table of how the rules of a filter were applied; nothing for other stages."""
    if not head.rules:
        return
    rows = [
        (f"{number:,}", code(rule), escaped(how))
        for rule, counts in head.rules.items()
        for how, number in sorted(counts.items())
    ]
    yield table(("items", "rule", ""), rows)


def _sources(head: ManifestHead) -> Iterator[str]:
    """A Markdown table of the counts by source of a draw or of packed rows; nothing for other kinds."""
    names, *rows = lines_of_sources(counts_of_sources(head))
    if rows:
        yield table(names, [(code(source), *numbers) for source, *numbers in rows])


def _csv(names: list[str], rows: list[dict[str, Any]]) -> str:
    text = io.StringIO()
    write_csv(text, names, ([_cell(row[name]) for name in names] for row in rows))
    return text.getvalue()


def _cell(value: Any) -> Cell:
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | dict):
        value = json.dumps(value, default=bytes.hex, ensure_ascii=False)
    return visible(str(value))[:MAX_CELL_CHARACTERS]
