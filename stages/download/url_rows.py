"""The rows of a URL table: who they are, and which of them are not even asked for.

A sample id is the first 16 bytes of sha256 over source name, URL and caption, so a row is called the same in every
run; where the same row comes again, the repeat takes an ordinal.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from stages.clean_text import TextEncodingError, clean_text
from stages.contract import StageError
from stages.download.address import WebAddress, parse_address
from stages.download.reasons import Reason, RowError
from stages.tables import SAMPLE_ID_BYTES

if TYPE_CHECKING:
    import pyarrow as pa

TEXT_COLUMNS = ("url", "caption")


@dataclass(frozen=True, slots=True)
class UrlRow:
    """One row, judged as far as the row alone allows."""

    sample_id: bytes
    url: str | None
    """As the table has it; None where it is null or not even text."""
    caption: str | None
    """Cleaned; None where it is null or not even text."""
    address: WebAddress | None
    """What to ask for, or None."""
    refusal: Reason | None
    """Why it is not asked for, or None."""


def sample_id(source: str, url: bytes | None, caption: bytes | None, ordinal: int = 0) -> bytes:
    """The name of a row: 16 bytes. Fields are hashed with their lengths, so no two rows spell the same."""
    fields = [source.encode(), url, caption, *([str(ordinal).encode()] if ordinal else [])]
    spelled = b"".join(b"-" if field is None else b"%d:%b" % (len(field), field) for field in fields)
    return hashlib.sha256(spelled).digest()[:SAMPLE_ID_BYTES]


def find_repeats(slices: Iterable[pa.Table]) -> dict[int, int]:
    """Row number to ordinal (1, 2, ...) of every row whose URL and caption stand earlier in the table."""
    import numpy as np

    names = [sample_id("", *texts) for table in slices for texts in _texts(table)]
    ids = np.array(names, dtype=f"S{SAMPLE_ID_BYTES}")
    order = np.argsort(ids, kind="stable")
    repeats: dict[int, int] = {}
    for before, row in pairwise(order):
        if ids[before] == ids[row]:
            repeats[int(row)] = repeats.get(int(before), 0) + 1
    return repeats


def read_rows(table: pa.Table, source: str, ordinals: Mapping[int, int]) -> list[UrlRow]:
    """The rows of one slice of a URL table; `ordinals` names its repeats by their row in the slice."""
    return [
        _read_row(sample_id(source, url, caption, ordinals.get(number, 0)), url, caption, number in ordinals)
        for number, (url, caption) in enumerate(_texts(table))
    ]


def carried_columns(table: pa.Table, taken: Sequence[str]) -> pa.Table:
    """The further columns of a URL table. Raises `StageError` where one has a name that sample tables use."""
    carried = [name for name in table.column_names if name not in TEXT_COLUMNS]
    if clashing := sorted(set(carried) & set(taken)):
        raise StageError(f"the URL table has columns {clashing}, which sample tables use themselves; rename them")
    return table.select(carried)


def _read_row(name: bytes, url: bytes | None, caption: bytes | None, is_repeat: bool) -> UrlRow:
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


def _texts(table: pa.Table) -> Iterable[tuple[bytes | None, bytes | None]]:
    """URL and caption of each row as bytes: Parquet text need not be UTF-8, and Arrow does not look."""
    import pyarrow as pa

    columns: list[list[Any]] = []
    for name in TEXT_COLUMNS:
        if name not in table.column_names or not _is_text(table[name].type):
            found = table[name].type if name in table.column_names else "missing"
            raise StageError(f"column {name!r} of the URL table is {found}; it must be text")
        columns.append(table[name].cast(pa.large_binary()).to_pylist())
    return zip(*columns, strict=True)


def _is_text(kind: pa.DataType) -> bool:
    from pyarrow import types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind))
