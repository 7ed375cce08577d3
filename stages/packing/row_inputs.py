"""What rows are made of: measured documents and the encoded pictures, read from wherever they lie.

Opened once where the stage is carried out, and small: it travels to every worker, which makes many parts with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stages.artifacts.kinds import DOCUMENT_RECORDS_FILE, MEASURED_FILE
from stages.artifacts.records import PartRecord
from stages.formats.pairs import ImageReader
from stages.formats.phase_files import damaged, read_file
from stages.formats.read_ahead import read_ahead
from stages.formats.row_format import DocumentFacts
from stages.formats.sample_table import Verdict, read_table
from stages.formats.samples import Source
from stages.packing.document_records import MeasuredDocument, from_record
from stages.store.errors import CutShortError
from stages.store.store import Store

if TYPE_CHECKING:
    from stages.formats.external_sort import Records


@dataclass(frozen=True)
class RowContent:
    """A planned row with all that goes into it."""

    number: int
    facts: list[DocumentFacts]
    documents: list[MeasuredDocument]
    images: list[bytes]


@dataclass(frozen=True, slots=True)
class MeasuredPart:
    """What writing needs to know of a measured part."""

    source: str
    records_key: str
    """Of its `documents.bin`."""
    verdicts: PartRecord | None
    """Its record, where some of its drawings are unfit."""

    @classmethod
    def of(cls, record: PartRecord) -> MeasuredPart:
        has_unfit = record.items.kept < record.items.total
        return cls(record.facts["source"], record.file(DOCUMENT_RECORDS_FILE).key, record if has_unfit else None)


@dataclass(frozen=True)
class RowInputs:
    """Where documents and pictures are read from. Reading from several threads is fine."""

    store: Store
    measured: tuple[MeasuredPart, ...]
    """In the order of their phase, by which plans number them."""
    pictures: Mapping[str, ImageReader]
    """Source to what reads its pictures."""

    @classmethod
    def of(cls, store: Store, sources: Mapping[str, Source], measured: Sequence[PartRecord]) -> RowInputs:
        return cls(
            store=store,
            measured=tuple(map(MeasuredPart.of, measured)),
            pictures={name: source.pictures.images for name, source in sources.items() if source.pictures is not None},
        )

    def fetch_all(self, rows: Iterable[Records]) -> Iterator[RowContent]:
        """All that goes into each planned row, in order; from an object store some rows ahead."""
        return read_ahead(self.store, self._fetch, rows)

    def _fetch(self, planned: Records) -> RowContent:
        """Read everything that goes into one row."""
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
            images += map(self.pictures[part.source].image_of, document.images) if document.images else ()
        return RowContent(number=int(planned["row"][0]), facts=facts, documents=documents, images=images)

    def _document(self, key: str, offset: int, size_bytes: int) -> MeasuredDocument:
        """A measured document. Raises `StoreError` where it is not as it was measured."""
        try:
            return from_record(self.store.read_range(key, offset, size_bytes))
        except (CutShortError, FileNotFoundError) as error:
            raise damaged(key, f"cannot be read ({error})") from error
        except ValueError as error:
            raise damaged(key, f"is damaged at byte {offset} ({error})") from error

    def unfit(self, first: int, until: int) -> list[dict[str, Any]]:
        """The drawings of some measured parts that are in no row: sample id, source, repetition, reason."""
        columns = ["sample_id", "repetition", "verdict", "reason"]
        found = []
        for part in self.measured[first:until]:
            if part.verdicts is not None:
                table = read_table(read_file(self.store, part.verdicts, MEASURED_FILE), columns)
                rows = ({**row, "source": part.source} for row in table.to_pylist())
                found += [row for row in rows if row["verdict"] != Verdict.KEPT]
        return found
