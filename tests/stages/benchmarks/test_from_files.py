"""From the files of a benchmark to its scores: videos, its own table, a checkpoint, and what the authors report."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.local import make
from stages.artifacts.kinds import ANSWERS_FILE, METRICS_FILE
from stages.benchmarks.catalog import BENCHMARKS
from stages.collect_images import CollectImagesRecipe, collect_images
from stages.contract import Source
from stages.cut_clips import CutClipsRecipe, cut_clips
from stages.evaluate import EvaluateRecipe, evaluate
from stages.formats.clip_reader import ClipReader
from stages.formats.sample_table import read_table
from stages.read_questions import ReadQuestionsRecipe, read_questions
from tests.worlds.clip_world import FILM_SECONDS, film_bytes
from tests.worlds.colour_world import ColourWorld
from tests.worlds.photo_world import photo


def test_vsi_bench_from_its_files_to_its_score(colour_world: ColourWorld, tmp_path: Path) -> None:
    films, table = tmp_path / "videos", tmp_path / "vsi.jsonl"
    (films / "arkit").mkdir(parents=True)
    for name in ("walk", "jump"):
        (films / f"arkit/{name}.mp4").write_bytes(film_bytes(name))
    asking = {"dataset": "arkit", "question": "How many?", "question_type": "object_counting", "ground_truth": "4"}
    choosing = {"question_type": "object_rel_direction_easy", "options": ["A. left", "B. right"], "ground_truth": "A"}
    rows = [asking | {"scene_name": name, "id": name} for name in ("walk", "jump")]
    rows += [row | choosing for row in rows]
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))

    vsi = BENCHMARKS["vsi_bench"]
    assert vsi.sampling is not None and vsi.frame_pixels is not None
    sources = {"videos": str(films), "table": str(table)}
    recipe = CutClipsRecipe(source=Source("videos"), sampling=vsi.sampling, max_frame_px=vsi.frame_pixels.max_pixels_px)
    clips = cut_clips.bind("clips", recipe)
    reading = ReadQuestionsRecipe(source=Source("table"), benchmark="vsi_bench")
    questions = read_questions.bind("questions", reading, None, clips)
    asked = EvaluateRecipe(
        max_new_tokens=2, max_prompt_tokens=4000, min_frame_pixels_px=1024, max_frame_pixels_px=4096, num_cards=4
    )
    made = make(
        evaluate.bind("evaluate", asked, colour_world.checkpoint, questions), colour_world.store, sources=sources
    )

    times = next(iter(ClipReader(make(clips, colour_world.store, sources=sources)))).frame_times
    assert len(times) == 32 and times[0] == 0.0 and times[-1] == pytest.approx(FILM_SECONDS - 0.08)
    record = made.part("00000", "evaluate")
    answers = read_table(made.read(record.file(ANSWERS_FILE))).to_pylist()
    assert [(row["num_frames"], row["num_frames_kept"]) for row in answers] == [([32], [32])] * 4
    assert sorted(row["scoring"] for row in answers) == ["choice", "choice", "numeric", "numeric"]
    numbers = json.loads(made.read(record.file(METRICS_FILE)))
    assert numbers["score"] == pytest.approx((numbers["mra"] + numbers["score_object_rel_direction"]) / 2)
    assert {"accuracy_object_rel_direction_easy", "mra_object_counting", "num_questions"} <= numbers.keys()


def test_muirbench_from_its_parquet_to_its_score(colour_world: ColourWorld, tmp_path: Path) -> None:
    held = [{"bytes": photo(name), "path": None} for name in ("coffee", "chelsea", "rocket")]
    row = {
        "idx": "0",
        "task": "Counting",
        "question": "Which is like <image>?",
        "options": ["<image>", "<image>", "none"],
    }
    path = tmp_path / "muir.parquet"
    pq.write_table(pa.Table.from_pylist([row | {"answer": "A", "image_list": held}]), path)
    recipe = CollectImagesRecipe(source=Source("table"), columns={"images": "image_list"})
    pictures = collect_images.bind("pictures", recipe)
    reading = ReadQuestionsRecipe(source=Source("table"), benchmark="muirbench")
    questions = read_questions.bind("questions", reading, pictures)
    asked = EvaluateRecipe(max_new_tokens=2, min_pixels_px=1024, max_pixels_px=4096, num_cards=1)
    step = evaluate.bind("evaluate", asked, colour_world.checkpoint, questions)
    made = make(step, colour_world.store, sources={"table": str(path)})
    (answer,) = read_table(made.read(made.part("00000", "evaluate").file(ANSWERS_FILE))).to_pylist()
    assert (answer["verdict"], answer["num_options"], answer["truth"]) == ("kept", 3, "A")
    assert len(set(answer["image_ids"])) == 3 and answer["question"].startswith("<Image-1>: <Image-2>: <Image-3>:")
    numbers = json.loads(made.read(made.part("00000", "evaluate").file(METRICS_FILE)))
    assert numbers["score"] == numbers["accuracy_counting"]


def scores_of(name: str, rows: list[dict[str, object]], colour_world: ColourWorld, folder: Path) -> dict[str, float]:
    """The metrics of a checkpoint that answers a benchmark's own Parquet, whose pictures lie in it."""
    path = folder / f"{name}.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    pictures = collect_images.bind("pictures", CollectImagesRecipe(source=Source("table")))
    reading = ReadQuestionsRecipe(source=Source("table"), benchmark=name)  # type: ignore[arg-type]
    questions = read_questions.bind("questions", reading, pictures)
    asked = EvaluateRecipe(max_new_tokens=4, min_pixels_px=1024, max_pixels_px=4096, num_cards=1)
    step = evaluate.bind("evaluate", asked, colour_world.checkpoint, questions)
    made = make(step, colour_world.store, sources={"table": str(path)})
    answers = read_table(made.read(made.part("00000", "evaluate").file(ANSWERS_FILE))).to_pylist()
    assert [row["verdict"] for row in answers] == ["kept"] * len(rows)
    assert all(row["truths"] for row in answers)
    return json.loads(made.read(made.part("00000", "evaluate").file(METRICS_FILE)))


def test_docvqa_from_its_parquet_to_anls(colour_world: ColourWorld, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"questionId": str(number), "question": "What?", "answers": ["x", "not this"], "image": {"bytes": photo(name)}}
        for number, name in enumerate(("coffee", "coffee", "rocket"))
    ]
    numbers = scores_of("docvqa", rows, colour_world, tmp_path)
    assert numbers["score"] == numbers["anls"] and numbers["num_questions"] == 3
    assert numbers["anls_low"] <= numbers["anls"] <= numbers["anls_high"]


def test_mme_from_its_parquet_to_points(colour_world: ColourWorld, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"question_id": f"ocr/{name}.png", "question": "Is it?", "answer": answer, "category": "OCR", "image": held}
        for name in ("coffee", "rocket")
        for held in ({"bytes": photo(name)},)
        for answer in ("Yes", "No")
    ]
    numbers = scores_of("mme", rows, colour_world, tmp_path)
    assert numbers["score"] == numbers["score_perception"] == 100 * (numbers["accuracy"] + numbers["whole_picture"])
    assert {"f1", "precision", "recall", "yes_share", "f1_ocr", "whole_picture_ocr"} <= numbers.keys()
