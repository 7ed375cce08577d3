"""Reads the documents and images that go into each packed row.

`RowInputs` is made once, where the stage runs, and is sent to every worker: it contains keys of files, no tables.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, groupby, islice
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import DOCUMENT_RECORDS_FILE, MEASURED_FILE
from stages.artifacts.phase_files import damaged, read_file
from stages.artifacts.records import PartRecord
from stages.formats.clip_reader import FrameReader, UndecodableClipError
from stages.formats.packed_rows.row_format import DocumentFacts
from stages.formats.pairs import ImageReader, StoredImage
from stages.formats.read_ahead import NUM_READ_AHEAD, FileRange, RangesAhead, ahead
from stages.formats.sample_sources import SampleSource
from stages.formats.sample_table import Verdict, read_table
from stages.packing.document_records import MeasuredDocument, from_record
from stages.packing.measure import MeasuredFacts
from stages.store.errors import CutShortError, StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    from stages.formats.external_sort import Records


NUM_REQUESTS = 256
"""Requests to the store at a time: 20 rows a second of 70 documents and pictures are 140 in 50 ms, which some stores
take for an answer."""
ROWS_TOGETHER = 8
"""Rows whose documents, then images, are asked for at once: neighbours among them share a request."""
NUM_GROUPS = 3
"""Groups of rows that are read at a time, so that some wait for images while others wait for documents. Twice as many
and one more are in memory."""


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
        """The content of each planned row, in order: the next rows are read ahead, `ROWS_TOGETHER` at a time.

        `rows` are the documents of each row, as `planned.bin` lists them. Raises `StoreError` where a document or a
        picture is missing or damaged, and where a clip is stored as packets that cannot be decoded; it is named.
        """
        pool, clips = ThreadPoolExecutor(NUM_REQUESTS), ThreadPoolExecutor(self._num_clips)
        try:
            groups = _groups(rows, ROWS_TOGETHER)
            for contents in ahead(lambda group: self._read_group(group, pool, clips), groups, NUM_GROUPS):
                yield from contents
        finally:
            for one in (pool, clips):
                one.shutdown(wait=False, cancel_futures=True)

    @property
    def _num_clips(self) -> int:
        """Clips that are read or decoded at a time: a decoder takes memory, and a folder answers at once."""
        return 1 if self.store.folder else NUM_READ_AHEAD

    def _read_group(self, rows: Sequence[Records], pool: Executor, clips: Executor) -> list[RowContent]:
        """The contents of some rows: all their documents are asked for at once, then all their images."""
        planned: list[list[tuple[int, ...]]] = [row.tolist() for row in rows]
        records = RangesAhead(self._record, map(self._record_of, chain.from_iterable(planned)), pool)
        documents = [[self._document(records, line) for line in row] for row in planned]
        drawn = zip(chain.from_iterable(planned), chain.from_iterable(documents), strict=True)
        images = _ImagesAhead(self, drawn, pool, clips)
        return [self._content(*row, images) for row in zip(planned, documents, strict=True)]

    def _content(
        self, planned: Sequence[tuple[int, ...]], documents: list[MeasuredDocument], ahead_images: _ImagesAhead
    ) -> RowContent:
        """One row; `planned` are its documents in `planned.bin`."""
        facts: list[DocumentFacts] = []
        images: list[bytes] = []
        for (_, measured, _, _, repetition, piece), document in zip(planned, documents, strict=True):
            source = self.measured[measured].source
            facts.append(
                DocumentFacts(
                    sample_id=document.sample_id,
                    source=source,
                    repetition=repetition,
                    piece=piece,
                    num_tokens=len(document.token_ids),
                    num_pictures=len(document.images),
                )
            )
            images += ahead_images.next_of(source, document.images)
        return RowContent(number=planned[0][0], facts=facts, documents=documents, images=images)

    def _record_of(self, planned: tuple[int, ...]) -> FileRange:
        """Where the record of a planned document lies."""
        _, measured, offset, size_bytes, _, _ = planned
        return FileRange(self.measured[measured].records_key, offset, size_bytes)

    def _record(self, key: str, offset: int, size_bytes: int) -> bytes:
        """Records of documents. Raises `StoreError` where they are missing."""
        try:
            return self.store.read_range(key, offset, size_bytes)
        except (CutShortError, FileNotFoundError) as error:
            raise damaged(key, f"cannot be read ({error})") from error

    def _document(self, records: RangesAhead, planned: tuple[int, ...]) -> MeasuredDocument:
        """A measured document. Raises `StoreError` where it is not as it was measured."""
        place = self._record_of(planned)
        data = records.bytes_of(place)
        try:
            return from_record(data)
        except ValueError as error:
            raise damaged(place.file, f"is damaged at byte {place.offset} ({error})") from error

    def frames_of(self, source: str, frames: Sequence[StoredImage]) -> list[bytes]:
        """Consecutive frames of a document, encoded. Raises `StoreError` where packets cannot be decoded."""
        try:
            return self.frames[source].images_of(frames)
        except UndecodableClipError as error:
            raise StoreError(
                f"{error}. Before these rows were planned, each of its frames could be decoded: this machine may "
                "have too little memory or another decoder. Where a second try fails too, cut the clips with "
                "store='frames'"
            ) from error

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


class _ImagesAhead:
    """The images of documents that follow one another, which are being read."""

    def __init__(
        self,
        inputs: RowInputs,
        documents: Iterable[tuple[tuple[int, ...], MeasuredDocument]],
        pool: Executor,
        clips: Executor,
    ) -> None:
        ranges: dict[str, list[FileRange]] = defaultdict(list)
        runs: list[tuple[str, list[StoredImage]]] = []
        for (_, measured, *_), document in documents:
            source = inputs.measured[measured].source
            ranges[source] += [image.range for image in document.images if not image.is_frame]
            runs += [(source, run) for is_frame, run in _runs(document.images) if is_frame]
        self._readers = inputs.pictures
        self._pictures = {
            source: RangesAhead(self._readers[source].read, ones, pool) for source, ones in ranges.items() if ones
        }
        self._frames = iter([clips.submit(inputs.frames_of, *run) for run in runs])

    def next_of(self, source: str, stored: Sequence[StoredImage]) -> Iterator[bytes]:
        """The pictures and frames of the next document, encoded. Raises `StoreError`."""
        for is_frame, run in _runs(stored):
            if is_frame:
                yield from next(self._frames).result()
            else:
                pictures, reader = self._pictures[source], self._readers[source]
                yield from (reader.checked(image, pictures.bytes_of(image.range)) for image in run)


def _runs(images: Sequence[StoredImage]) -> Iterator[tuple[bool, list[StoredImage]]]:
    """Images of a document, pictures and frames parted: the frames of a clip are read together."""
    return ((is_frame, list(run)) for is_frame, run in groupby(images, key=lambda image: image.is_frame))


def _groups(rows: Iterable[Records], size: int) -> Iterator[list[Records]]:
    waiting = iter(rows)
    while group := list(islice(waiting, size)):
        yield group
