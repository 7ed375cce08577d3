"""Second phase of packing (`plan`): decides which documents share a row, in which order, and which part writes it.

One part plans all rows, from the measured lengths. Its memory is a few bytes for each document: its length, then its
row. The rest is sorted on local disk (`formats/external_sort.py`): into the order of the draw, then into rows, and by
sample id for the index from samples to rows. The result depends on the measured records alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from stages.artifacts.kinds import (
    MEASURED_DOCUMENTS_FILE,
    PLANNED_FILE,
    PLANNED_PARTS_FILE,
    SAMPLE_ROWS_FILE,
    SAMPLE_ROWS_OFFSETS_FILE,
)
from stages.artifacts.phase_files import read_file
from stages.artifacts.records import total
from stages.contract import Part, PartDraft, PartFacts, PartRecord, PartTask, StageError
from stages.formats.external_sort import Buckets, order_of, raw
from stages.formats.packed_rows.sample_index import ENTRY_FIELDS, PREFIX_BITS, halves, write_index
from stages.formats.permutation import scatter
from stages.formats.read_ahead import read_ahead
from stages.formats.sample_table import SAMPLE_ID_BYTES, read_table, write_table
from stages.packing.alike_rows import alike_together
from stages.packing.bin_packing import plan_rows
from stages.packing.certificate import Certificate, certify, length_counts
from stages.packing.measure import MeasuredFacts
from stages.packing.plan_file import PLANNED_FIELDS, PlannedPart, parts_table
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from stages.formats.external_sort import Records
    from stages.packing.bin_packing import Whole

RECORDS_AT_ONCE = 2**19
"""Documents of the draw that are assigned to rows at a time; bounds memory."""
_LOCATION = PLANNED_FIELDS[1:]
"""Where the record of a document lies, and its repetition and piece: the fields of a planned document but its row."""
_DRAWN_FIELDS = [("place", "<u8"), ("num_tokens", "<u4"), ("cost", "<u8")]
_DRAWN_FIELDS += [("sample_id", f"V{SAMPLE_ID_BYTES}"), *_LOCATION]
"""A measured document, to be sorted by its `place` in the draw."""
_PLACED_FIELDS = [("shuffle_key", "<u8"), *PLANNED_FIELDS]
"""A document whose row is known; within a row, documents are ordered by `shuffle_key`."""


class PlanTask(PartTask):
    """The task of the one part that plans."""

    key: str
    """Key of the permutation of rows, and of the order of documents in a row."""
    row_tokens: int
    """Length of a row, in tokens."""
    window_documents: int | None
    """Consecutive documents of the draw that are packed together; None packs all documents at once."""
    num_rows_per_part: int
    """Rows that one part of phase `write` writes."""
    rows_together: int = 1
    """Consecutive rows that cost alike; 1 leaves all rows shuffled."""


class PackedOfSource(BaseModel):
    """What is packed of one source."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    samples: int
    """Drawings of the source that are packed."""
    documents: int
    """Documents of these drawings: more than drawings where texts were cut."""
    tokens: int
    """Tokens of these documents."""


class PlanFacts(PartFacts):
    """What the plan records: the fields of its certificate (`certificate.py`), and counts of samples and pictures."""

    num_documents: int
    """Documents in all rows."""
    num_tokens: int
    """Tokens in all rows."""
    num_rows: int
    """Rows planned."""
    lower_bound_rows: int
    """Rows that any packing of the same lengths needs."""
    gap: float
    """Rows above the lower bound, as a fraction of it."""
    fill: float
    """Tokens in the rows, as a fraction of the tokens that they could hold."""
    num_images: int
    """Pictures and frames in all rows."""
    num_with_smaller_pictures: int
    """Drawings whose pictures or frames were made smaller to fit."""
    num_cut_texts: int
    """Drawings whose text was cut into pieces."""
    num_frames: int = 0
    """Frames in all rows."""
    num_with_fewer_frames: int = 0
    """Drawings of which not all stored frames were taken, because they are more than allowed or than fit."""
    dropped: dict[str, int]
    """Drawings that are in no row, by reason."""
    packed: dict[str, PackedOfSource]
    """Counts of what is packed, by source."""


