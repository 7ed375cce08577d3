"""Reads the rows of a URL table, and refuses those that can be judged without asking the web."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.download.address import WebAddress, parse_address
from stages.download.reasons import Reason, RowError
from stages.formats.sample_table import text_column
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.sample_id import Fields, sample_id
from stages.origins.tables.row_batches import MALFORMED

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.origins.row_parts import PartRows

NAMING_COLUMNS = ("url", "caption")


@dataclass(frozen=True, slots=True)
class UrlRow:
    """One row of a URL table."""

    sample_id: bytes
    url: str | None
    """The URL as the table has it; None where it is null or not UTF-8."""
    caption: str | None
    """The cleaned caption; None where it is null or not UTF-8."""
    address: WebAddress | None
    """The address to ask for; None if the row is refused."""
    refusal: Reason | None
    """Why the row is not asked for; None if it is."""


def url_fields(table: pa.Table) -> Iterator[Fields]:
    """URL and caption of each row, from which its sample id is hashed. Raises `StageError` where they are no text."""
    return zip(*(text_column(table, name, "URL table") for name in NAMING_COLUMNS), strict=True)


def read_url_rows(rows: PartRows, source: str) -> list[UrlRow]:
    """The rows of one part of a URL table; `source` is the name that sample ids are hashed with."""
    errors = rows.table[MALFORMED].to_pylist()
    read = []
    for number, (fields, error) in enumerate(zip(url_fields(rows.table), errors, strict=True)):
        row_id = sample_id(source, fields, rows.ordinals.get(number, 0))
        if error is None:
            read.append(_read_row(row_id, *fields, is_repeat=number in rows.ordinals))
        else:
            read.append(UrlRow(row_id, None, None, None, Reason.MALFORMED_ROW))
    return read


def _read_row(row_id: bytes, url: bytes | None, caption: bytes | None, *, is_repeat: bool) -> UrlRow:
    url_text, caption_text, address, refusal = None, None, None, None
    try:
        if url is None or caption is None:
            raise RowError(Reason.SCHEMA)
        caption_text = clean_text(caption)
        url_text = url.decode()
        if is_repeat:
            raise RowError(Reason.REPEATED_ROW)
        address = parse_address(url_text)
    except TextEncodingError:
        refusal = Reason.CAPTION_ENCODING
    except UnicodeDecodeError:
        refusal = Reason.URL_MALFORMED
    except RowError as error:
        refusal = error.reason
    return UrlRow(row_id, url_text, caption_text, address, refusal)
