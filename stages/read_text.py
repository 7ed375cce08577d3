"""Reads a text-only corpus: cleans each document, judges it, and cuts long ones.

Reads  a source       texts in any form (stages/origins/tables/): a column of a table, lines, or a document a file
Makes  TextDocuments  parts: documents.parquet, a row for each document, or for each piece of one that was cut, its text
                      cleaned; before them, the table as it was read (stages/origins/row_parts.py)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Final, Literal

from pydantic import Field

from stages.artifacts.kinds import DOCUMENTS_FILE, TextDocuments
from stages.contract import Part, PartDraft, PinnedSource, StageContext, conduct, stage
from stages.formats.losses import MAX_SHARE_LOST, check_losses, examples_of
from stages.formats.sample_table import (
    ItemReason,
    Verdict,
    balance_of,
    sample_id_type,
    verdict_columns,
    write_table,
)
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.pieces import table_files
from stages.origins.row_files import WantedRows, naming_values
from stages.origins.row_parts import ROW_PHASES, PartRowReader, PartRows, tabulate
from stages.origins.sample_id import Fields, sample_id
from stages.origins.table_recipe import TableRecipe
from stages.origins.tables.formats import format_of
from stages.origins.tables.row_batches import MALFORMED

if TYPE_CHECKING:
    import pyarrow as pa

NAMING_COLUMNS = ("id", "text")
"""Columns that the sample id of a document is hashed from; a corpus need not have the first."""
BREAKS: Final = (
    re.compile(r"\n[^\S\n]*\n\s*"),  # between paragraphs
    re.compile(r"\n\s*"),  # between lines
    re.compile(r"[.!?\u2026][\"'\u201d\u2019)\]]*\s+|[\u3002\uff01\uff1f]"),  # behind a sentence
    re.compile(r"\s+"),  # between words
)
"""Places at which a long document is cut, best first."""


class ReadTextRecipe(TableRecipe):
    """Which corpus is read, and how long a document may be."""

    txt_documents: Literal["auto", "line", "file"] = "auto"
    """Whether each line of a text file is a document, or the whole file; `auto` takes lines where the source is one
    text file, and whole files where it has several."""
    num_documents_per_part: int = Field(default=5000, ge=1, le=1_000_000)
    """Rows of the corpus in one part."""
    max_document_chars: int = Field(default=1_000_000, ge=1)
    """Longest cleaned document, in characters; with `long_documents="cut"`, longest piece."""
    long_documents: Literal["drop", "cut"] = "cut"
    """Whether a longer document is dropped, or cut into pieces: at the last end of a paragraph in the second half of a
    piece, else of a line, of a sentence, of a word, else behind `max_document_chars` characters."""
    max_share_lost: float = conduct(MAX_SHARE_LOST, ge=0, le=1)
    """Share of the documents that may be lost for one reason before the step fails; 1 takes anything."""

    def wanted(self, pinned: PinnedSource) -> WantedRows:
        """What is wanted of the files of the source."""
        num_texts = sum(format_of(file.path).kind == "txt" for file in table_files(pinned))
        automatic: Literal["line", "file"] = "line" if num_texts == 1 else "file"
        txt_rows = automatic if self.txt_documents == "auto" else self.txt_documents
        return WantedRows(
            num_rows_per_part=self.num_documents_per_part,
            text=NAMING_COLUMNS,
            optional=("id",),
            naming=NAMING_COLUMNS,
            mapping=self.columns,
            options=replace(self.table_options, txt_rows=txt_rows),
            carry=False,
        )


class TextReason(ItemReason):
    """Why a document was not kept: a closed list."""

    REPEATED_ROW = "repeated_row"
    """An earlier row holds the same id and text."""
    ENCODING = "encoding"
    """Not valid UTF-8."""
    EMPTY = "empty"
    """It has no visible character."""
    TOO_LONG = "too_long"
    """The cleaned text has more than `max_document_chars` characters, and the recipe drops long documents."""
    MALFORMED_ROW = "malformed_row", Verdict.FAILED
    """The row cannot be read from its file; the column `malformed_row` says why, and how it begins."""
    SCHEMA = "schema", Verdict.FAILED
    """The text is null."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A document, or a piece of one."""

    text: str | None
    """The cleaned text; None where it is invalid or too long."""
    reason: TextReason | None = None
    """Why it is not kept; None if it is."""


