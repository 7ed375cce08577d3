"""First phase of packing: every drawn sample as tokens, or why it cannot be packed.

Goes through the parts of a draw, so each table of a source is read once and in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from stages.artifacts.kinds import (
    DOCUMENT_RECORDS_FILE,
    DRAW_FILE,
    DRAW_PHASE,
    MEASURED_DOCUMENTS_FILE,
    MEASURED_FILE,
    BaseLlm,
    Draw,
)
from stages.contract import Part, PartDraft
from stages.formats.fit_sample import Fitted, Limits, UnfitError, UnfitReason, fit
from stages.formats.sample_table import balance_of, read_table, sample_id_type, verdict_columns, write_table
from stages.formats.samples import Sample, Source
from stages.formats.tokenizer import tokenizer_of
from stages.packing.document_records import PlacedPicture, documents_table, to_record
from stages.store.store import StoreError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Drawing:
    """One time that a sample was drawn."""

    repetition: int
    place: int


def measure_part(
    part: Part, draft: PartDraft, *, draw: Draw, sources: Mapping[str, Source], llm: BaseLlm, limits: Limits
) -> None:
    """Tokenise the samples of one part of the draw; `sources` are those of the draw."""
    drawings = _drawings(draw, part.name)
    tokenizer = tokenizer_of(llm)
    with draft.path(DOCUMENT_RECORDS_FILE).open("wb") as file:
        measured = _Measured(part.task["source"], file)
        for sample in sources[part.task["source"]].samples(part.task["part"]):
            for_sample = drawings.pop(sample.sample_id, None)
            if for_sample is not None:
                try:
                    measured.add(sample, for_sample, fit(sample, tokenizer, limits))
                except UnfitError as error:
                    measured.refuse(sample, for_sample, error.reason)
            draft.progress(len(measured.samples))
    if drawings:
        raise StoreError(f"{draw!r} draws {len(drawings)} samples of part {part.name} that its source does not hold")
    table = measured.table()
    write_table(table, draft.path(MEASURED_FILE))
    write_table(documents_table(measured.documents), draft.path(MEASURED_DOCUMENTS_FILE))
    draft.count(balance_of(table))
    draft.fact(**measured.facts(limits))


def _drawings(draw: Draw, part: str) -> dict[bytes, list[Drawing]]:
    """The drawings of each sample of one part of the draw."""
    table = read_table(draw.read(draw.part(part, DRAW_PHASE).file(DRAW_FILE)), ["sample_id", "repetition", "place"])
    found: dict[bytes, list[Drawing]] = defaultdict(list)
    for row in table.to_pylist():
        found[row["sample_id"]].append(Drawing(row["repetition"], row["place"]))
    return found


@dataclass
class _Measured:
    """What has been measured of one part."""

    source: str
    file: BinaryIO
    """Takes the records of documents."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    documents: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[UnfitReason | None] = field(default_factory=list)

    def add(self, sample: Sample, drawings: list[Drawing], fitted: Fitted) -> None:
        pictures = list(map(PlacedPicture.of, sample.pictures, fitted.grids))
        for piece, encoded in enumerate(fitted.documents):
            offset = self.file.tell()
            size_bytes = self.file.write(to_record(sample.sample_id, encoded, pictures))
            place = {"num_tokens": len(encoded.token_ids), "offset": offset, "size_bytes": size_bytes, "piece": piece}
            self.documents += [
                {"sample_id": sample.sample_id, "place": one.place, "repetition": one.repetition, **place}
                for one in drawings
            ]
        num_tokens = sum(len(encoded.token_ids) for encoded in fitted.documents)
        measures = {
            "num_tokens": num_tokens,
            "num_tokens_wanted": fitted.num_tokens_wanted,
            "max_pixels_px": fitted.max_pixels_px if pictures else None,
        }
        counts = {"num_documents": len(fitted.documents), "num_images": len(pictures)}
        self._list(sample, drawings, None, measures | counts)

    def refuse(self, sample: Sample, drawings: list[Drawing], reason: UnfitReason) -> None:
        self._list(sample, drawings, reason, {"num_documents": 0})

    def _list(
        self, sample: Sample, drawings: list[Drawing], reason: UnfitReason | None, measures: dict[str, Any]
    ) -> None:
        for one in drawings:
            self.samples.append(
                {"sample_id": sample.sample_id, "repetition": one.repetition, "place": one.place, **measures}
            )
            self.reasons.append(reason)

    def table(self) -> pa.Table:
        """A row for each drawing."""
        import pyarrow as pa

        kinds = [
            ("sample_id", sample_id_type()),
            ("repetition", pa.int32()),
            ("place", pa.int64()),
            ("num_tokens", pa.int64()),
            ("num_tokens_wanted", pa.int64()),
            ("num_documents", pa.int32()),
            ("num_images", pa.int32()),
            ("max_pixels_px", pa.int64()),
        ]
        table = pa.Table.from_pylist(self.samples, schema=pa.schema(kinds))
        for name, column in verdict_columns(self.reasons).items():
            table = table.append_column(name, column)
        return table

    def facts(self, limits: Limits) -> dict[str, Any]:
        """Counts over all drawings."""
        caps = [sample.get("max_pixels_px") for sample in self.samples]
        return {
            "source": self.source,
            "num_documents": len(self.documents),
            "num_tokens": sum(document["num_tokens"] for document in self.documents),
            "num_images": sum(sample.get("num_images", 0) for sample in self.samples),
            "num_with_smaller_pictures": sum(cap is not None and cap < limits.max_pixels_px for cap in caps),
            "num_cut_texts": sum(sample["num_documents"] > 1 for sample in self.samples),
        }
