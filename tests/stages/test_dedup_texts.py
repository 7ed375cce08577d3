"""Of documents that repeat each other the longest stays, in every source and against benchmarks."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from cluster.local import make
from stages.artifacts.kinds import VERDICTS_FILE
from stages.contract import Source, Step
from stages.dedup_texts import DedupTextsRecipe, dedup_texts
from stages.duplicates.text_sketching import TextSketchFacts
from stages.formats.judged.texts import TextReader
from stages.formats.sample_table import read_table
from stages.read_questions import ReadQuestionsRecipe, read_questions
from stages.read_text import ReadTextRecipe, read_text
from stages.store.store import Store

STORY = " ".join(
    f"In the year {number} the old town had {number * 3} houses and a mill." for number in range(1900, 1925)
)
OTHER = " ".join(f"Page {number}: the ship left the harbour before the sun rose." for number in range(40))
ANYTHING = DedupTextsRecipe(max_share_lost=1)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def documents(place: Path, name: str, texts: Sequence[str]) -> tuple[Step[Any], dict[str, str]]:
    path = place / f"{name}.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    recipe = ReadTextRecipe(source=Source(name), num_documents_per_part=2)
    return read_text.bind(name, recipe), {name: str(path)}


def verdicts_of(made: Any) -> list[dict[str, Any]]:
    return [row for part in made.parts for row in read_table(made.read(part.file(VERDICTS_FILE))).to_pylist()]


def test_the_longest_stays_and_the_others_name_it(place: Path) -> None:
    texts = [STORY, f"{STORY} The end of it.", STORY.upper(), OTHER, "one line", "ONE  line"]
    step, sources = documents(place, "corpus", texts)
    made = make(dedup_texts.bind("unique", ANYTHING, step), Store(place / "store"), sources=sources)
    rows = verdicts_of(made)
    ids = [row["sample_id"] for row in rows]
    assert [row["reason"] for row in rows] == [
        *("near_duplicate_text", None, "duplicate_text"),
        *(None, "duplicate_text", None),
    ]
    assert [row["duplicate_of"] and ids.index(row["duplicate_of"]) for row in rows] == [1, None, 0, None, 5, None]
    kept = [text for part in TextReader(made).parts for _, text in TextReader(made).texts_of(part)]
    assert kept == [texts[1], texts[3], texts[5]]


def test_an_earlier_source_wins_and_is_not_read_again(place: Path) -> None:
    first, sources = documents(place, "first", [STORY, OTHER])
    second, more = documents(place, "second", [f"{STORY} And much more, that makes it longer.", "something else"])
    unique = dedup_texts.bind("first_unique", ANYTHING, first)
    step = dedup_texts.bind("second_unique", ANYTHING, second, {"first": unique})
    made = make(step, Store(place / "store"), sources=sources | more)
    assert [(row["reason"], row["duplicate_in"]) for row in verdicts_of(made)] == [
        ("near_duplicate_text", "first"),
        (None, None),
    ]
    facts = {record.part: TextSketchFacts.of(record).num_copied for record in made.phase("sketch")}
    assert facts == {"sketch_00000": 0, "first-00000": 2}


def test_documents_with_the_words_of_a_question_are_dropped(place: Path) -> None:
    question = "Which of the seven small towns on the river had a mill before the railway came to the valley"
    (place / "bench.tsv").write_text(f"index\tquestion\tanswer\n1\t{question}?\tnone\n")
    texts = [f"Quiz night. {question.upper()}, they asked.", STORY, "towns on the river"]
    step, sources = documents(place, "corpus", texts)
    questions = read_questions.bind("questions", ReadQuestionsRecipe(source=Source("bench")))
    bound = dedup_texts.bind("unique", ANYTHING, step, None, {"quiz": questions})
    made = make(bound, Store(place / "store"), sources=sources | {"bench": str(place / "bench.tsv")})
    rows = verdicts_of(made)
    assert [(row["reason"], row["benchmark"], row["benchmark_by"]) for row in rows] == [
        ("in_benchmark", "quiz", "words"),
        *[(None, None, None)] * 2,
    ]
    assert made.head.rules == {"benchmark quiz": {"dropped by words": 1}}


def test_without_a_criterion_nothing_is_compared() -> None:
    with pytest.raises(ValidationError, match="set same_text or min_likeness"):
        DedupTextsRecipe(same_text=False, min_likeness=None)
