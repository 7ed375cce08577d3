"""Second phase of packing: which documents share a row, in which order, and which part writes it.

One part plans the whole, from the lengths that were measured. It writes small tables for each part that is to be
written, so that each reads its own alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stages.artifact import ItemBalance
from stages.contract import Part, PartDraft, PartRecord, StageError
from stages.packing.bins import RowPlan, plan_rows
from stages.packing.certificate import certify, length_counts
from stages.packing.documents import DOCUMENTS_FILE, read_file
from stages.packing.measuring import MEASURED_FILE
from stages.shuffle import scatter
from stages.store import Store
from stages.tables import Verdict, read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa


def plan_part(part: Part, draft: PartDraft, store: Store, measured: Sequence[PartRecord]) -> None:
    """Plan all rows. Raises `StageError` where nothing can be packed.

    `part.task` says `row_tokens`, `num_rows_per_part`, `window_documents` and the `key` of the order.
    """
    task = part.task
    documents = _documents(store, measured)
    lengths = documents["num_tokens"].to_numpy()
    if not len(lengths):
        why = sum((record.items for record in measured), ItemBalance()).dropped
        raise StageError(f"none of the samples drawn can be packed: {why}; look at the limits of the recipe")
    plan = plan_rows(lengths, row_tokens=task["row_tokens"], key=task["key"], window_documents=task["window_documents"])
    unfit = _unfit(store, measured)
    num_parts = -(-plan.num_rows // task["num_rows_per_part"])
    num_samples = []
    for number in range(num_parts):
        first = number * task["num_rows_per_part"]
        until = min(first + task["num_rows_per_part"], plan.num_rows)
        mine = _share(unfit, number, num_parts)
        rows = _part_table(documents, plan, first, until, task["key"])
        write_table(rows, draft.path(planned_file(part_name(number))))
        write_table(mine, draft.path(unfit_file(part_name(number))))
        num_samples.append(rows["piece"].to_pylist().count(0) + mine.num_rows)
    certificate = certify(length_counts(lengths, task["row_tokens"]), plan.num_rows, task["row_tokens"])
    draft.fact(**vars(certificate), packed=_packed(measured), num_samples_of_parts=num_samples)


def part_name(number: int) -> str:
    """The name of a part that writes rows."""
    return f"{number:05d}"


def planned_file(part: str) -> str:
    """The table of the documents of a part's rows."""
    return f"{part}.parquet"


def unfit_file(part: str) -> str:
    """The table of the drawings that are in no row and that a part accounts for."""
    return f"{part}.unfit.parquet"


def _documents(store: Store, measured: Sequence[PartRecord]) -> pa.Table:
    """All measured documents in draw order, with the name of the part that `measured` them."""
    import numpy as np
    import pyarrow as pa

    tables = []
    for record in measured:
        table = read_table(read_file(store, record, DOCUMENTS_FILE))
        names = pa.DictionaryArray.from_arrays(pa.array(np.zeros(table.num_rows, np.int32)), [record.part])
        tables.append(table.append_column("measured", names))
    whole = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return whole.take(pa.array(np.argsort(whole["place"].to_numpy(), kind="stable")))


def _part_table(documents: pa.Table, plan: RowPlan, first: int, until: int, key: str) -> pa.Table:
    """The documents of the rows from `first` up to `until`, in order; within a row the order is shuffled by `key`."""
    import numpy as np
    import pyarrow as pa

    numbers = plan.documents[plan.row_starts[first] : plan.row_starts[until]]
    rows = np.repeat(np.arange(first, until), np.diff(plan.row_starts[first : until + 1]))
    order = np.lexsort((scatter(numbers, key), rows))
    columns = ["measured", "offset", "size_bytes", "repetition", "piece"]
    table = documents.select(columns).take(pa.array(numbers[order]))
    return table.add_column(0, "row", pa.array(rows, pa.int64()))


def _unfit(store: Store, measured: Sequence[PartRecord]) -> pa.Table:
    """The drawings that cannot be packed: sample, source, repetition, reason."""
    import pyarrow as pa
    import pyarrow.compute as pc

    tables = []
    for record in measured:
        table = read_table(read_file(store, record, MEASURED_FILE), ["sample_id", "repetition", "verdict", "reason"])
        table = table.filter(pc.not_equal(table["verdict"], Verdict.KEPT.value)).drop_columns("verdict")
        source = pa.array([record.facts["source"]] * table.num_rows, pa.string())
        tables.append(table.add_column(1, "source", source))
    return pa.concat_tables(tables)


def _share(table: pa.Table, number: int, num_shares: int) -> pa.Table:
    """One of equal shares of a table's rows."""
    start, end = (table.num_rows * edge // num_shares for edge in (number, number + 1))
    return table.slice(start, end - start)


def _packed(measured: Sequence[PartRecord]) -> dict[str, dict[str, Any]]:
    """What is packed of each source: drawings, documents, tokens."""
    sources: dict[str, Counter[str]] = {}
    for record in measured:
        counts = sources.setdefault(record.facts["source"], Counter())
        counts.update(samples=record.items.kept)
        counts.update({name: record.facts[f"num_{name}"] for name in ("documents", "tokens")})
    return {source: dict(counts) for source, counts in sorted(sources.items())}
