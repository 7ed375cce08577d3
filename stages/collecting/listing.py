"""Lists the pictures that a table of conversations refers to, each name once in a part.

    references_NN.parquet   a row for each name: `name`, `part` of the table that has it, `position` among its
                            references, and `held`, whether the table holds the picture itself

Rows that cannot be read, and values that are no picture, are left to the stage that reads the conversations.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from stages.collecting.slots import write_slots
from stages.contract import Part, PartDraft, PartFacts, PartTask
from stages.conversations.image_references import ImageReference, ImageReferenceError
from stages.conversations.records import records_of
from stages.conversations.videos.references import pictures_of
from stages.origins.files import open_file
from stages.origins.pieces import FilePiece, piece_batches
from stages.origins.tables.formats import TableOptions
from stages.origins.tables.row_batches import MALFORMED

if TYPE_CHECKING:
    import pyarrow as pa

REFERENCES: Final = "references"
"""Files of the names that a part of the table refers to."""


class TablePieces(PartTask):
    """The task of a part that reads a table: files, or one piece of a file."""

    number: int
    pieces: list[FilePiece]


class ListedFacts(PartFacts):
    """What such a part records."""

    num_names: int
    """Different names that its rows refer to."""
    num_unreadable: int
    """Rows that could not be read, or in which something else stands where a picture should."""


@dataclass(frozen=True, kw_only=True)
class TableReader:
    """Reads the references of a table that lies at `place`. Pickles."""

    place: str
    columns: Mapping[str, str]
    """Our names of columns to those of the table."""

    def references(self, pieces: Sequence[FilePiece]) -> Iterator[ImageReference | None]:
        """The references of some pieces, in order; None for a row that cannot be read."""
        for piece in pieces:
            with open_file(self.place, piece.file) as opened:
                for batch in piece_batches(opened, piece, TableOptions()):
                    yield from self._of_batch(batch)

    def _of_batch(self, batch: pa.RecordBatch) -> Iterator[ImageReference | None]:
        import pyarrow as pa

        ours = {theirs: name for name, theirs in self.columns.items()}
        fields = [field.with_name(ours.get(field.name, field.name)) for field in batch.schema]
        renamed = pa.RecordBatch.from_arrays(batch.columns, schema=pa.schema(fields))
        errors = renamed.column(MALFORMED).to_pylist()
        for error, record in zip(errors, records_of(renamed), strict=True):
            try:
                yield from [None] if error is not None or record is None else pictures_of(record)
            except (ImageReferenceError, RecursionError):
                yield None


def list_references(part: Part, draft: PartDraft, reader: TableReader) -> None:
    """List the names that one part of the table refers to."""
    import pyarrow as pa

    task = TablePieces.of(part)
    found: dict[str, tuple[int, bool]] = {}
    num_unreadable = 0
    for position, reference in enumerate(reader.references(task.pieces)):
        if reference is None or not _is_text(reference.name):
            num_unreadable += 1
        elif reference.name not in found:
            found[reference.name] = position, reference.data is not None
        draft.progress(position)
    table = pa.table(
        {
            "name": pa.array(list(found), pa.string()),
            "part": pa.array([task.number] * len(found), pa.int32()),
            "position": pa.array([position for position, _ in found.values()], pa.int64()),
            "held": pa.array([held for _, held in found.values()], pa.bool_()),
        }
    )
    write_slots(table, draft, REFERENCES)
    draft.fact(**ListedFacts(num_names=len(found), num_unreadable=num_unreadable).dump())


def _is_text(name: str) -> bool:
    """Whether a name can be stored: JSON may spell halves of characters, such as `\\ud800`."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