def plan_part(part: Part, draft: PartDraft, store: Store, measured: Sequence[PartRecord]) -> None:
    """Plan all rows; `part.task` is a `PlanTask`, `measured` the records of phase `measure`.

    Raises `StageError` where nothing can be packed, or a drawing would be lost.
    """
    import numpy as np

    task = PlanTask.of(part)
    row_tokens, num_rows_per_part = task.row_tokens, task.num_rows_per_part
    balance = total(record.items for record in measured)
    if not balance.kept:
        raise StageError(
            f"none of the samples drawn can be packed: {balance.dropped}; look at the limits of the recipe"
        )
    drawn = draft.scratch / "drawn.bin"
    kind = np.dtype(np.uint16 if row_tokens < 2**16 else np.uint32)
    lengths, costs = _sort_by_place(store, measured, drawn, draft, kind, with_costs=task.rows_together > 1)
    plan = plan_rows(lengths, row_tokens=row_tokens, key=task.key, window_documents=task.window_documents)
    if costs is not None:
        plan = alike_together(plan, costs, task.rows_together, task.key)
    certificate = certify(length_counts(lengths, row_tokens), plan.num_rows, row_tokens)
    row_starts, rows = plan.row_starts, plan.row_of_each()
    del lengths, costs, plan  # gigabytes, for hundreds of millions of documents
    cut = _PartCutter(row_starts, num_rows_per_part, measured)
    documents, entries = draft.scratch / "by_part", draft.scratch / "by_sample"
    with (
        Buckets(documents, _PLACED_FIELDS, num_keys=cut.num_parts, num_records=len(rows)) as by_part,
        Buckets(entries, ENTRY_FIELDS, num_keys=2**PREFIX_BITS, num_records=len(rows)) as by_sample,
    ):
        _sort_by_row_and_sample(drawn, rows, task, by_part, by_sample)
        parts = cut.write(by_part.drain(), draft.path(PLANNED_FILE))
        write_index(by_sample.drain(), len(rows), draft.path(SAMPLE_ROWS_FILE), draft.path(SAMPLE_ROWS_OFFSETS_FILE))
    write_table(parts_table(parts), draft.path(PLANNED_PARTS_FILE))
    num_samples = sum(one.num_samples for one in parts)
    if num_samples != balance.total:
        raise StageError(f"{balance.total} samples were drawn and {num_samples} are planned or unfit; none may be lost")
    draft.fact(**_facts(certificate, measured).dump())


def _sort_by_place(
    store: Store,
    measured: Sequence[PartRecord],
    target: Path,
    draft: PartDraft,
    kind: np.dtype[Any],
    *,
    with_costs: bool,
) -> tuple[Whole, NDArray[np.float32] | None]:
    """Write all measured documents to `target` in draw order; returns their lengths in that order, as `kind`, and
    their costs if they are asked for: 4 bytes more for each document."""
    import numpy as np

    num_documents = sum(MeasuredFacts.of(record).num_documents for record in measured)
    num_drawings = total(record.items for record in measured).total
    lengths = np.empty(num_documents, kind)
    costs = np.empty(num_documents, np.float32) if with_costs else None
    folder = draft.scratch / "by_place"
    with Buckets(folder, _DRAWN_FIELDS, num_keys=num_drawings, num_records=num_documents) as by_place:
        num_read = 0
        for documents in read_ahead(store, partial(_documents, store=store), enumerate(measured)):
            by_place.add(documents, documents["place"])
            num_read += len(documents)
            draft.progress(num_read)
        if num_read != num_documents:
            raise StageError(f"{num_documents} documents were measured and {num_read} are listed; run `neo audit`")
        num_sorted = 0
        with target.open("wb") as file:
            for bucket in by_place.drain():
                ordered = bucket.take(order_of(bucket["place"], bucket["piece"]))
                lengths[num_sorted : num_sorted + len(ordered)] = ordered["num_tokens"]
                if costs is not None:
                    costs[num_sorted : num_sorted + len(ordered)] = ordered["cost"]
                num_sorted += len(ordered)
                file.write(raw(ordered))
    return lengths, costs


def _documents(numbered: tuple[int, PartRecord], store: Store) -> Records:
    """The documents of measured part `number`, read from its `documents.parquet`."""
    import numpy as np

    number, record = numbered
    table = read_table(read_file(store, record, MEASURED_DOCUMENTS_FILE))
    documents = np.zeros(table.num_rows, _DRAWN_FIELDS)
    documents["measured"] = number
    for name in table.column_names:
        column = table[name].combine_chunks()
        if name == "sample_id":
            documents[name] = np.frombuffer(column.buffers()[1], documents[name].dtype, len(column), 0)
        else:
            documents[name] = column.to_numpy()
    return documents


