"""The rows of a URL table, judged as far as a row alone allows: some are not even asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stages.contract import StageError
from stages.download.address import WebAddress, parse_address
from stages.download.reasons import Reason, RowError
from stages.formats.sample_table import text_column
from stages.origins.clean_text import TextEncodingError, clean_text
from stages.origins.slices import Fields, sample_id

if TYPE_CHECKING:
    import pyarrow as pa

NAMING_COLUMNS = ("url", "caption")


@dataclass(frozen=True, slots=True)
class UrlRow:
    """One row."""

    sample_id: bytes
    url: str | None
    """As the table has it; None where it is null or not even text."""
    caption: str | None
    """Cleaned; None where it is null or not even text."""
    address: WebAddress | None
    """What to ask for, or None."""
    refusal: Reason | None
    """Why it is not asked for, or None."""


def url_fields(table: pa.Table) -> Iterator[Fields]:
    """URL and caption of each row: what its sample id is made of. Raises `StageError` where they are no text."""
    return zip(*(text_column(table, name, "URL table") for name in NAMING_COLUMNS), strict=True)


def read_url_rows(table: pa.Table, source: str, ordinals: Mapping[int, int]) -> list[UrlRow]:
    """The rows of one slice of a URL table; `ordinals` names its repeats by their row in the slice."""
    return [
        _read_row(sample_id(source, fields, ordinals.get(number, 0)), *fields, is_repeat=number in ordinals)
        for number, fields in enumerate(url_fields(table))
    ]


def carried_columns(table: pa.Table, taken: Sequence[str]) -> pa.Table:
    """The further columns of a URL table. Raises `StageError` where one has a name that sample tables use."""
    carried = [name for name in table.column_names if name not in NAMING_COLUMNS]
    if clashing := sorted(set(carried) & set(taken)):
        raise StageError(f"the URL table has columns {clashing}, which sample tables use themselves; rename them")
    return table.select(carried)


def _read_row(name: bytes, url: bytes | None, caption: bytes | None, *, is_repeat: bool) -> UrlRow:
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
    return UrlRow(name, url_text, caption_text, address, refusal)
