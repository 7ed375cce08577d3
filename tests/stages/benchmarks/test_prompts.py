"""Prompts of benchmarks, character for character as the authors' kit writes them for the same rows.

`kit_prompts.json` holds rows in the form of each benchmark's own table, or of the kit's, and the prompts that the kit's
code wrote for them, run outside of this project on a video of 10 seconds with 4 frames.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from neo_model.inputs.video_text import clip_lines
from stages.benchmarks.benchmark import Benchmark
from stages.benchmarks.catalog import BENCHMARKS
from stages.benchmarks.prompts import Medium, SpelledQuestion, spell_question
from stages.benchmarks.rows import plain_records
from stages.conversations.reasons import ConversationReason, UnreadableRecordError

CASES = json.loads((Path(__file__).parent / "kit_prompts.json").read_text())
TIMES, SECONDS = [2.0, 4.0, 6.0, 8.0], 10.0


def spelled(name: str, row: dict[str, Any], num_pictures: int = 0) -> SpelledQuestion:
    benchmark: Benchmark = BENCHMARKS[name]  # type: ignore[index]
    (record,) = plain_records(row, benchmark)
    return spell_question(record, benchmark, num_pictures)


def written_out(question: SpelledQuestion, benchmark: Benchmark) -> str:
    """The prompt as text: a line break behind a clip ends the line of its last frame."""
    text, is_after_clip = "", False
    for piece in question.pieces:
        if isinstance(piece, str):
            text += piece.removeprefix("\n") if is_after_clip else piece
        elif piece.kind == "picture":
            text += "<image>"
        else:
            assert benchmark.video_style is not None
            text += clip_lines(TIMES, SECONDS, benchmark.video_style)
        is_after_clip = isinstance(piece, Medium) and piece.kind == "clip"
    return text


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_prompt_is_the_one_of_the_kit(case: str) -> None:
    one = CASES[case]
    question = spelled(one["benchmark"], one["row"], one["num_pictures"])
    assert written_out(question, BENCHMARKS[one["benchmark"]]) == one["prompt"]
    assert (question.answer, question.scoring) == (one["answer"], one["scoring"])


def test_every_benchmark_has_a_case() -> None:
    untold = {
        "mmmu": "pictures stand elsewhere here",
        "mmmu_direct": "as mmmu",
        "blink": "as mindcube",
        "emb_spatial": "as mindcube",
    }
    assert {one["benchmark"] for one in CASES.values()} | untold.keys() == BENCHMARKS.keys()


def test_pictures_of_mmmu_stand_where_their_numbers_do_first() -> None:
    row = {"id": "validation_Art_Theory_3", "question": "Is <image 2> or <image 1>? <image 2> is old.", "answer": "B"}
    question = spelled("mmmu", row | {"options": "['x', 'y']", "question_type": "multiple-choice"}, 3)
    told = "".join(piece if isinstance(piece, str) else f"[{piece.number}]" for piece in question.pieces)
    assert told.startswith("[2]\nAnswer the preceding multiple choice question.")
    assert told.endswith("\n\nIs [1]\n or [0]\n? <image 2> is old.\nA. x\nB. y")
    assert (question.kind, question.answer, question.scoring) == ("art_theory", "B", "choice")
    opened = spelled("mmmu", row | {"options": "[]", "answer": "24", "question_type": "open"}, 2)
    assert (opened.options, opened.scoring, opened.answer) == (None, "final", "24")


def test_more_places_than_pictures_end_with_a_reason() -> None:
    row = {"question": "<image> or <image>?", "A": "x", "B": "y", "answer": "A", "task": "Counting"}
    with pytest.raises(UnreadableRecordError) as raised:
        spelled("muirbench", row, 1)
    assert raised.value.reason == ConversationReason.PLACEHOLDERS
    assert [piece.number for piece in spelled("muirbench", row, 3).pieces if isinstance(piece, Medium)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "row", "expected"),
    [
        ("mvbench", {"candidates": ["C", "A", "B"], "answer": "A"}, "B"),
        ("mvbench", {"candidates": "['3', '1']", "answer": "1"}, "B"),
        ("long_video_bench", {"option0": "x", "option1": "y", "option2": "N/A", "correct_choice": 1}, "B"),
        ("view_spatial", {"choices": "A. left\nB. front-left", "answer": "B. front-left"}, "B"),
        ("video_mme", {"options": ["A. x.", "B. y."], "answer": "b"}, "B"),
        ("mindcube", {"gt_answer": "C"}, "C"),
        ("emb_spatial", {"answer_options": ["left", "right"], "answer": 1}, "B"),
        ("blink", {"choices": ["left", "right"], "answer": "(B)"}, "B"),
        ("spar", {"task": "obj_spatial_relation_oo", "answer": "(D)"}, "D"),
        ("spar", {"task": "view_change_infer", "answer": "move_right:0.3"}, "move_right:0.3"),
        ("vsi_bench", {"question_type": "object_counting", "ground_truth": 4.0}, "4"),
    ],
)
def test_the_right_answer_is_read_however_the_table_gives_it(name: str, row: dict[str, Any], expected: str) -> None:
    assert spelled(name, {"question": "Which?", **row}).answer == expected


@pytest.mark.parametrize(
    ("name", "row", "reason"),
    [
        ("vsi_bench", {"question_type": "object_counting", "ground_truth": "many"}, ConversationReason.NO_ANSWER),
        ("video_mme", {"options": ["A. x."], "answer": "A"}, ConversationReason.OPTIONS),
        ("video_mme", {"options": ["A. x.", "B. y."], "answer": "C"}, ConversationReason.OPTIONS),
        ("lvbench", {"answer": "somewhere"}, ConversationReason.OPTIONS),
        ("mvbench", {"candidates": ["x", "y"]}, ConversationReason.NO_ANSWER),
        ("video_mme", {"options": ["A. x.", "B. y."], "answer": "A", "question": None}, ConversationReason.SCHEMA),
    ],
)
def test_a_row_that_cannot_be_asked_says_why(name: str, row: dict[str, Any], reason: ConversationReason) -> None:
    with pytest.raises(UnreadableRecordError) as raised:
        spelled(name, {"question": "Which?", **row})
    assert raised.value.reason == reason


def test_text_with_braces_is_text() -> None:
    question = spelled("video_mme", {"question": "Is {x} {0}?", "options": ["A. {letter}", "B. }"], "answer": "A"})
    assert "Question: Is {x} {0}?\nA. {letter}\nB. }" in "".join(map(str, question.pieces))
