"""What a row of a table asks for, and which videos a value names."""

import json

import pyarrow as pa
import pytest

from stages.cutting.reasons import ClipReason
from stages.cutting.table_videos import is_web_address, names_in, wanted_clip, with_video_names
from stages.download.reasons import Reason
from stages.formats.sample_table import ItemReason
from stages.origins.tables.row_batches import JSON_MARK, MALFORMED


@pytest.mark.parametrize(
    ("value", "names"),
    [
        ("a.mp4", ["a.mp4"]),
        (["a.mp4", None, "b.mp4"], ["a.mp4", None, "b.mp4"]),
        ({"path": "a.mp4", "bytes": None}, ["a.mp4"]),
        ([{"url": "http://x/a.mp4"}], ["http://x/a.mp4"]),
        (17, ["17"]),
        (None, [None]),
        ([], [None]),
        ("  ", [None]),
        (True, [None]),
        ("\ud800", [None]),
        ({"fps": 2}, [None]),
    ],
)
def test_names_in_a_value(value: object, names: list[str | None]) -> None:
    assert names_in(value) == names


def test_a_row_with_several_videos_is_a_row_for_each_and_turns_are_left_out() -> None:
    videos = pa.array([json.dumps(value) for value in (["a", "b"], "c", None)], pa.string())
    schema = pa.schema(
        [
            pa.field("video", pa.string(), metadata={JSON_MARK: b"1"}),
            ("id", pa.int64()),
            ("conversations", pa.string()),
            (MALFORMED, pa.string()),
        ]
    )
    table = pa.Table.from_arrays(
        [videos, pa.array([1, 2, 3]), pa.nulls(3, pa.string()), pa.nulls(3, pa.string())], schema=schema
    )
    named = with_video_names(table)
    assert named.column_names == ["video", "id", MALFORMED]
    assert named["video"].to_pylist() == ["a", "b", "c", None]
    assert named["id"].to_pylist() == [1, 1, 2, 3]
    assert named.schema.field("video").metadata is None


def test_a_table_without_videos_has_rows_without_one() -> None:
    named = with_video_names(pa.table({"id": [1], MALFORMED: pa.nulls(1, pa.string())}))
    assert named["video"].to_pylist() == [None]


@pytest.mark.parametrize(
    ("fields", "ordinal", "reason"),
    [
        ((b"a", b"1", b"2", b"text"), 0, None),
        ((b"a", None, None, None), 0, None),
        ((b"a", None, None, None), 1, Reason.REPEATED_ROW),
        ((None, None, None, b"text"), 3, ClipReason.NAMES_NO_VIDEO),
        ((b"a", b"soon", None, None), 0, ClipReason.BAD_TIMES),
        ((b"a", b"\xff", None, None), 0, ClipReason.BAD_TIMES),
        ((b"a", None, None, b"\xff"), 0, Reason.CAPTION_ENCODING),
    ],
)
def test_what_a_row_asks_for(fields: tuple[bytes | None, ...], ordinal: int, reason: ItemReason | None) -> None:
    wanted = wanted_clip(fields, ordinal)
    assert wanted.reason is reason
    assert wanted.fields == fields


def test_any_scheme_is_an_address() -> None:
    assert [name for name in ("http://x/a", "HTTPS://x", "file:///etc/passwd", "a/b.mp4") if is_web_address(name)] == [
        "http://x/a",
        "HTTPS://x",
        "file:///etc/passwd",
    ]
