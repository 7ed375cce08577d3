"""Last phase of packing (`write`): writes the planned rows as a tar, with an index of where each row lies.

Documents and pictures are read through `row_inputs.py`; the bytes of pictures are copied unchanged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from neo_model.costs.flops import visible_pairs
from stages.artifacts.kinds import (
    MEASURE_PHASE,
    PLAN_PART,
    PLAN_PHASE,
    ROW_INDEX_FILE,
    ROWS_FILE,
    SAMPLES_FILE,
    Draw,
    Rows,
)
from stages.contract import Part, PartDraft, PartRecord
from stages.formats.fit_sample import UnfitReason
from stages.formats.packed_rows.row_format import DocumentFacts, row_key, row_members
from stages.formats.packed_rows.row_index import RowFacts
from stages.formats.sample_sources import drawn_sources
from stages.formats.sample_table import balance_of, sample_id_type, verdict_columns, write_table
from stages.formats.tar import TarWriter
from stages.packing.plan_file import PlannedPart, planned_parts, read_planned
from stages.packing.row_inputs import RowContent, RowInputs

if TYPE_CHECKING:
    import pyarrow as pa


def write_part(part: Part, draft: PartDraft, plan: PartRecord, inputs: RowInputs) -> None:
    """Write the rows of one part; `part.task` is a `PlannedPart`, `plan` the record of phase `plan`."""
    import numpy as np
    import xxhash

    task = PlannedPart.of(part)
    planned = read_planned(inputs.store, plan, task)
    rows = np.split(planned, np.flatnonzero(np.diff(planned["row"])) + 1)
    places: list[dict[str, Any]] = []
    written: list[DocumentFacts] = []
    digest = xxhash.xxh3_64()
    with TarWriter(draft.path(ROWS_FILE), watch=digest.update) as tar:
        for content in inputs.read_rows(rows):
            digest.reset()
            places.append({**_write_row(tar, content), "digest": digest.intdigest()})
            written += content.facts
            draft.progress(len(written))
    write_table(_index_table(places), draft.path(ROW_INDEX_FILE))
    samples = _samples_table(written, inputs.unfit(task.first_measured, task.until_measured))
    write_table(samples, draft.path(SAMPLES_FILE))
    draft.count(balance_of(samples))
    facts = RowFacts(
        first_row=task.first_row,
        num_rows=len(rows),
        num_documents=len(written),
        num_tokens=sum(place["num_tokens"] for place in places),
        num_images=sum(place["num_images"] for place in places),
        sources=_sources(written),
    )
    draft.fact(**facts.dump())


def rewrite_part(rows: Rows, part_name: str, draft: PartDraft) -> None:
    """Write one part of committed rows again from its plan. Gives the same bytes unless the inputs are damaged."""
    plan = rows.part(PLAN_PART, PLAN_PHASE)
    part = planned_parts(rows.store, plan)[int(part_name)]
    sources = drawn_sources(rows.input("draw", Draw))
    write_part(part, draft, plan=plan, inputs=RowInputs.of(rows.store, sources, rows.phase(MEASURE_PHASE)))


def _write_row(tar: TarWriter, row: RowContent) -> dict[str, Any]:
    """Append a row; returns its row of the index, without the digest."""
    import numpy as np

    offset = tar.size_bytes
    token_ids = np.concatenate([document.token_ids for document in row.documents])
    supervised = np.concatenate([document.supervised for document in row.documents])
    grids = [grid for document in row.documents for grid in document.grids]
    tar.add(row_key(row.number), row_members(token_ids, supervised, row.facts, grids, row.images))
    return {
        "row": row.number,
        "offset": offset,
        "size_bytes": tar.size_bytes - offset,
        "num_tokens": len(token_ids),
        "num_images": len(row.images),
        "num_pairs": visible_pairs(
            [facts.num_tokens for facts in row.facts], [grid_h * grid_w // 4 for grid_h, grid_w in grids]
        ),
        "num_patches": sum(grid_h * grid_w for grid_h, grid_w in grids),
        "num_supervised": sum(int(document.supervised[1:].sum()) for document in row.documents),
        "sample_ids": [facts.sample_id for facts in row.facts],
        "sources": [facts.source for facts in row.facts],
        "document_tokens": [facts.num_tokens for facts in row.facts],
    }


def _sources(written: Iterable[DocumentFacts]) -> dict[str, dict[str, int]]:
    """Source to the number of its `documents` and `tokens` in this part."""
    sources: dict[str, dict[str, int]] = {}
    for facts in written:
        counts = sources.setdefault(facts.source, {"documents": 0, "tokens": 0})
        counts["documents"] += 1
        counts["tokens"] += facts.num_tokens
    return dict(sorted(sources.items()))


def _index_table(places: list[dict[str, Any]]) -> pa.Table:
    import pyarrow as pa

    kinds = [
        ("row", pa.int64()),
        ("offset", pa.int64()),
        ("size_bytes", pa.int64()),
        ("digest", pa.uint64()),
        ("num_tokens", pa.int32()),
        ("num_images", pa.int32()),
        ("num_pairs", pa.int64()),
        ("num_patches", pa.int32()),
        ("num_supervised", pa.int32()),
        ("sample_ids", pa.list_(sample_id_type())),
        ("sources", pa.list_(pa.string())),
        ("document_tokens", pa.list_(pa.int32())),
    ]
    return pa.Table.from_pylist(places, schema=pa.schema(kinds))


def _samples_table(written: Sequence[DocumentFacts], unfit: Sequence[Mapping[str, Any]]) -> pa.Table:
    """The table `samples.parquet`: a row for each drawing whose first document is in this part, and each unfit one."""
    import pyarrow as pa

    packed = [facts for facts in written if facts.piece == 0]
    reasons = [None] * len(packed) + [UnfitReason.spelled(row["reason"]) for row in unfit]
    return pa.table(
        {
            "sample_id": pa.array(
                [facts.sample_id for facts in packed] + [row["sample_id"] for row in unfit], sample_id_type()
            ),
            "source": pa.array([facts.source for facts in packed] + [row["source"] for row in unfit], pa.string()),
            "repetition": pa.array(
                [facts.repetition for facts in packed] + [row["repetition"] for row in unfit], pa.int32()
            ),
            **verdict_columns(reasons),
        }
    )
