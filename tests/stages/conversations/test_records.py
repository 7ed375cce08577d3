"""Rows become records, those that are no UTF-8 are told apart, and pictures travel as names."""

import hashlib
import io
import json
from typing import Any

import pyarrow as pa
import pytest

from stages.conversations.records import RECORD, compact_table, read_record, records_of, spell_record
from stages.origins.tables.batches import read_batches
from stages.origins.tables.formats import format_of
from stages.origins.tables.row_batches import MALFORMED

HELD = f"sha256:{hashlib.sha256(b'hi').hexdigest()}"


def latin(*texts: bytes) -> pa.Array:
    return pa.array(texts, pa.binary()).view(pa.string())


def test_a_row_that_is_no_text_spoils_no_other() -> None:
    plain = pa.table({"t": latin(b"a", b"caf\xe9", b"c")})
    assert list(records_of(plain)) == [{"t": "a"}, None, {"t": "c"}]
    nested = pa.table({"t": pa.ListArray.from_arrays([0, 1, 2, 3], latin(b"a", b"caf\xe9", b"c"))})
    assert list(records_of(nested)) == [{"t": ["a"]}, None, {"t": ["c"]}]
    assert list(records_of(pa.table({"image": [b"\xff"]}))) == [{"image": b"\xff"}]


def from_lines(*lines: bytes) -> pa.Table:
    return pa.Table.from_batches(read_batches(io.BytesIO(b"\n".join(lines)), format_of("a.jsonl"), name="a.jsonl"))


def test_lines_of_json_are_records_whatever_types_they_have() -> None:
    table = compact_table(
        from_lines(
            b'{"id": 1, "messages": [{"role": "user", "content": "caf\xc3\xa9"}], "image": "a.jpg", "score": 3}',
            b'{"id": "b", "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}], "image": ["b"]}',
            b'{"id": "c", "messages": [{"role": "user", "content": "caf\xe9"}]}',
            b"{",
        )
    )
    assert table.column_names == [RECORD, MALFORMED]
    first, second, third, fourth = table[RECORD].to_pylist()
    turn = {"role": "user", "content": "caf\u00e9"}
    assert read_record(first) == {"id": 1, "messages": [turn], "images": ["a.jpg"]}
    assert read_record(second)["images"] == ["b"]  # type: ignore[index]
    assert read_record(third)["messages"][0]["content"] == "caf\udce9"  # type: ignore[index]
    assert fourth is None
    assert table[MALFORMED].to_pylist()[3].startswith("line 4: ")


def spelled(record: Any) -> Any:
    return json.loads(spell_record(record))


def test_pictures_travel_as_names() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
    record = {
        "image": {"bytes": b"hi", "path": "1.jpg"},
        "messages": [{"role": "user", "content": [part, {"type": "text", "text": "a"}]}],
        "A": "cat",
        "other": b"long",
    }
    content = [{"type": "image", "image": HELD}, {"type": "text", "text": "a"}]
    assert spelled(record) == {"images": [HELD], "messages": [{"role": "user", "content": content}], "A": "cat"}
    assert spelled({"image": {"width": 3}, "images": None}) == {"image": {"width": 3}}
    assert spelled({"index": 3, "image": "1"}) == {"index": 3, "image": "1"}
    assert spell_record({"b": 1, "id": 2, "answer": 1}) == '{"answer": 1, "id": 2}'
    assert spelled(None) is None


@pytest.mark.parametrize("field", ["video", "image", "pose", "red_point", "timestamps", "messages"])
def test_a_record_of_lists_in_lists_is_spelled(field: str) -> None:
    for num_lists in (800, 5000):
        deep: Any = ["a.mp4"]
        for _ in range(num_lists):
            deep = [deep]
        turns = [{"role": "user", "content": [{"type": "video", "video": deep}]}]
        assert len(spell_record({"images": ["a", "b"], "messages": turns, field: deep})) < 20_000
