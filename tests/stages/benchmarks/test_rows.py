"""Rows of benchmarks' own tables: questions of a video become rows, and each field is found under its own name."""

from typing import Any

import pyarrow as pa
import pytest

from stages.benchmarks.catalog import BENCHMARKS
from stages.benchmarks.rows import options_in, plain_records, question_table, sets_of, video_names
from stages.conversations.records import read_record
from stages.origins.tables.row_batches import MALFORMED


def test_a_video_with_several_questions_becomes_as_many_rows() -> None:
    answered = {"answer": "A", "question_type": ["x", "y"]}
    asked = [{"uid": str(number), "question": f"Q{number}?", **answered} for number in (1, 2)]
    rows = [{"key": "a", "type": "news", "qa": asked}, {"key": "b", "type": "news", "qa": []}]
    table = pa.table({"row": [1, 2, 3], MALFORMED: pa.array([None, None, "cut short"], pa.string())})
    table = pa.Table.from_pylist([*rows, {"key": None}]).append_column(MALFORMED, table[MALFORMED])
    made = question_table(table, "lvbench")
    assert made[MALFORMED].to_pylist() == [None, None, None, "cut short"]
    records = [text and read_record(text) for text in made["record"].to_pylist()]
    assert [record and record.get("question") for record in records] == ["Q1?", "Q2?", None, None]
    first = records[0]
    assert first and (first["id"], first["kind"], first["videos"][0]["path"]) == ("1", "x", "a.mp4")


@pytest.mark.parametrize(
    ("row", "names", "expected"),
    [
        ({"candidates": ["x", "y"]}, ["candidates"], ["x", "y"]),
        ({"options": '["A. x", "B. y"]'}, ["candidates", "options"], ["x", "y"]),
        ({"choices": "A. x\n(B) y"}, ["choices"], ["x", "y"]),
        ({"choices": "x or y"}, ["choices"], []),
        ({"A": "x", "B": "y", "C": float("nan"), "D": "z"}, ["A"], ["x", "y"]),
        ({"option0": "x", "option1": "y", "option2": "N/A"}, ["option#"], ["x", "y"]),
        ({"candidates": ["A. x", "C. y"]}, ["candidates"], ["A. x", "C. y"]),
        ({"candidates": None}, ["candidates"], []),
    ],
)
def test_options_are_read_in_every_form(row: dict[str, Any], names: list[str], expected: list[str]) -> None:
    assert options_in(row, names) == expected


def test_the_names_of_a_video_are_those_that_the_row_can_fill() -> None:
    fields = BENCHMARKS["vsi_bench"].fields
    row = {"dataset": "scannet", "scene_name": "scene0011_00", "video": None}
    assert video_names(row, fields.videos) == ["scannet/scene0011_00.mp4", "scene0011_00.mp4"]
    assert video_names({"video_path": "./videos/a.mp4"}, ["{video_path}", "{video}"]) == ["videos/a.mp4"]


def test_frames_of_several_videos_are_thinned_together_and_named_in_the_text() -> None:
    frames = [[f"a/{number}.jpg" for number in range(60)], [f"b/{number}.jpg" for number in range(40)]]
    row = {
        "system_prompt": "S.",
        "task_prompt": "1: <video> 2: <video> ",
        "user_prompt": "See <image>. ",
        "format_prompt": "",
        "image_path": str(frames),
        "ref_images": "['r.jpg']",
        "answer": "A",
    }
    (record,) = plain_records(row, BENCHMARKS["mmsi_video"])
    images = record["images"]
    assert len(images) == 51 and images[0] == "a/0.jpg" and images[-2:] == ["b/39.jpg", "r.jpg"]
    num_first = sum(name.startswith("a/") for name in images)
    assert 29 <= num_first <= 31, "each video has its share of the frames"
    # The kit takes out names of eight frames in a row that begin at a multiple of eight.
    first = "".join(f"<Frame-{number}>" for number in range(num_first // 8 * 8 + 1, num_first + 1))
    assert str(record["question"]).startswith(f"S.\n1: {first} 2: ") and "See <Frame-51>. " in str(record["question"])


@pytest.mark.parametrize(
    ("name", "row", "sets"),
    [
        ("mmbench", {"index": 241}, ["circle:241"]),
        ("mmbench", {"index": 3000241}, ["circle:241"]),
        ("mmbench", {"index": 1200241}, ["circle:200241"]),
        ("mmbench", {"index": "1000000"}, ["circle:0"]),
        ("mme", {"image_path": "ocr/1.png", "question_id": "x"}, ["picture:ocr/1.png"]),
        ("mme", {"question_id": "ocr/1.png"}, ["picture:ocr/1.png"]),
        ("mme", {"index": 4}, []),
        ("hallusion_bench", {"index": "a_b_c_1_2_3", "l2-category": "map"}, ["figure:map_1_2", "question:map_1_3"]),
        (
            "hallusion_bench",
            {"subcategory": "map", "set_id": "1", "figure_id": "2", "question_id": "3"},
            ["figure:map_1_2", "question:map_1_3"],
        ),
    ],
)
def test_the_sets_of_a_row(name: str, row: dict[str, object], sets: list[str]) -> None:
    assert sets_of(row, BENCHMARKS[name].fields) == sets  # type: ignore[index]
