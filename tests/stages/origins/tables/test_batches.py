"""Tables come in many forms, and each gives the same rows."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.contract import StageError
from stages.origins.tables.batches import is_json_text, plain_values, read_batches, read_rows, read_schema
from stages.origins.tables.formats import TableOptions, format_of
from stages.origins.tables.row_batches import BATCH_ROWS, MALFORMED

ROWS = [{"url": f"http://a.test/{number}", "TEXT": 'a "red", apple\nand a leaf'} for number in range(3)]


def parquet(table: pa.Table, **settings: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **settings)
    return sink.getvalue()


def quoted(separator: str) -> bytes:
    quoted = [
        [json.dumps(value)[1:-1].replace('\\"', '""').replace("\\n", "\n") for value in row.values()] for row in ROWS
    ]
    lines = [separator.join(ROWS[0]), *(separator.join(f'"{value}"' for value in row) for row in quoted)]
    return "\n".join(lines).encode() + b"\n"


FORMS = {
    "parquet": parquet(pa.Table.from_pylist(ROWS)),
    "csv": quoted(","),
    "tsv": quoted("\t"),
    "jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "json": json.dumps(ROWS, indent=1).encode(),
}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda data: pa.compress(data, "zstd", asbytes=True),
    ".lz4": lambda data: packed(data, "lz4"),
}


def packed(data: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(data)
    return bytes(sink.getvalue())


def rows(data: bytes, path: str, **options: Any) -> list[dict[str, Any]]:
    return list(read_rows(io.BytesIO(data), format_of(path), TableOptions(**options), name=path))


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_rows(form: str, packing: str) -> None:
    data, path = PACKERS[packing](FORMS[form]), f"folder.v1/urls.{form}{packing}"
    assert rows(data, path) == ROWS
    assert read_schema(io.BytesIO(data), format_of(path)).names == ["url", "TEXT"]


@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "json"])
def test_windows_line_ends_and_byte_order_marks_change_nothing(form: str) -> None:
    text = FORMS[form].decode()
    outside = text.replace("\napple", "apple") if form in ("jsonl", "json") else text
    expected = ROWS if form in ("jsonl", "json") else [{k: v.replace("\n", "\r\n") for k, v in r.items()} for r in ROWS]
    windows = outside.replace("\n", "\r\n")
    assert rows(b"\xef\xbb\xbf" + windows.encode(), f"a.{form}") == expected
    assert rows(windows.encode("utf-16"), f"a.{form}") == expected


def test_lines_of_a_text_file_are_rows() -> None:
    assert rows(b"http://a\r\n\r\nhttp://b", "urls.txt") == [{"line": "http://a"}, {"line": "http://b"}]
    assert rows(b"one\rtwo\r", "old.txt") == [{"line": "one"}, {"line": "two"}]
    assert rows(b"one\n\ntwo\n", "book.txt", txt_rows="file") == [{"line": "one\n\ntwo\n"}]


def test_values_of_csv_are_text_whatever_they_look_like() -> None:
    (batch,) = read_batches(io.BytesIO(b"id,score,day\n007,1e5,2020-01-01\n,,\n"), format_of("a.csv"))
    assert batch.to_pylist()[0] == {"id": "007", "score": "1e5", "day": "2020-01-01", MALFORMED: None}
    assert set(batch.schema.types) == {pa.string()}


def test_text_that_is_no_utf8_stays_as_bytes() -> None:
    assert rows(b"a,b\nespa\xf1ol,x\n", "a.csv") == [{"a": b"espa\xf1ol", "b": "x"}]
    assert rows(b'{"a": "espa\xf1ol"}\n{"a": "\\ud83d\\ude00"}', "a.jsonl") == [{"a": b"espa\xf1ol"}, {"a": "😀"}]
    assert rows(b"espa\xf1ol", "a.txt") == [{"line": b"espa\xf1ol"}]


@pytest.mark.parametrize(
    ("path", "data", "why"),
    [
        ("a.csv", b"a,b\n1,2\n1,2,3\n4,5\n", "line 3: 3 fields, the header has 2: 1,2,3"),
        ("a.tsv", b"a\tb\n1\t2\n1\n4\t5\n", "line 3: 1 fields, the header has 2: 1"),
        ("a.jsonl", b'{"a":"1","b":"2"}\n{"a":\n{"a":"4","b":"5"}\n', "line 2: no JSON"),
        ("a.jsonl", b'{"a":"1","b":"2"}\n[1]\n{"a":"4","b":"5"}\n', "line 2: not a JSON object: [1]"),
        ("a.json", b'[{"a":"1","b":"2"}, 7, {"a":"4","b":"5"}]', "item 1: not a JSON object: 7"),
    ],
)
def test_a_row_that_cannot_be_read_is_a_row_with_a_reason(path: str, data: bytes, why: str) -> None:
    first, bad, last = rows(data, path)
    assert (first, last) == ({"a": "1", "b": "2"}, {"a": "4", "b": "5"})
    assert list(bad) == [MALFORMED]
    assert bad[MALFORMED].startswith(why)


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        ("a.csv", b'a,b\n1,2\n3,"never closed\n5,6\n', "a.csv: line 3 opens a quoted field"),
        ("a.parquet", b"PAR1 and nothing", "a.parquet is no Parquet file"),
        ("a.csv.gz", gzip.compress(b"a,b\n" + b"1,2\n" * 5000, mtime=0)[:-20], "a.csv.gz cannot be read to its end"),
        ("a.jsonl.zst", b"no zstd at all", "a.jsonl.zst cannot be read"),
        ("a.csv.zst", PACKERS[".zst"](bytes(range(256)) * 500)[:-20], "a.csv.zst cannot be read"),
        ("a.csv.bz2", b"no bz2 at all", "a.csv.bz2 cannot be read"),
        ("a.csv.xz", b"no xz at all", "a.csv.xz cannot be read"),
        ("a.csv.lz4", b"no lz4 at all", "a.csv.lz4 cannot be read"),
        ("a.csv.gz", b"no gzip at all", "a.csv.gz cannot be read"),
        ("a.json", b'[{"a": 1}, {"a": ', "a.json is no JSON"),
        ("a.json", b'{"a": 1}', "a.json holds one object and no list"),
        ("a.json", b'{"a": [{}], "b": [{}]}', "several lists"),
        ("a.json", b'"text"', "must hold a list"),
    ],
    ids=range(13),
)
def test_a_file_that_cannot_be_read_is_named(path: str, data: bytes, message: str) -> None:
    with pytest.raises(StageError, match=message):
        rows(data, path)


@pytest.mark.parametrize("packing", PACKERS)
def test_compressed_files_may_be_several_laid_end_to_end(packing: str) -> None:
    first, second = (PACKERS[packing](data) for data in (b"a,b\n1,2\n", b"3,4\n"))
    assert rows(first + second, f"a.csv{packing}") == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]


def test_quotes_may_be_ordinary_characters() -> None:
    assert rows(b'a\tb\n"5 inch\tx\n', "a.tsv", quotes=False) == [{"a": '"5 inch', "b": "x"}]
    assert rows(b'a,b\n5" pipe,a "b" c\n', "a.csv") == [{"a": '5" pipe', "b": 'a "b" c'}]


def test_a_file_without_a_header_takes_the_one_of_the_recipe() -> None:
    assert rows(b"a cat\thttp://a\n", "a.tsv", header=("caption", "url")) == [{"caption": "a cat", "url": "http://a"}]


@pytest.mark.parametrize("path", ["a.csv", "a.tsv", "a.jsonl", "a.json", "a.txt", "a.csv.gz"])
def test_an_empty_file_has_no_rows(path: str) -> None:
    data = gzip.compress(b"", mtime=0) if path.endswith("gz") else b""
    assert rows(data, path) == []
    assert read_schema(io.BytesIO(data), format_of(path)).names in ([], ["line"])


def test_json_under_other_names_is_told_by_its_beginning() -> None:
    assert rows(b' {"a": "1"}\n{"a": "2"}\n', "a.json") == [{"a": "1"}, {"a": "2"}]
    assert rows(b'{"version": "1", "data": [{"a": "1"}, {"a": "2"}]}', "a.json") == [{"a": "1"}, {"a": "2"}]
    assert rows(b'{"info": {"tags": [1]},\n "data": [\n{"a": {"b": [1, 2.5]}}]}', "a.json") == [{"a": {"b": [1, 2.5]}}]


def test_values_of_json_keep_their_types() -> None:
    values = [{"id": 7, "image": "a.jpg"}, {"id": "x", "image": ["a.jpg", "b.jpg"]}, {"image": None}]
    data = "\n".join(map(json.dumps, values)).encode()
    (batch,) = read_batches(io.BytesIO(data), format_of("a.jsonl"))
    assert [is_json_text(field) for field in batch.schema] == [True, True, False]
    assert plain_values(batch.column(1), batch.schema.field(1)) == ["a.jpg", ["a.jpg", "b.jpg"], None]
    assert rows(data, "a.jsonl") == [values[0], values[1], {"id": None, "image": None}]


def test_a_long_table_comes_in_batches() -> None:
    data = b"a,b\n" + b"1,2\n" * (BATCH_ROWS + 5)
    assert [batch.num_rows for batch in read_batches(io.BytesIO(data), format_of("a.csv"))] == [BATCH_ROWS, 5]
    big = pa.table({"a": ["x" * 1_000_000] * 100})
    sizes = [
        batch.num_rows for batch in read_batches(io.BytesIO(parquet(big, use_dictionary=False)), format_of("a.parquet"))
    ]
    assert sum(sizes) == 100 and max(sizes) < 50


def test_dictionaries_of_parquet_become_their_values() -> None:
    table = pa.table({"a": pa.array(["x", "y", "x"]).dictionary_encode(), "b": pa.array([b"1"] * 3, pa.binary_view())})
    (batch,) = read_batches(io.BytesIO(parquet(table)), format_of("a.parquet"))
    assert batch.schema.types[:2] == [pa.string(), pa.large_binary()]
