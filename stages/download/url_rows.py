"""Reads the rows of a URL table, and refuses those that can be judged without asking the web.

Owns the hashes by which a table says what a server is to send, too.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from stages.download.address import parse_address
from stages.download.reasons import Reason, RowError
from stages.formats.sample_table import text_column
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.sample_id import Fields, sample_id
from stages.origins.tables.row_batches import MALFORMED
from stages.origins.web_address import WebAddress

if TYPE_CHECKING:
    import pyarrow as pa

    from stages.origins.row_parts import PartRows

NAMING_COLUMNS = ("url", "caption")
EXPECTED_HASH: Final = "expected_hash"
"""Column that carries the hash of each picture as the table has it, where the recipe verifies hashes."""
HASHES: Final = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""Hex digits of a hash to its name."""


@dataclass(frozen=True, slots=True)
class ExpectedHash:
    """The hash that the bytes of a picture are to have as they are sent."""

    name: str
    """Name of the hash, such as `md5`."""
    digits: str
    """The hash in hex digits, in lower case."""

    @classmethod
    def parse(cls, text: bytes | None) -> ExpectedHash:
        """A hash as a table has it, told by the number of its digits. Raises `RowError` where it is none."""
        digits = (text or b"").strip().lower().decode(errors="replace")
        name = HASHES.get(len(digits))
        if name is None or not re.fullmatch("[0-9a-f]+", digits):
            raise RowError(Reason.HASH_UNREADABLE)
        return cls(name, digits)

    def is_of(self, body: bytes) -> bool:
        """Whether these bytes have the hash."""
        return hashlib.new(self.name, body, usedforsecurity=False).hexdigest() == self.digits


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
    expected: ExpectedHash | None = None
    """The hash that its picture is to have; None where nothing is said, or the row is refused."""


def url_fields(table: pa.Table) -> Iterator[Fields]:
    """URL and caption of each row, from which its sample id is hashed. Raises `StageError` where they are no text."""
    return zip(*(text_column(table, name, "URL table") for name in NAMING_COLUMNS), strict=True)


def read_url_rows(rows: PartRows, source: str, *, verifies: bool = False) -> list[UrlRow]:
    """The rows of one part of a URL table; `source` is the name that sample ids are hashed with.

    Where the recipe verifies hashes, the table has a column `expected_hash`; `verifies` says so.
    """
    errors = rows.table[MALFORMED].to_pylist()
    hashes = text_column(rows.table, EXPECTED_HASH, "URL table") if verifies else None
    read = []
    for number, (fields, error) in enumerate(zip(url_fields(rows.table), errors, strict=True)):
        row_id = sample_id(source, fields, rows.ordinals.get(number, 0))
        if error is None:
            row = _read_row(row_id, *fields, is_repeat=number in rows.ordinals)
            read.append(row if hashes is None else with_expected(row, hashes[number]))
        else:
            read.append(UrlRow(row_id, None, None, None, Reason.MALFORMED_ROW))
    return read


def with_expected(row: UrlRow, text: bytes | None) -> UrlRow:
    """The row with the hash that its table has for it; refused where that is none. A refused row stays as it is."""
    if row.refusal is not None:
        return row
    try:
        return replace(row, expected=ExpectedHash.parse(text))
    except RowError as error:
        return replace(row, address=None, refusal=error.reason)


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
