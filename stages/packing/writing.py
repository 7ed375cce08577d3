"""Last phase of packing: the planned rows as a tar, with an index that says where each lies.

Documents and pictures are read from everywhere, some rows ahead of the one that is being written; pictures are
copied as they are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar

from neo_model.flops import visible_pairs
from stages.contract import Part, PartDraft, PartRecord
from stages.kinds import Draw, Rows
from stages.packing.documents import RECORDS_FILE, Document, from_record, read_file
from stages.packing.fitting import UnfitReason
from stages.packing.planning import planned_file, unfit_file
from stages.packing.row_layout import DocumentFacts, row_key, row_members
from stages.pairs import PairReader
from stages.rows import INDEX_FILE, ROWS_FILE
from stages.sources import drawn_source
from stages.store import Store
from stages.tables import balance_of, read_table, sample_id_type, verdict_columns, write_table
from stages.tar_writer import TarWriter

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES_FILE = "samples.parquet"
NUM_READERS = 8
"""Rows of one part whose documents are read at once: hides the answering time of an object store."""

Item = TypeVar("Item")
Done = TypeVar("Done")


@dataclass(frozen=True)
class Ingredients:
    """A planned row with all that goes into it."""

    number: int
    facts: list[DocumentFacts]
    documents: list[Document]
    images: list[bytes]


@dataclass(frozen=True)
class Pantry:
    """Where documents and pictures are read from. Reading from several threads is fine."""

    store: Store
    records: Mapping[str, str]
    """Measured part to the key of its `documents.bin`."""
    pictures: Mapping[str, PairReader]
    """Source to its pictures."""

    @classmethod
    def of(cls, draw: Draw, measured: Sequence[PartRecord]) -> Pantry:
        sources = {record.facts["source"] for record in measured}
        readers = {name: drawn_source(draw, name).pictures for name in sorted(sources)}
        return cls(
            store=draw.store,
            records={record.part: record.file(RECORDS_FILE).key for record in measured},
            pictures={name: reader for name, reader in readers.items() if reader is not None},
        )

    def fetch_all(self, rows: Iterable[list[dict[str, Any]]]) -> Iterator[Ingredients]:
        """All that goes into each row, in order; from an object store some rows ahead, as answers take their time."""
        return map(self.fetch, rows) if self.store.folder else ahead(self.fetch, rows, NUM_READERS)

    def fetch(self, planned: Sequence[Mapping[str, Any]]) -> Ingredients:
        """Read everything that goes into one row."""
        documents = [
            from_record(self.store.read_range(self.records[row["measured"]], row["offset"], row["size_bytes"]))
            for row in planned
        ]
        return Ingredients(
            number=planned[0]["row"],
            facts=[
                DocumentFacts(
                    sample_id=document.sample_id,
                    source=document.source,
                    repetition=row["repetition"],
                    piece=row["piece"],
                    num_tokens=len(document.token_ids),
                    num_pictures=len(document.pictures),
                )
                for row, document in zip(planned, documents, strict=True)
            ],
            documents=documents,
            images=[
                self.pictures[document.source].image_of(picture)
                for document in documents
                for picture in document.pictures
            ],
        )


def write_part(part: Part, draft: PartDraft, draw: Draw, plan: PartRecord, measured: Sequence[PartRecord]) -> None:
    """Write the rows of one part."""
    import xxhash

    planned = read_table(read_file(draw.store, plan, planned_file(part.name))).to_pylist()
    rows = [list(group) for _, group in groupby(planned, key=lambda row: int(row["row"]))]
    pantry = Pantry.of(draw, measured)
    places: list[dict[str, Any]] = []
    written: list[DocumentFacts] = []
    digest = xxhash.xxh3_64()
    with TarWriter(draft.path(ROWS_FILE), watch=digest.update) as tar:
        for ingredients in pantry.fetch_all(rows):
            digest.reset()
            places.append({**_write_row(tar, ingredients), "digest": digest.intdigest()})
            written += ingredients.facts
            draft.progress(len(written))
    write_table(_index_table(places), draft.path(INDEX_FILE))
    unfit = read_table(read_file(draw.store, plan, unfit_file(part.name))).to_pylist()
    samples = _samples_table(written, unfit)
    write_table(samples, draft.path(SAMPLES_FILE))
    draft.count(balance_of(samples))
    draft.fact(
        first_row=rows[0][0]["row"],
        num_rows=len(rows),
        num_documents=len(written),
        num_tokens=sum(place["num_tokens"] for place in places),
        num_images=sum(place["num_images"] for place in places),
        sources=_sources(written),
    )


def rewrite_part(rows: Rows, part_name: str, draft: PartDraft) -> None:
    """Write one part of committed rows anew, from what it was planned from: the same bytes, where that is undamaged."""
    write_part(
        Part(name=part_name),
        draft,
        draw=rows.input("draw", Draw),
        plan=rows.part("plan", "plan"),
        measured=rows.phase("measure"),
    )


def ahead(work: Callable[[Item], Done], items: Iterable[Item], num_workers: int) -> Iterator[Done]:
    """`work` on each item, in order of the items, in threads; at most twice as many items ahead as there are."""
    with ThreadPoolExecutor(num_workers) as pool:
        waiting: deque[Future[Done]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) > 2 * num_workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _write_row(tar: TarWriter, row: Ingredients) -> dict[str, Any]:
    """Append a row; returns its line of the index but for the digest."""
    import numpy as np

    offset = tar.size_bytes
    token_ids = np.concatenate([document.token_ids for document in row.documents])
    supervised = np.concatenate([document.supervised for document in row.documents])
    grids = [picture.grid for document in row.documents for picture in document.pictures]
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
        "sample_ids": [facts.sample_id for facts in row.facts],
        "sources": [facts.source for facts in row.facts],
    }


def _sources(written: Iterable[DocumentFacts]) -> dict[str, dict[str, int]]:
    """Documents and tokens of each source in this part."""
    found: dict[str, dict[str, int]] = {}
    for facts in written:
        counts = found.setdefault(facts.source, {"documents": 0, "tokens": 0})
        counts["documents"] += 1
        counts["tokens"] += facts.num_tokens
    return dict(sorted(found.items()))


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
        ("sample_ids", pa.list_(sample_id_type())),
        ("sources", pa.list_(pa.string())),
    ]
    return pa.Table.from_pylist(places, schema=pa.schema(kinds))


def _samples_table(written: Sequence[DocumentFacts], unfit: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A row for each drawing: those whose first document is in this part, and those in no row at all."""
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
