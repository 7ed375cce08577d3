"""Contents of artifacts: counts by source, scores and pictures, and the rows and samples that training has read.

Owns these counts as plain values and JSON documents; `pipelines/commands` makes tables and sentences of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from pipelines.lineage.graph import step_name
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import METRICS_FILE, Draw
from stages.artifacts.records import FileEntry
from stages.formats.draws import COUNTED
from stages.formats.packed_rows.rows import RowReader
from stages.store.record_kind import RecordKind

MAX_PICTURE_BYTES = 20_000_000
"""Largest picture of an artifact that pages show."""

if TYPE_CHECKING:
    from stages.training.exposure import SeenRows


def counts_of_sources(head: ManifestHead) -> dict[str, dict[str, float]]:
    """Source to the counts that the parts of a draw or of packed rows recorded for it; empty for other kinds.

    For example `{"pairs": {"samples": 120, "tokens": 9000}, "text": {...}}`. Those of a draw in the order `COUNTED`.
    """
    if head.kind != Draw.kind:
        return head.sources
    return {source: {what: of[what] for what in COUNTED if what in of} for source, of in head.sources.items()}


def lines_of_sources(counts: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Counts by source as lines of cells: the column names first, then a line for each source."""
    columns = list(dict.fromkeys(column for of_source in counts.values() for column in of_source))
    lines = [
        [source, *(f"{of_source.get(column, 0):,.0f}" for column in columns)] for source, of_source in counts.items()
    ]
    return [["source", *(column.replace("_", " ") for column in columns)], *lines]


METRICS = RecordKind[dict[str, float]](
    dict[str, int | float], "the numbers of an evaluation", "`neo audit REF --repair` lets the next run make them again"
)


def evaluation_metrics(artifact: Artifact) -> dict[str, float]:
    """The numbers in an artifact's `metrics.json`; {} if it has none."""
    entry = artifact.find_file(METRICS_FILE)
    return METRICS.parsed(artifact.read_json(entry), f"{artifact.store.url}/{entry.key}") if entry else {}


def pictures(head: ManifestHead) -> list[FileEntry]:
    """The PNG files of an artifact that are small enough for a page: of each name the first, as its head has them."""
    entries = (one.file for one in head.files)
    return [entry for entry in entries if entry.name.endswith(".png") and entry.size_bytes <= MAX_PICTURE_BYTES]


def row_document(reader: RowReader, row: int) -> dict[str, Any]:
    """A packed row as a JSON document: its part, and id, source and number of tokens of each document in order."""
    documents: list[dict[str, Any]] = [
        {"sample_id": sample_id.hex(), "source": source, "num_tokens": num_tokens}
        for sample_id, source, num_tokens in reader.documents(row)
    ]
    return {"row": row, "rows": reader.rows.fingerprint, "part": reader.part_of(row), "documents": documents}


def seen_document(trained: Artifact, until_step: int | None) -> dict[str, Any]:
    """The rows and sources that the first `until_step` optimizer steps of a training read, or all; a JSON document.

    Raises `StageError` if the training had fewer steps.
    """
    from stages.training.exposure import left_out_of, num_steps_taken, seen_of_sources, seen_rows

    until_step = num_steps_taken(trained) if until_step is None else until_step
    seen = seen_rows(trained, until_step)
    with TemporaryDirectory(prefix="neo-seen-") as scratch:
        sources = {source: vars(counts) for source, counts in seen_of_sources(seen, Path(scratch)).items()}
    return {
        "step": step_name(trained.head),
        "stage": trained.head.stage,
        "fingerprint": trained.fingerprint,
        "num_steps": num_steps_taken(trained),
        "until_step": until_step,
        "rows": [_rows_document(one) for one in seen],
        "skipped_steps": sorted(step + 1 for step in left_out_of(trained).steps if step < until_step),
        "sources": sources,
    }


def _rows_document(seen: SeenRows) -> dict[str, Any]:
    """What was read of one Rows artifact; optimizer steps counted from 1, `num_different` rows read at least once."""
    return {
        "input": seen.name,
        "fingerprint": seen.rows.fingerprint,
        "first_step": seen.span.first_step + 1,
        "until_step": seen.span.until_step,
        "num_rows": len(seen.times),
        "num_read": int(seen.times.sum()),
        "num_different": int((seen.times > 0).sum()),
    }
