"""What is in a packed row, and what weights have seen: each as things to show a person and a document for a machine."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.table import Table

from pipelines.display import clean
from pipelines.lineage import step_name
from stages.artifact import Artifact
from stages.rows import RowReader

if TYPE_CHECKING:
    from stages.training.seen import SeenRows

Contents: TypeAlias = tuple[list[Any], dict[str, Any]]
"""Things to show, and the document."""


def contents_of_row(reader: RowReader, row: int) -> Contents:
    """The samples of a packed row, in order."""
    shard = reader.part_of(row)
    documents: list[dict[str, Any]] = [
        {"sample_id": sample_id.hex(), "source": source, "num_tokens": num_tokens}
        for sample_id, source, num_tokens in reader.documents(row)
    ]
    table = Table("document", "sample id", "source", "tokens", box=None, pad_edge=False)
    for number, one in enumerate(documents):
        table.add_row(str(number), one["sample_id"], clean(one["source"]), f"{one['num_tokens']:,}")
    said = f"Row {row} of {reader.rows.short}, in shard {shard}, {len(documents)} documents:"
    return [said, table], {"row": row, "rows": reader.rows.fingerprint, "part": shard, "documents": documents}


def seen_by(trained: Artifact, until_step: int) -> Contents:
    """What the first `until_step` steps of a training read. Raises `StageError` where it had fewer."""
    from stages.training.seen import seen_of_sources, seen_rows

    seen = seen_rows(trained, until_step)
    with TemporaryDirectory(prefix="neo-seen-") as scratch:
        sources = {source: vars(counts) for source, counts in seen_of_sources(seen, Path(scratch)).items()}
    table = Table("source", "documents", "tokens", "different samples", box=None, pad_edge=False)
    for source, counts in sources.items():
        table.add_row(clean(source), *(f"{counts[name]:,}" for name in ("documents", "tokens", "samples")))
    rows = [_rows_document(one) for one in seen]
    num_steps = trained.manifest.recipe["num_steps"]
    said = [
        f"{step_name(trained.manifest)} ({trained.manifest.stage}/{trained.short}), "
        f"the first {until_step:,} of {num_steps:,} steps:",
        *(
            f"  {one['input']}, steps {one['first_step']:,} to {one['until_step']:,}: {one['num_read']:,} rows read, "
            f"{one['num_different']:,} of its {one['num_rows']:,}"
            for one in rows
        ),
        table,
    ]
    document = {
        "step": step_name(trained.manifest),
        "stage": trained.manifest.stage,
        "fingerprint": trained.fingerprint,
        "num_steps": num_steps,
        "until_step": until_step,
        "rows": rows,
        "sources": sources,
    }
    return said, document


def _rows_document(seen: SeenRows) -> dict[str, Any]:
    """What was read of one Rows artifact; steps counted from 1."""
    return {
        "input": seen.name,
        "fingerprint": seen.rows.fingerprint,
        "first_step": seen.span.first_step + 1,
        "until_step": seen.span.until_step,
        "num_rows": len(seen.times),
        "num_read": int(seen.times.sum()),
        "num_different": int((seen.times > 0).sum()),
    }
