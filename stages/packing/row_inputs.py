"""Reads the documents and images that go into each packed row.

`RowInputs` is made once, where the stage runs, and is sent to every worker: it contains keys of files, no tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import DOCUMENT_RECORDS_FILE, MEASURED_FILE
from stages.artifacts.phase_files import damaged, read_file
from stages.artifacts.records import PartRecord
from stages.formats.clip_reader import FrameReader, UndecodableClipError
from stages.formats.packed_rows.row_format import DocumentFacts
from stages.formats.pairs import ImageReader, StoredImage
from stages.formats.read_ahead import read_ahead
from stages.formats.sample_sources import SampleSource
from stages.formats.sample_table import Verdict, read_table
from stages.packing.document_records import MeasuredDocument, from_record
from stages.packing.measure import MeasuredFacts
from stages.store.errors import CutShortError, StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    from stages.formats.external_sort import Records


@dataclass(frozen=True)
class RowContent:
    """A planned row of D documents and P pictures, with all that is written into it."""

    number: int
    """Number of the row."""
    facts: list[DocumentFacts]
    """[D] what the row records of each document."""
    documents: list[MeasuredDocument]
    """[D] tokens and picture sizes."""
    images: list[bytes]
    """[P] encoded pictures."""


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """Where the documents of a measured part lie, and whether some of its drawings are unfit."""

    source: str
    """Name of its source."""
    records_key: str
    """Key of its `documents.bin`."""
    verdicts: PartRecord | None
    """Its record if some of its drawings are unfit, else None."""

    @classmethod
    def of(cls, record: PartRecord) -> MeasuredPart:
        """The measured part of a record of phase `measure`."""
        has_unfit = record.items.kept < record.items.total
        return cls(
            MeasuredFacts.of(record).source, record.file(DOCUMENT_RECORDS_FILE).key, record if has_unfit else None
        )


@dataclass(frozen=True)
class RowInputs:
    """Reads documents and pictures. Reading from several threads is safe."""

    store: Store
    """Store that holds the records of documents."""
    measured: tuple[MeasuredPart, ...]
    """Measured parts in the order of their phase, by which plans number them."""
    pictures: Mapping[str, ImageReader]
    """Source to the reader of its pictures."""
    frames: Mapping[str, FrameReader]
    """Source to the reader of its frames."""

    @classmethod
    def of(cls, store: Store, sources: Mapping[str, SampleSource], measured: Sequence[PartRecord]) -> RowInputs:
        """The inputs of rows that are packed from these sources and records of phase `measure`."""
        return cls(
            store=store,
            measured=tuple(map(MeasuredPart.of, measured)),
            pictures={name: source.pictures.images for name, source in sources.items() if source.pictures is not None},
            frames={name: source.clips.frames for name, source in sources.items() if source.clips is not None},
        )

    def read_rows(self, rows: Iterable[Records]) -> Iterator[RowContent]:
        """The content of each planned row, in order. From an object store, the next rows are prefetched.

        `rows` are the documents of each row, as `planned.bin` lists them. Raises `StoreError` where a document or a
        picture is missing or damaged, and where a clip is stored as packets that cannot be decoded; it is named.
        """
        return read_ahead(self.store, self._read_row, rows)

    def _read_row(self, planned: Records) -> RowContent:
        """The content of one row; `planned` are its documents in `planned.bin`."""
        facts: list[DocumentFacts] = []
        documents: list[MeasuredDocument] = []
        images: list[bytes] = []
        for _, measured, offset, size_bytes, repetition, piece in planned.tolist():
            part = self.measured[measured]
            document = self._document(part.records_key, offset, size_bytes)
            documents.append(document)
            facts.append(
                DocumentFacts(
                    sample_id=document.sample_id,
                    source=part.source,
                    repetition=repetition,
                    piece=piece,
                    num_tokens=len(document.token_ids),
                    num_pictures=len(document.images),
                )
            )
            images += self._images(part.source, document.images)
        return RowContent(number=int(planned["row"][0]), facts=facts, documents=documents, images=images)

    def _images(self, source: str, stored: Sequence[StoredImage]) -> Iterator[bytes]:
        """The pictures and frames of a document, encoded; the frames of a clip are read together."""
        for is_frame, images in groupby(stored, key=lambda image: image.is_frame):
            try:
                read = (self.frames if is_frame else self.pictures)[source].images_of(list(images))
            except UndecodableClipError as error:
                raise StoreError(
                    f"{error}. Before these rows were planned, each of its frames could be decoded: this machine may "
                    "have too little memory or another decoder. Where a second try fails too, cut the clips with "
                    "store='frames'"
                ) from error
            yield from read

    def _document(self, key: str, offset: int, size_bytes: int) -> MeasuredDocument:
        """A measured document. Raises `StoreError` where it is not as it was measured."""
        try:
            return from_record(self.store.read_range(key, offset, size_bytes))
        except (CutShortError, FileNotFoundError) as error:
            raise damaged(key, f"cannot be read ({error})") from error
        except ValueError as error:
            raise damaged(key, f"is damaged at byte {offset} ({error})") from error

    def unfit(self, first: int, until: int) -> list[dict[str, Any]]:
        """The drawings of the measured parts `first` to `until` - 1 that are in no row.

        Each has `sample_id`, `source`, `repetition`, `verdict` and `reason`.
        """
        columns = ["sample_id", "repetition", "verdict", "reason"]
        unfit: list[dict[str, Any]] = []
        for part in self.measured[first:until]:
            if part.verdicts is not None:
                table = read_table(read_file(self.store, part.verdicts, MEASURED_FILE), columns)
                rows = ({**row, "source": part.source} for row in table.to_pylist())
                unfit += [row for row in rows if row["verdict"] != Verdict.KEPT]
        return unfit
