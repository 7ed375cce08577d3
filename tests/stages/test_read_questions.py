"""Evaluation sets in the forms in which people have them: every question is asked, or ends with a reason."""

import base64
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cluster.local import make
from stages.artifacts.kinds import CONVERSATIONS_FILE, Conversations
from stages.contract import Source, StageError
from stages.evaluation import questions as asked
from stages.evaluation.scoring import is_correct
from stages.formats.pairs import pictures_of
from stages.formats.sample_table import read_table
from stages.read_questions import ReadQuestionsRecipe, read_questions
from tests.worlds.photo_world import PHOTOS, PhotosRecipe, make_photos, named, photo

OPTIONS = ["a cat", "a cup", "a woman"]
TRUTHS = {"astronaut": "C", "coffee": "B", "chelsea": "A"}
NAMES = {named(photo(name)): name for name in PHOTOS}
PROMPT = (
    "<image>\nQuestion: What is it?\nOptions:\nA. a cat\nB. a cup\nC. a woman\n"
    "Please select the correct answer from the options above."
)


def read(path: Path, names: dict[str, str] | None = NAMES, **fields: Any) -> Conversations:
    pictures = make_photos.bind("photos", PhotosRecipe(names=names)) if names else None
    recipe = ReadQuestionsRecipe(source=Source("exam"), **fields)
    return make(read_questions.bind("exam", recipe, pictures), path.parent / "store", sources={"exam": str(path)})


def rows_of(made: Any) -> list[dict[str, Any]]:
    return pa.concat_tables(read_table(made.read(part.file(CONVERSATIONS_FILE))) for part in made.parts).to_pylist()


def as_base64(name: str) -> str:
    return base64.b64encode(photo(name)).decode()


def tsv(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["\t".join(names), *("\t".join(str(row.get(name, "")) for name in names) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def kit_row(index: int, name: str, **more: Any) -> dict[str, Any]:
    options = dict(zip("ABC", OPTIONS, strict=True))
    row = {"index": index, "image": as_base64(name), "question": "What is it?", **options, "answer": TRUTHS[name]}
    return row | {"category": "Object (1)", "split": "dev"} | more


def test_a_tsv_of_vlmevalkit_is_asked_in_its_words(tmp_path: Path) -> None:
    rows = [kit_row(number, name) for number, name in enumerate(TRUTHS)]
    rows.append(kit_row(3, "coffee", image=0, question="Who is it?", answer="C"))
    made = read(tsv(tmp_path / "exam.tsv", rows), num_questions_per_part=2)
    found = rows_of(made)
    assert [row["verdict"] for row in found] == ["kept"] * 4
    assert found[0]["messages"][0]["content"] == PROMPT
    assert [row["answer"] for row in found] == ["C", "B", "A", "C"]
    pictures = pictures_of(made)
    wanted = [photo(name) for name in [*TRUTHS, "astronaut"]]
    assert [pictures.image(row["image_ids"][0]) for row in found] == wanted
    questions = asked.read_questions(made)
    assert [(one.kind, one.truth, one.options) for one in questions[:1]] == [("object_1", "C", tuple(OPTIONS))]
    assert all(one.trouble is None for one in questions)
    assert is_correct("The answer is (C).", questions[0].truth, questions[0].options)
    assert is_correct("a woman", questions[0].truth, questions[0].options)


def test_a_share_of_the_rows_may_be_read(tmp_path: Path) -> None:
    rows = [kit_row(number, name, split="dev" if number else "test") for number, name in enumerate(TRUTHS)]
    made = read(tsv(tmp_path / "exam.tsv", rows), only_split="dev", max_share_lost=0.1)
    assert [row["reason"] for row in rows_of(made)] == ["other_split", None, None]


def test_a_parquet_of_a_hub_is_read(tmp_path: Path) -> None:
    path = tmp_path / "exam.parquet"
    rows = [
        {
            "question_id": name,
            "image": {"bytes": photo(name), "path": None},
            "question": "What is it?",
            "options": OPTIONS,
            "label": "ABC".index(truth),
        }
        for name, truth in TRUTHS.items()
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)
    made = read(path, columns={"id": "question_id"})
    found = rows_of(made)
    assert [(row["id"], row["answer"], row["reason"]) for row in found] == [(*item, None) for item in TRUTHS.items()]
    assert found[0]["messages"][0]["content"] == PROMPT


def test_several_pictures_stand_where_the_question_names_them(tmp_path: Path) -> None:
    both = [as_base64("coffee"), as_base64("chelsea")]
    row = kit_row(0, "coffee", image=both, question="Is <image 2> or <image 1> it?")
    made = read(tsv(tmp_path / "exam.tsv", [row]))
    (found,) = rows_of(made)
    assert found["messages"][0]["content"].startswith("Question: Is\n<image>\nor\n<image>\nit?\nOptions:")
    pictures = pictures_of(made)
    assert [pictures.image(one) for one in found["image_ids"]] == [photo("chelsea"), photo("coffee")]


def test_conversations_and_plain_questions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "chats.jsonl"
    turns = [{"from": "human", "value": "2 + 2?"}, {"from": "gpt", "value": "4"}]
    path.write_text(json.dumps({"id": 1, "conversations": turns, "kind": "sum"}) + "\n")
    (question,) = asked.read_questions(read(path, None))
    assert (question.kind, question.truth, question.wording) == ("sum", "4", "2 + 2?")
    path = tmp_path / "plain.csv"
    path.write_text("question,answer\n2 + 2?,4\n3 + 3?,\n")
    made = read(path, None, open_ending="In a word.")
    assert [row["reason"] for row in rows_of(made)] == [None, "no_answer"]
    assert asked.read_questions(made)[0].wording == "2 + 2? In a word."


def test_a_table_without_questions_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "exam.csv"
    path.write_text("asked,answer\n2 + 2?,4\n")
    with pytest.raises(StageError, match="has the columns 'asked', 'answer': wanted is `question`"):
        read(path, None)
    assert rows_of(read(path, None, columns={"question": "asked"}))[0]["verdict"] == "kept"


def test_losing_nearly_all_fails_with_an_example(tmp_path: Path) -> None:
    rows = [kit_row(number, name) for number, name in enumerate(TRUTHS)]
    with pytest.raises(StageError, match="3 image_missing .*sha256:"):
        read(tsv(tmp_path / "exam.tsv", rows), {"other": "coffee"})
