"""Benchmarks in their own files, through the stage that reads questions, to what a model is asked."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from cluster.local import make
from neo_model.inputs.video_text import ClipText, write_out_clips
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations
from stages.contract import Source, StageError
from stages.evaluation.questions import Question
from stages.evaluation.questions import read_questions as asked
from stages.formats.clip_reader import clips_of
from stages.formats.sample_table import read_table
from stages.read_questions import ReadQuestionsRecipe, read_questions
from tests.worlds.clip_world import ClipsRecipe, clip_id, make_clips
from tests.worlds.photo_world import PhotosRecipe, make_photos, photo

PHOTO_NAMES = {"a.jpg": "coffee", "b.jpg": "chelsea"}


def read(path: Path, name: str | None, num_clips: int | None = 1, **fields: Any) -> Conversations:
    """The questions of a file; `num_clips` clips of each film are given to look among, or none at all."""
    pictures = make_photos.bind("photos", PhotosRecipe(names=PHOTO_NAMES))
    clips = None
    if num_clips:
        clips = make_clips.bind("clips", ClipsRecipe(films=("walk", "jump"), num_clips_per_film=num_clips))
    recipe = ReadQuestionsRecipe(source=Source("exam"), benchmark=name, **fields)
    step = read_questions.bind("exam", recipe, pictures, clips)
    return make(step, path.parent / "store", sources={"exam": str(path)})


def rows_of(made: Conversations) -> list[dict[str, Any]]:
    tables = [read_table(made.read(part.file(CONVERSATIONS_FILE))) for part in made.phase("read")]
    return pa.concat_tables(tables).to_pylist()


def jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def written_out(made: Conversations, question: Question) -> str:
    """What the model is asked, with the lines of its frames."""
    reader = clips_of(made)
    assert reader is not None
    clips = [reader.clip(one) for one in question.clip_ids]
    texts = [ClipText(clip.frame_times, clip.duration_seconds) for clip in clips]
    return str(write_out_clips(question.messages, texts, question.video_style)[-1]["content"])


def test_vsi_bench_is_asked_about_its_clips_and_scored_by_its_types(tmp_path: Path) -> None:
    row = {"id": 7, "dataset": "arkit", "scene_name": "walk", "question": "How many chairs?", "options": None}
    rows = [
        row | {"question_type": "object_counting", "ground_truth": "4"},
        row | {"question_type": "object_rel_direction_hard", "ground_truth": "B", "options": ["A. left", "B. right"]},
        row | {"question_type": "object_counting", "ground_truth": "4", "scene_name": "elsewhere"},
    ]
    made = read(jsonl(tmp_path / "vsi.jsonl", *rows), "vsi_bench")
    found = rows_of(made)
    assert [(one["scoring"], one["reason"]) for one in found[:2]] == [("numeric", None), ("choice", None)]
    assert (found[2]["reason"], found[2]["missing_clips"]) == ("video_missing", ["arkit/elsewhere.mp4"])
    counting, direction = asked(made)
    assert (counting.clip_ids, counting.kind) == ((clip_id("walk"),), "object_counting")
    lines = "".join(f"Frame-{number}: <image>\n" for number in range(1, 5))
    frames = f"{lines}These are frames of a video.\n"
    ending = "\nAnswer briefly and directly in one float number."
    assert written_out(made, counting) == f"{frames}How many chairs?{ending}"
    assert written_out(made, direction).endswith(
        "How many chairs?\nA. left\nB. right\nAnswer with the option's letter from the given choices directly."
    )
    assert (direction.options, direction.truth, direction.scoring) == (("left", "right"), "B", "choice")


def test_a_line_of_lvbench_becomes_a_question_each(tmp_path: Path) -> None:
    asking = [{"uid": str(one), "question": f"Q{one}?\n(A) x\n(B) y", "answer": "B"} for one in range(3)]
    path = jsonl(tmp_path / "lv.jsonl", {"key": "walk", "qa": asking}, {"key": "jump", "qa": asking[:1]})
    made = read(path, "lvbench", num_questions_per_part=2)
    found = rows_of(made)
    assert [(row["id"], row["clip_ids"][0], row["scoring"]) for row in found] == [
        *((str(one), clip_id("walk"), "choice") for one in range(3)),
        ("0", clip_id("jump"), "choice"),
    ]
    text = written_out(made, asked(made)[0])
    assert text.startswith("The time range of this video is [00:00-00:04], and the following is a series of 4 frames")
    assert text.endswith("[00:03.20]:<image>\nQ0?\n(A) x\n(B) y\nAnswer the question with the option letter.")
    assert found[0]["messages"][0] == {**found[0]["messages"][0], "role": "system", "content": "Reason step by step."}


def test_mvbench_means_the_clip_of_its_stretch(tmp_path: Path) -> None:
    row = {"video": "walk.mp4", "question": "What?", "candidates": ["run", "sit"], "answer": "sit"}
    path = tmp_path / "action_sequence.json"
    path.write_text(json.dumps([row | {"start": 2.0, "end": 4.0}, row | {"start": 0.0, "end": 1.0}, row]))
    made = read(path, "mvbench", 2, system_prompt="", kind="action_sequence")
    assert [row["reason"] for row in rows_of(made)] == [None, "video_missing", "video_ambiguous"]
    (question,) = asked(made)
    assert question.kind == "action_sequence"
    assert (question.clip_ids, question.truth, question.messages[0]["role"]) == ((clip_id("walk", 1),), "B", "user")
    assert written_out(made, question).endswith(
        "the question.\n" + "<image>\n" * 4 + "Question: What?\nOptions:\n(A) run\n(B) sit\nOnly give the best option."
    )


def test_pictures_of_muirbench_and_mmmu_are_found_in_their_own_columns(tmp_path: Path) -> None:
    row = {"image_path": "['a.jpg', 'b.jpg']", "question": "Is <image> like <image>?", "A": "yes", "B": "no"}
    path = tmp_path / "muir.tsv"
    row |= {"answer": "A", "task": "Counting", "index": "0"}
    path.write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    (found,) = rows_of(read(path, "muirbench"))
    content = found["messages"][0]["content"]
    assert content.startswith(
        "<Image-1>: <image>\n<Image-2>: <image>\nQuestion: Is<Image-1>like<Image-2>?\nChoices: \n"
    )
    assert (len(found["image_ids"]), found["clip_ids"], found["video_style"], found["kind"]) == (
        2,
        [],
        None,
        "counting",
    )
    path = tmp_path / "mmmu.parquet"
    held = {"image_1": {"bytes": photo("coffee"), "path": None}, "image_2": {"bytes": photo("chelsea"), "path": None}}
    asking = {"id": "test_Art_1", "question": "Is <image 2> like <image 1>?", "options": "['x', 'y']", "answer": "B"}
    pq.write_table(pa.Table.from_pylist([asking | held]), path)
    made = read(path, "mmmu", max_share_lost=1.0)
    (found,) = rows_of(made)
    assert found["reason"] == "image_missing", "pictures that a row holds are collected by their bytes"
    assert found["messages"][1]["content"].endswith("Is <image>\n like <image>\n?\nA. x\nB. y")


def test_generic_questions_may_be_about_videos(tmp_path: Path) -> None:
    row = {"question": "What is it?", "options": ["x", "y"], "answer": "A", "video": "walk.mp4"}
    made = read(jsonl(tmp_path / "own.jsonl", row, row | {"question": "Is it <video>?"}), None)
    first, second = asked(made)
    assert (first.clip_ids, first.video_style, first.scoring) == ((clip_id("walk"),), "timestamps", "choice")
    assert first.messages[0]["content"].startswith("<video>\nQuestion: What is it?\nOptions:\nA. x")
    assert second.messages[0]["content"].startswith("Question: Is it <video>?")


def test_without_clips_no_video_is_asked_about(tmp_path: Path) -> None:
    row = {"videoID": "walk", "question": "Q?", "options": ["A. x.", "B. y."], "answer": "A", "task_type": "Counting"}
    made = read(jsonl(tmp_path / "mme.jsonl", row, row | {"videoID": None}), "video_mme", None, max_share_lost=1.0)
    assert [one["reason"] for one in rows_of(made)] == ["video", "video_missing"]


def test_another_table_and_fields_that_a_benchmark_has_are_refused(tmp_path: Path) -> None:
    path = jsonl(tmp_path / "other.jsonl", {"question": "Q?", "answer": "A"})
    with pytest.raises(
        StageError, match="vsi_bench is read by one of these columns with its video: video, dataset and"
    ):
        read(path, "vsi_bench")
    for fields in ({"columns": {"answer": "label"}}, {"open_ending": "In a word."}, {"video_style": "bare"}):
        with pytest.raises(ValidationError, match="benchmark='mmmu' has its own"):
            ReadQuestionsRecipe(source=Source("exam"), benchmark="mmmu", **fields)
