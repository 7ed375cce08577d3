"""Some rows of a URL table are refused before the web is asked, and every row keeps an id."""

import pyarrow as pa
import pytest

from stages.contract import StageError
from stages.download.reasons import Reason
from stages.download.url_rows import carried_columns, read_url_rows, url_fields

ROWS = [
    (Reason.SCHEMA, None, b"a caption"),
    (Reason.SCHEMA, b"http://bad.invalid/a", None),
    (Reason.CAPTION_ENCODING, b"http://bad.invalid/a", b"caf\xe9"),
    (Reason.URL_MALFORMED, b"http://bad.invalid/\xff", b"a caption"),
    (Reason.URL_SCHEME, b"file:///etc/passwd", b"a caption"),
    (Reason.REPEATED_ROW, b"http://bad.invalid/b", b"a caption"),
    (None, b"http://bad.invalid/b", b"another caption"),
]


def test_some_rows_are_not_even_asked_for() -> None:
    columns = {"url": [row[1] for row in ROWS], "caption": [row[2] for row in ROWS]}
    table = pa.table({name: pa.array(texts, pa.binary()).view(pa.string()) for name, texts in columns.items()})
    rows = read_url_rows(table, "a source", {5: 1})
    assert [row.refusal for row in rows] == [row[0] for row in ROWS]
    assert len({row.sample_id for row in rows}) == len(ROWS)
    assert [row.address is None for row in rows] == [row[0] is not None for row in ROWS]


def test_a_row_that_is_asked_for_has_its_normalised_address_and_cleaned_caption() -> None:
    table = pa.table({"url": ["http://Example.org/a b"], "caption": ["  a caption\r\n"]})
    (row,) = read_url_rows(table, "a source", {})
    assert (row.url, row.caption) == ("http://Example.org/a b", "a caption")
    assert row.address.url == "http://example.org/a%20b"


def test_further_columns_are_carried_unless_sample_tables_use_their_names() -> None:
    table = pa.table({"url": ["u"], "caption": ["c"], "score": [1.0], "key": ["k"]})
    assert carried_columns(table, ["sample_id"]).column_names == ["score", "key"]
    with pytest.raises(StageError, match=r"columns \['key'\]"):
        carried_columns(table, ["sample_id", "key"])


def test_a_table_without_captions_is_refused() -> None:
    with pytest.raises(StageError, match="column 'caption' of the URL table is missing"):
        list(url_fields(pa.table({"url": ["u"]})))