def _sort_by_row_and_sample(drawn: Path, rows: Whole, task: PlanTask, by_part: Buckets, by_sample: Buckets) -> None:
    """Add each document of `drawn`, which is in draw order, to the bucket of its part and to that of its sample id."""
    import numpy as np

    first = 0
    with drawn.open("rb") as file:
        while first < len(rows):
            documents = np.fromfile(file, _DRAWN_FIELDS, RECORDS_AT_ONCE)
            numbers = np.arange(first, first + len(documents))
            row = rows[first : first + len(documents)]
            placed = _with_fields(_PLACED_FIELDS, documents, row=row, shuffle_key=scatter(numbers, task.key))
            by_part.add(placed, row // task.num_rows_per_part)
            entries = _with_fields(ENTRY_FIELDS, documents, row=row)
            high, _ = halves(entries["sample_id"])
            by_sample.add(entries, high >> np.uint64(64 - PREFIX_BITS))
            first += len(documents)
    drawn.unlink()


def _with_fields(fields: list[tuple[str, str]], records: Records, **others: Whole) -> Records:
    """Records of `fields`: those named in `others` from there, the rest copied from `records`."""
    import numpy as np

    made = np.empty(len(records), fields)
    for name, _ in fields:
        made[name] = others[name] if name in others else records[name]
    return made


@dataclass(frozen=True)
class _PartCutter:
    """Cuts the rows into parts of phase `write`, and shares out the drawings that are in no row."""

    row_starts: Whole
    """[num_rows + 1] number of the first document of each row, and of all documents."""
    num_rows_per_part: int
    """Rows in one part; the last part may have fewer."""
    measured: Sequence[PartRecord]
    """Records of phase `measure`, whose unfit drawings are shared out among the parts."""

    @property
    def num_parts(self) -> int:
        """Parts of phase `write`."""
        return -(-(len(self.row_starts) - 1) // self.num_rows_per_part)

    def write(self, buckets: Iterable[Records], target: Path) -> list[PlannedPart]:
        """Write the documents of all parts, which come in buckets of whole parts; returns the task of each part."""
        import numpy as np

        parts: list[PlannedPart] = []
        with target.open("wb") as file:
            for bucket in buckets:
                # One 64-bit sort key instead of two: the row in the high half, the high half of the shuffle key in the
                # low one. Row 5 and shuffle key 0xAABBCCDD_00112233 make 0x00000005_AABBCCDD. Documents of one row that
                # agree in 32 bits of the shuffle key are ordered by all of it.
                coarse = bucket["row"].astype(np.uint64) << np.uint64(32) | bucket["shuffle_key"] >> np.uint64(32)
                left = _with_fields(PLANNED_FIELDS, bucket.take(order_of(coarse, bucket["shuffle_key"])))
                while len(left):
                    part = self._next_part(len(parts), left)
                    file.write(raw(left[: part.num_documents]))
                    left = left[part.num_documents :]
                    parts.append(part)
        return parts

    def _next_part(self, number: int, documents: Records) -> PlannedPart:
        """The task of part `number`; its documents stand first in `documents`.

        With 10 rows, 4 a part: part 2 has the rows 8 and 9. With 6 measured parts it accounts for the unfit drawings of
        the measured parts 4 and 5.
        """
        import xxhash

        num_rows = len(self.row_starts) - 1
        first_row = min(number * self.num_rows_per_part, num_rows)
        until_row = min((number + 1) * self.num_rows_per_part, num_rows)
        first, until = self.row_starts[[first_row, until_row]].tolist()
        mine = documents[: until - first]
        first_measured, until_measured = (len(self.measured) * edge // self.num_parts for edge in (number, number + 1))
        accounted = total(record.items for record in self.measured[first_measured:until_measured])
        return PlannedPart(
            first_row=first_row,
            num_rows=until_row - first_row,
            first_document=first,
            num_documents=until - first,
            digest=xxhash.xxh3_64_intdigest(raw(mine)),
            first_measured=first_measured,
            until_measured=until_measured,
            num_samples=int((mine["piece"] == 0).sum()) + accounted.total - accounted.kept,
        )


def _facts(certificate: Certificate, measured: Sequence[PartRecord]) -> PlanFacts:
    """The certificate, and the sums of what was measured."""
    facts = [MeasuredFacts.of(record) for record in measured]
    num_frames = sum(one.num_frames for one in facts)
    of_frames = {"num_frames": num_frames, "num_with_fewer_frames": sum(one.num_with_fewer_frames for one in facts)}
    return PlanFacts(
        **vars(certificate),
        **(of_frames if num_frames else {}),
        num_images=sum(one.num_images for one in facts),
        num_with_smaller_pictures=sum(one.num_with_smaller_pictures for one in facts),
        num_cut_texts=sum(one.num_cut_texts for one in facts),
        dropped=total(record.items for record in measured).dropped,
        packed=_packed(measured),
    )


def _packed(measured: Sequence[PartRecord]) -> dict[str, PackedOfSource]:
    """What is packed of each source."""
    sources: dict[str, Counter[str]] = {}
    for record in measured:
        facts = MeasuredFacts.of(record)
        counts = sources.setdefault(facts.source, Counter())
        counts.update(samples=record.items.kept, documents=facts.num_documents, tokens=facts.num_tokens)
    return {source: PackedOfSource(**counts) for source, counts in sorted(sources.items())}
