"""First phase of packing (`measure`): tokenises each drawn sample, or records why it cannot be packed.

One part for each part of the draw, so each table of a source is read once and in order.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO

from neo_model.costs.flops import visible_pairs
from stages.artifacts.kinds import (
    DOCUMENT_RECORDS_FILE,
    DRAW_FILE,
    DRAW_PHASE,
    MEASURED_DOCUMENTS_FILE,
    MEASURED_FILE,
    Draw,
    KeptClips,
    ModelFolder,
)
from stages.contract import Part, PartDraft, PartFacts
from stages.formats.clip_reader import FrameReader, UndecodableClipError
from stages.formats.fit_sample import Fitted, Limits, UnfitError, UnfitReason, fit
from stages.formats.pairs import StoredImage
from stages.formats.sample_sources import SampleSource, SourcePart
from stages.formats.sample_table import balance_of, read_table, sample_id_type, verdict_columns, write_table
from stages.formats.samples import Sample
from stages.formats.tokenizer import tokenizer_of
from stages.packing.alike_rows import document_cost
from stages.packing.document_records import documents_table, to_record
from stages.store.errors import StoreError

if TYPE_CHECKING:
    import pyarrow as pa


class MeasuredFacts(PartFacts):
    """What a part of phase `measure` records of its drawings."""

    source: str
    """Name of the source in the mixture."""
    num_documents: int
    """Documents of all drawings: a document counts once for each drawing."""
    num_tokens: int
    """Tokens of these documents."""
    num_images: int
    """Pictures and frames of all drawings."""
    num_with_smaller_pictures: int
    """Drawings whose pictures or frames were made smaller to fit."""
    num_cut_texts: int
    """Drawings whose text was cut into pieces."""
    num_frames: int = 0
    """Frames of all drawings."""
    num_with_fewer_frames: int = 0
    """Drawings of which not all stored frames were taken, because they are more than allowed or than fit."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """One time that a sample was drawn."""

    repetition: int
    """How often the sample was drawn before."""
    place: int
    """Position in the whole draw."""


def measure_part(
    part: Part, draft: PartDraft, *, draw: Draw, sources: Mapping[str, SampleSource], llm: ModelFolder, limits: Limits
) -> None:
    """Tokenise the samples of one part of the draw; `sources` are those of the draw.

    Raises `StoreError` where the source lacks a sample that was drawn.
    """
    task = SourcePart.of(part)
    drawings = _drawings(draw, part.name)
    tokenizer = tokenizer_of(llm)
    frames = _frames_to_check(sources[task.source])
    with draft.path(DOCUMENT_RECORDS_FILE).open("wb") as file:
        measured = _Measured(task.source, file)
        for sample in sources[task.source].samples(task.part):
            for_sample = drawings.pop(sample.sample_id, None)
            if for_sample is not None:
                try:
                    fitted = fit(sample, tokenizer, limits)
                    _check_decodable(fitted.images, frames)
                    measured.add(sample, for_sample, fitted)
                except UnfitError as error:
                    measured.refuse(sample, for_sample, error.reason)
            draft.progress(len(measured.samples))
    if drawings:
        raise StoreError(f"{draw!r} draws {len(drawings)} samples of part {part.name} that its source does not hold")
    table = measured.table()
    write_table(table, draft.path(MEASURED_FILE))
    write_table(documents_table(measured.documents), draft.path(MEASURED_DOCUMENTS_FILE))
    draft.count(balance_of(table))
    draft.fact(**measured.facts().dump())


def _frames_to_check(source: SampleSource) -> FrameReader | None:
    """The reader of frames that nobody has decoded yet: of clips that neither a filter nor the cut has checked."""
    if source.clips is None or isinstance(source.clips.clips, KeptClips):
        return None
    return None if source.clips.raw.head.recipe.get("check_packets") else source.clips.frames


def _check_decodable(images: Sequence[StoredImage], frames: FrameReader | None) -> None:
    """Decode frames in packets once, before rows are planned with them. Raises `UnfitError` where that fails."""
    in_packets = [image for image in images if image.pts is not None]
    if frames is not None and in_packets:
        try:
            frames.images_of(in_packets)
        except UndecodableClipError as error:
            raise UnfitError(UnfitReason.UNDECODABLE) from error


def _drawings(draw: Draw, part: str) -> dict[bytes, list[Drawing]]:
    """The drawings of each sample of one part of the draw."""
    table = read_table(draw.read(draw.part(part, DRAW_PHASE).file(DRAW_FILE)), ["sample_id", "repetition", "place"])
    by_sample: dict[bytes, list[Drawing]] = defaultdict(list)
    for row in table.to_pylist():
        by_sample[row["sample_id"]].append(Drawing(row["repetition"], row["place"]))
    return by_sample


@dataclass
class _Measured:
    """Rows of the tables of one part, as its samples are measured."""

    source: str
    """Name of the source."""
    file: BinaryIO
    """File that the records of documents are appended to."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `measured.parquet`."""
    documents: list[dict[str, Any]] = field(default_factory=list)
    """Rows of `documents.parquet`."""
    reasons: list[UnfitReason | None] = field(default_factory=list)
    """Reason of each row of `samples`; None where it is packed."""
    num_with_smaller_images: int = 0
    """Drawings whose images were made smaller to fit."""

    def add(self, sample: Sample, drawings: list[Drawing], fitted: Fitted) -> None:
        """Write the records of a sample that fits, and list each of its drawings in both tables."""
        for piece, encoded in enumerate(fitted.documents):
            offset = self.file.tell()
            size_bytes = self.file.write(to_record(sample.sample_id, encoded, fitted.images, fitted.grids))
            num_tokens = len(encoded.token_ids)
            cost = document_cost(
                num_tokens=num_tokens,
                num_pairs=visible_pairs([num_tokens], [height * width // 4 for height, width in fitted.grids]),
                num_patches=sum(height * width for height, width in fitted.grids),
                num_supervised=int(sum(encoded.supervised[1:])),
            )
            place = {
                "num_tokens": num_tokens,
                "cost": cost,
                "offset": offset,
                "size_bytes": size_bytes,
                "piece": piece,
            }
            self.documents += [
                {"sample_id": sample.sample_id, "place": one.place, "repetition": one.repetition, **place}
                for one in drawings
            ]
        num_tokens = sum(len(encoded.token_ids) for encoded in fitted.documents)
        measures = {
            "num_tokens": num_tokens,
            "num_tokens_wanted": fitted.num_tokens_wanted,
            "max_pixels_px": fitted.max_pixels_px if sample.pictures else None,
        }
        if sample.clips:
            measures |= {"max_frame_pixels_px": fitted.max_frame_pixels_px, "num_frames": fitted.num_frames}
            measures |= {"num_stored_frames": fitted.num_stored_frames}
        counts = {"num_documents": len(fitted.documents), "num_images": len(fitted.images)}
        self.num_with_smaller_images += len(drawings) * fitted.has_fewer_pixels
        self._list(sample, drawings, None, measures | counts)

    def refuse(self, sample: Sample, drawings: list[Drawing], reason: UnfitReason) -> None:
        """List each drawing of a sample that cannot be packed, with the reason."""
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
        """The table `measured.parquet`: a row for each drawing. Where clips are drawn it tells of their frames."""
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
        if any("num_frames" in sample for sample in self.samples):
            kinds += [
                ("max_frame_pixels_px", pa.int64()),
                ("num_frames", pa.int32()),
                ("num_stored_frames", pa.int32()),
            ]
        table = pa.Table.from_pylist(self.samples, schema=pa.schema(kinds))
        for name, column in verdict_columns(self.reasons).items():
            table = table.append_column(name, column)
        return table

    def facts(self) -> MeasuredFacts:
        """The counts of all drawings; of frames, where clips are among them."""
        frames = [(one["num_frames"], one["num_stored_frames"]) for one in self.samples if "num_frames" in one]
        of_frames = {
            "num_frames": sum(taken for taken, _ in frames),
            "num_with_fewer_frames": sum(taken < stored for taken, stored in frames),
        }
        return MeasuredFacts(
            source=self.source,
            num_documents=len(self.documents),
            num_tokens=sum(document["num_tokens"] for document in self.documents),
            num_images=sum(sample.get("num_images", 0) for sample in self.samples),
            num_with_smaller_pictures=self.num_with_smaller_images,
            num_cut_texts=sum(sample["num_documents"] > 1 for sample in self.samples),
            **(of_frames if frames else {}),
        )
