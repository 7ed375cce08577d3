"""What is in draws and packed rows, of each source, and what weights have seen: to show a person, and as documents."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

from rich.table import Table

from pipelines.lineage.graph import step_name
from pipelines.screen.console import clean
from stages.artifacts.artifact import Artifact
from stages.artifacts.kinds import DRAW_PHASE, Draw, Rows
from stages.artifacts.manifest import Manifest
from stages.formats.draws import drawn_by_source
from stages.formats.rows import RowReader

if TYPE_CHECKING:
    from stages.training.exposure import SeenRows

Shown: TypeAlias = tuple[list[Any], dict[str, Any]]
"""Lines and tables for a person, and the same as a JSON document."""


def counts_of_sources(manifest: Manifest) -> dict[str, dict[str, float]]:
    """What a draw or packed rows hold of each source, as their parts recorded it; nothing for other kinds."""
    counts: dict[str, Counter[str]] = {}
    if manifest.kind == Draw.kind:
        return drawn_by_source(part for part in manifest.parts if part.phase == DRAW_PHASE)
    for part in manifest.parts if manifest.kind == Rows.kind else ():
        for source, held in part.facts.get("sources", {}).items():
            counts.setdefault(source, Counter()).update(held)
    return {source: dict(held) for source, held in sorted(counts.items())}


def sources_table(counts: Mapping[str, Mapping[str, float]]) -> Table:
    """A row for each source, a column for each thing that is counted."""
    head, *rows = lines_of_sources(counts)
    table = Table(*head, box=None, pad_edge=False)
    for source, *numbers in rows:
        table.add_row(clean(source), *numbers)
    return table


def lines_of_sources(counts: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """The same as lines of words, the headings first."""
    things = list(dict.fromkeys(thing for held in counts.values() for thing in held))
    lines = [[source, *(f"{held.get(thing, 0):,.0f}" for thing in things)] for source, held in counts.items()]
    return [["source", *(thing.replace("_", " ") for thing in things)], *lines]


def contents_of_row(reader: RowReader, row: int) -> Shown:
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


def seen_by(trained: Artifact, until_step: int) -> Shown:
    """What the first `until_step` steps of a training read. Raises `StageError` where it had fewer."""
    from stages.training.exposure import seen_of_sources, seen_rows

    seen = seen_rows(trained, until_step)
    with TemporaryDirectory(prefix="neo-seen-") as scratch:
        sources = {source: vars(counts) for source, counts in seen_of_sources(seen, Path(scratch)).items()}
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
        sources_table(sources),
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
