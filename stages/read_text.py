"""Reads a text-only corpus: cleans each document and judges it.

Reads  a table        Parquet with `id` and `text`, from the recipe's origin
Makes  TextDocuments  parts: documents.parquet, a row for each document, its text cleaned
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from pydantic import Field

from stages.artifacts.kinds import DOCUMENTS_FILE, TextDocuments
from stages.contract import Part, PartDraft, Recipe, StageContext, stage
from stages.formats.sample_table import (
    ItemReason,
    Verdict,
    balance_of,
    sample_id_type,
    text_column,
    verdict_columns,
    write_table,
)
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.origin import read_document_table, source_name
from stages.origins.slices import Fields, RowSlice, sample_id, slice_rows
from stages.toy_world.world import ToyWorld

if TYPE_CHECKING:
    import pyarrow as pa


class ReadTextRecipe(Recipe):
    """Which corpus is read, and how long a document may be."""

    origin: ToyWorld
    """Where the corpus comes from."""
    num_documents_per_part: int = Field(default=5000, ge=1, le=1_000_000)
    """Rows of the corpus in one part."""
    max_document_chars: int = Field(default=1_000_000, ge=1)
    """Longest cleaned document, in characters."""


class TextReason(ItemReason):
    """Why a document was not kept: a closed list."""

    REPEATED_ROW = "repeated_row"
    """An earlier row holds the same id and text."""
    ENCODING = "encoding"
    """Not valid UTF-8."""
    EMPTY = "empty"
    """It has no visible character."""
    TOO_LONG = "too_long"
    """The cleaned text has more than `max_document_chars` characters."""
    SCHEMA = "schema", Verdict.FAILED
    """Id or text is null."""


def read_document(fields: Fields, recipe: ReadTextRecipe, *, is_repeat: bool) -> tuple[str | None, TextReason | None]:
    """The cleaned text of a document and the reason why it is not kept; None for each that there is not.

    `fields` are id and text as bytes. A text that is invalid or too long is left out.
    """
    name, text = fields
    if name is None or text is None:
        return None, TextReason.SCHEMA
    try:
        cleaned = clean_text(text)
    except TextEncodingError:
        return None, TextReason.ENCODING
    if not cleaned:
        return cleaned, TextReason.EMPTY
    if len(cleaned) > recipe.max_document_chars:
        return None, TextReason.TOO_LONG
    return cleaned, TextReason.REPEATED_ROW if is_repeat else None


def read_documents(table: pa.Table, repeats: Mapping[int, int], recipe: ReadTextRecipe) -> pa.Table:
    """The document table of one slice of the corpus; `repeats` maps its repeated rows to ordinals (1, 2, ...)."""
    import pyarrow as pa

    source = source_name("documents", "train")
    rows = list(document_fields(table))
    read = [read_document(fields, recipe, is_repeat=row in repeats) for row, fields in enumerate(rows)]
    ids = [sample_id(source, fields, repeats.get(row, 0)) for row, fields in enumerate(rows)]
    return pa.table(
        {
            "sample_id": pa.array(ids, sample_id_type()),
            "text": pa.array([text for text, _ in read], pa.string()),
            **verdict_columns([reason for _, reason in read]),
        }
    )


def document_fields(table: pa.Table) -> Iterator[Fields]:
    """Id and text of each row, from which its sample id is computed. Raises `StageError` where they are no text."""
    return zip(*(text_column(table, name, "corpus") for name in ("id", "text")), strict=True)


def read_part(part: Part, draft: PartDraft, recipe: ReadTextRecipe) -> None:
    """Read one slice of the corpus into `documents.parquet`."""
    rows = RowSlice.of(part)
    table = read_document_table(recipe.origin, rows.start, rows.stop)
    documents = read_documents(table, rows.repeats, recipe)
    write_table(documents, draft.path(DOCUMENTS_FILE))
    draft.count(balance_of(documents))


@stage(number=1, recipe=ReadTextRecipe, makes=TextDocuments)
def read_text(recipe: ReadTextRecipe, *, ctx: StageContext) -> None:
    """Read the corpus in parts of consecutive rows."""
    parts = slice_rows(document_fields(read_document_table(recipe.origin)), recipe.num_documents_per_part)
    ctx.spread(partial(read_part, recipe=recipe), over=parts, phase="read")