def read_document(text: bytes | None, recipe: ReadTextRecipe, *, is_repeat: bool) -> list[Piece]:
    """The pieces of a document, one for most; a document that is not kept is one piece with a reason."""
    if text is None:
        return [Piece(None, TextReason.SCHEMA)]
    try:
        cleaned = clean_text(text)
    except TextEncodingError:
        return [Piece(None, TextReason.ENCODING)]
    if not cleaned:
        return [Piece(cleaned, TextReason.EMPTY)]
    is_long = len(cleaned) > recipe.max_document_chars
    if is_long and recipe.long_documents == "drop":
        return [Piece(None, TextReason.TOO_LONG)]
    if is_repeat:
        return [Piece(None if is_long else cleaned, TextReason.REPEATED_ROW)]
    return [Piece(piece) for piece in cut_text(cleaned, recipe.max_document_chars)]


def cut_text(text: str, max_chars: int) -> Iterator[str]:
    """Pieces of at most `max_chars` characters, without the white space at the cuts; linear in the text.

    Each cut is at the best of `BREAKS` that the second half of the piece has, and there at the last one.
    """
    start = 0
    while len(text) - start > max_chars:
        end = _cut_place(text, start, max_chars)
        if piece := text[start:end].strip():
            yield piece
        start = end
    if piece := text[start:].strip():
        yield piece


def _cut_place(text: str, start: int, max_chars: int) -> int:
    """Where the piece that begins at `start` ends."""
    until = start + max_chars
    for place in BREAKS:
        # One character more is looked at, because white space at the cut is no part of the piece.
        ends = [match.end() for match in place.finditer(text, start + max_chars // 2, until + 1)]
        fitting = [end for end in ends if start < end and len(text[start:end].rstrip()) <= max_chars]
        if fitting:
            return fitting[-1]
    return until


def read_documents(rows: PartRows, recipe: ReadTextRecipe) -> pa.Table:
    """The document table of one part of the corpus: `row` is the number in the whole corpus, `piece` counts from 0.

    The first piece has the sample id of the document; the id of another is hashed from its number as well.
    """
    import pyarrow as pa

    errors = rows.table[MALFORMED].to_pylist()
    fields = list(zip(*(naming_values(rows.table, name) for name in NAMING_COLUMNS), strict=True))
    ids, pieces, numbers = [], [], []
    for row, (named, error) in enumerate(zip(fields, errors, strict=True)):
        is_repeat = row in rows.ordinals
        read = read_document(named[1], recipe, is_repeat=is_repeat)
        read = read if error is None else [Piece(None, TextReason.MALFORMED_ROW)]
        for number, piece in enumerate(read):
            ids.append(_piece_id(recipe.source.name, named, rows.ordinals.get(row, 0), number))
            pieces.append(piece)
            numbers.append((rows.first_row + row, number, error))
    return pa.table(
        {
            "sample_id": pa.array(ids, sample_id_type()),
            "text": pa.array([piece.text for piece in pieces], pa.string()),
            "row": pa.array([row for row, _, _ in numbers], pa.int64()),
            "piece": pa.array([piece for _, piece, _ in numbers], pa.int32()),
            MALFORMED: pa.array([error for _, _, error in numbers], pa.string()),
            **verdict_columns([piece.reason for piece in pieces]),
        }
    )


def _piece_id(source: str, fields: Sequence[bytes | None], ordinal: int, piece: int) -> bytes:
    named: Fields = fields if not piece else [*fields, b"piece %d" % piece]
    return sample_id(source, named, ordinal)


def read_part(part: Part, draft: PartDraft, reader: PartRowReader, recipe: ReadTextRecipe) -> None:
    """Read one part of the corpus into `documents.parquet`."""
    rows = reader.read(part)
    documents = read_documents(rows, recipe)
    write_table(documents, draft.path(DOCUMENTS_FILE))
    draft.count(balance_of(documents))
    draft.fact(num_documents=rows.table.num_rows, **examples_of(documents, ["text", MALFORMED], rows.first_row))


@stage(number=2, recipe=ReadTextRecipe, makes=TextDocuments, phases=(*ROW_PHASES, "read"))
def read_text(recipe: ReadTextRecipe, *, ctx: StageContext) -> None:
    """Read the corpus in parts of consecutive rows."""
    pinned = ctx.pinned(recipe.source)
    rows = tabulate(ctx, pinned, recipe.wanted(pinned))
    # A document that is cut becomes several items, so their number is known beforehand only where none is.
    over = [Part(name=one.name, task=one.task) if recipe.long_documents == "cut" else one for one in rows.parts]
    records = ctx.spread(partial(read_part, reader=rows.reader, recipe=recipe), over=over, phase="read")
    check_losses(records, recipe.max_share_lost, items="documents")
