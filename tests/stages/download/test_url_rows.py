"""Some rows of a URL table are refused before the web is asked, and every row keeps an id."""

import pyarrow as pa
import pytest

from stages.contract import StageError
from stages.download.reasons import Reason
from stages.download.url_rows import read_url_rows, url_fields
from stages.origins.row_parts import PartRows
from stages.origins.tables.row_batches import MALFORMED

ROWS = [
    (Reason.SCHEMA, None, b"a caption"),
    (Reason.SCHEMA, b"http://bad.invalid/a", None),
    (Reason.CAPTION_ENCODING, b"http://bad.invalid/a", b"caf\xe9"),
    (Reason.URL_MALFORMED, b"http://bad.invalid/\xff", b"a caption"),
    (Reason.URL_SCHEME, b"file:///etc/passwd", b"a caption"),
    (Reason.REPEATED_ROW, b"http://bad.invalid/b", b"a caption"),
    (None, b"http://bad.invalid/b", b"another caption"),
]


def part_rows(table: pa.Table, ordinals: dict[int, int] | None = None) -> PartRows:
    errors = pa.nulls(table.num_rows, pa.string())
    return PartRows(table.append_column(MALFORMED, errors), ordinals or {}, first_row=0)


def test_some_rows_are_not_even_asked_for() -> None:
    columns = {"url": [row[1] for row in ROWS], "caption": [row[2] for row in ROWS]}
    table = pa.table({name: pa.array(texts, pa.binary()).view(pa.string()) for name, texts in columns.items()})
    rows = read_url_rows(part_rows(table, {5: 1}), "a source")
    assert [row.refusal for row in rows] == [row[0] for row in ROWS]
    assert len({row.sample_id for row in rows}) == len(ROWS)
    assert [row.address is None for row in rows] == [row[0] is not None for row in ROWS]


def test_a_row_that_is_asked_for_has_its_normalised_address_and_cleaned_caption() -> None:
    table = pa.table({"url": ["http://Example.org/a b"], "caption": ["  a caption\r\n"]})
    (row,) = read_url_rows(part_rows(table), "a source")
    assert (row.url, row.caption) == ("http://Example.org/a b", "a caption")
    assert row.address.url == "http://example.org/a%20b"


def test_a_row_that_could_not_be_read_has_an_id_and_a_reason() -> None:
    columns = {"url": pa.nulls(2, pa.string()), "caption": pa.nulls(2, pa.string()), MALFORMED: ["line 7: cut", None]}
    first, second = read_url_rows(PartRows(pa.table(columns), {1: 1}, first_row=0), "a source")
    assert (first.refusal, second.refusal) == (Reason.MALFORMED_ROW, Reason.SCHEMA)
    assert first.sample_id != second.sample_id


def test_a_table_without_captions_is_refused() -> None:
    with pytest.raises(StageError, match="column 'caption' of the URL table is missing"):
        list(url_fields(pa.table({"url": ["u"]})))
