"""Second phase of packing: which documents share a row, in which order, and which part writes it.

One part plans the whole, from the lengths that were measured. In memory it holds a few bytes for each document: the
length, then the row. All else that is known of documents goes through local disk, first into the order of the draw,
then to the rows, and with sample ids into the index of samples (`buckets.py`); what comes out is a function of what was
measured alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import (
    MEASURED_DOCUMENTS_FILE,
    PLANNED_FILE,
    PLANNED_PARTS_FILE,
    SAMPLE_ROWS_FILE,
    SAMPLE_ROWS_OFFSETS_FILE,
)
from stages.artifacts.records import total
from stages.contract import Part, PartDraft, PartRecord, StageError
from stages.formats.external_sort import Buckets, order_of, raw
from stages.formats.permutation import scatter
from stages.formats.phase_files import read_file
from stages.formats.read_ahead import read_ahead
from stages.formats.sample_index import ENTRY_FIELDS, PREFIX_BITS, halves, write_index
from stages.formats.sample_table import SAMPLE_ID_BYTES, read_table, write_table
from stages.packing.bin_packing import plan_rows
from stages.packing.certificate import certify, length_counts
from stages.packing.plan_file import PLANNED_FIELDS, PlannedPart, parts_table
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np

    from stages.formats.external_sort import Records
    from stages.packing.bin_packing import Whole

RECORDS_AT_ONCE = 2**19
"""Documents of the draw that are thrown into buckets together."""
_LOCATION = PLANNED_FIELDS[1:]
_DRAWN_FIELDS = [("place", "<u8"), ("num_tokens", "<u4"), ("sample_id", f"V{SAMPLE_ID_BYTES}"), *_LOCATION]
"""A measured document on its way to its place in the draw."""
_PLACED_FIELDS = [("turn", "<u8"), *PLANNED_FIELDS]
"""A document on its way to its row; `turn` orders those of one row."""


def plan_part(part: Part, draft: PartDraft, store: Store, measured: Sequence[PartRecord]) -> None:
    """Plan all rows. Raises `StageError` where nothing can be packed.

    `part.task` says `row_tokens`, `num_rows_per_part`, `window_documents` and the `key` of the order.
    """
    import numpy as np

    task, row_tokens = part.task, part.task["row_tokens"]
    balance = total(record.items for record in measured)
    if not balance.kept:
        raise StageError(
            f"none of the samples drawn can be packed: {balance.dropped}; look at the limits of the recipe"
        )
    drawn = draft.scratch / "drawn.bin"
    lengths = _bring_to_draw_order(store, measured, drawn, draft, np.uint16 if row_tokens < 2**16 else np.uint32)
    plan = plan_rows(lengths, row_tokens=row_tokens, key=task["key"], window_documents=task["window_documents"])
    certificate = certify(length_counts(lengths, row_tokens), plan.num_rows, row_tokens)
    row_starts, rows = plan.row_starts, plan.row_of_each()
    del lengths, plan  # gigabytes, where there are hundreds of millions
    cut = _Cut(row_starts, task["num_rows_per_part"], measured)
    documents, entries = draft.scratch / "by_part", draft.scratch / "by_sample"
    with (
        Buckets(documents, _PLACED_FIELDS, num_keys=cut.num_parts, num_records=len(rows)) as by_part,
        Buckets(entries, ENTRY_FIELDS, num_keys=2**PREFIX_BITS, num_records=len(rows)) as by_sample,
    ):
        _bring_to_rows(drawn, rows, task, by_part, by_sample)
        parts = cut.write(by_part.drain(), draft.path(PLANNED_FILE))
        write_index(by_sample.drain(), len(rows), draft.path(SAMPLE_ROWS_FILE), draft.path(SAMPLE_ROWS_OFFSETS_FILE))
    write_table(parts_table(parts), draft.path(PLANNED_PARTS_FILE))
    num_samples = sum(one.num_samples for one in parts)
    if num_samples != balance.total:
        raise StageError(f"{balance.total} samples were drawn and {num_samples} are planned or unfit; none may be lost")
    draft.fact(**vars(certificate), **_counts(measured), packed=_packed(measured))


def _bring_to_draw_order(
    store: Store, measured: Sequence[PartRecord], target: Path, draft: PartDraft, kind: type[np.unsignedinteger[Any]]
) -> Whole:
    """Write all measured documents to `target` in draw order; returns their lengths, of this kind of number."""
    import numpy as np

    num_documents = sum(int(record.facts["num_documents"]) for record in measured)
    num_drawings = total(record.items for record in measured).total
    lengths = np.empty(num_documents, kind)
    folder = draft.scratch / "by_place"
    with Buckets(folder, _DRAWN_FIELDS, num_keys=num_drawings, num_records=num_documents) as by_place:
        num_read = 0
        for documents in read_ahead(store, partial(_documents, store=store), enumerate(measured)):
            by_place.add(documents, documents["place"])
            num_read += len(documents)
            draft.progress(num_read)
        if num_read != num_documents:
            raise StageError(f"{num_documents} documents were measured and {num_read} are listed; run `neo audit`")
        filled = 0
        with target.open("wb") as file:
            for bucket in by_place.drain():
                ordered = bucket.take(order_of(bucket["place"], bucket["piece"]))
                lengths[filled : filled + len(ordered)] = ordered["num_tokens"]
                filled += len(ordered)
                file.write(raw(ordered))
    return lengths


def _documents(numbered: tuple[int, PartRecord], store: Store) -> Records:
    """The documents of one measured part."""
    import numpy as np

    number, record = numbered
    table = read_table(read_file(store, record, MEASURED_DOCUMENTS_FILE))
    found = np.zeros(table.num_rows, _DRAWN_FIELDS)
    found["measured"] = number
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name == "sample_id":
            found[name] = np.frombuffer(column.buffers()[1], found[name].dtype, len(column), 0)
        else:
            found[name] = column.to_numpy()
    return found


def _bring_to_rows(drawn: Path, rows: Whole, task: Mapping[str, Any], by_part: Buckets, by_sample: Buckets) -> None:
    """Throw the documents, which lie in draw order, into the buckets of their part and of their sample."""
    import numpy as np

    first = 0
    with drawn.open("rb") as file:
        while first < len(rows):
            documents = np.fromfile(file, _DRAWN_FIELDS, RECORDS_AT_ONCE)
            numbers = np.arange(first, first + len(documents))
            row = rows[first : first + len(documents)]
            placed = _only(_PLACED_FIELDS, documents, row=row, turn=scatter(numbers, task["key"]))
            by_part.add(placed, row // task["num_rows_per_part"])
            entries = _only(ENTRY_FIELDS, documents, row=row)
            high, _ = halves(entries["sample_id"])
            by_sample.add(entries, high >> np.uint64(64 - PREFIX_BITS))
            first += len(documents)
    drawn.unlink()


def _only(fields: list[tuple[str, str]], records: Records, **others: Whole) -> Records:
    """Records of these fields alone, with some from elsewhere."""
    import numpy as np

    found = np.empty(len(records), fields)
    for name, _ in fields:
        found[name] = others[name] if name in others else records[name]
    return found


@dataclass(frozen=True)
class _Cut:
    """How rows, and the accounts of what is in none, are cut into parts."""

    row_starts: Whole
    num_rows_per_part: int
    measured: Sequence[PartRecord]

    @property
    def num_parts(self) -> int:
        return -(-(len(self.row_starts) - 1) // self.num_rows_per_part)

    def write(self, buckets: Iterable[Records], target: Path) -> list[PlannedPart]:
        """Write the documents of all parts, which come in buckets of whole parts; returns what each is to do."""
        import numpy as np

        parts: list[PlannedPart] = []
        with target.open("wb") as file:
            for bucket in buckets:
                coarse = bucket["row"].astype(np.uint64) << np.uint64(32) | bucket["turn"] >> np.uint64(32)
                left = _only(PLANNED_FIELDS, bucket.take(order_of(coarse, bucket["turn"])))
                while len(left):
                    part = self._part(len(parts), left)
                    file.write(raw(left[: part.num_documents]))
                    left = left[part.num_documents :]
                    parts.append(part)
        return parts

    def _part(self, number: int, documents: Records) -> PlannedPart:
        """The part of this number, whose documents come first among these."""
        import xxhash

        edges = (number * self.num_rows_per_part, (number + 1) * self.num_rows_per_part)
        first_row, until_row = (min(edge, len(self.row_starts) - 1) for edge in edges)
        first, until = self.row_starts[[first_row, until_row]].tolist()
        mine = documents[: until - first]
        first_measured, until_measured = (len(self.measured) * edge // self.num_parts for edge in (number, number + 1))
        num_unfit = sum(
            record.items.total - record.items.kept for record in self.measured[first_measured:until_measured]
        )
        return PlannedPart(
            first_row=first_row,
            num_rows=until_row - first_row,
            first_document=first,
            num_documents=until - first,
            digest=xxhash.xxh3_64_intdigest(raw(mine)),
            first_measured=first_measured,
            until_measured=until_measured,
            num_samples=int((mine["piece"] == 0).sum()) + num_unfit,
        )


def _counts(measured: Sequence[PartRecord]) -> dict[str, Any]:
    """What the certificate says of samples: how many are dropped and why, fitted by a rule, and pictures, all whole."""
    fitted = ("num_images", "num_with_smaller_pictures", "num_cut_texts")
    return {
        **{name: sum(record.facts[name] for record in measured) for name in fitted},
        "dropped": total(record.items for record in measured).dropped,
    }


def _packed(measured: Sequence[PartRecord]) -> dict[str, dict[str, Any]]:
    """What is packed of each source: drawings, documents, tokens."""
    sources: dict[str, Counter[str]] = {}
    for record in measured:
        counts = sources.setdefault(record.facts["source"], Counter())
        counts.update(samples=record.items.kept)
        counts.update({name: record.facts[f"num_{name}"] for name in ("documents", "tokens")})
    return {source: dict(counts) for source, counts in sorted(sources.items())}
