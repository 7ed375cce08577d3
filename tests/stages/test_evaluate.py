"""Evaluating a checkpoint that has learned: what it sees it answers, what it cannot see it guesses, none vanishes."""

import io
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cluster.local import make
from stages.artifacts.kinds import ANSWERS_FILE, CONTACT_SHEET_FILE, METRICS_FILE, Conversations, Evaluation
from stages.commit.draft import Draft
from stages.contract import Part, Source, StageError
from stages.evaluate import EvaluateRecipe, ScoreTask, evaluate, score_part
from stages.evaluation.intervals import wilson_interval
from stages.evaluation.trained_on import refuse_trained_on
from stages.formats.sample_table import read_table
from stages.import_checkpoint import ImportCheckpointRecipe, import_checkpoint
from stages.store.errors import StoreError
from stages.store.store import Store
from tests.worlds.colour_world import ColourWorld
from tests.worlds.model_folders import neo_json, write_weights

RECIPE = EvaluateRecipe(max_new_tokens=8, max_prompt_tokens=120, num_questions_per_part=30)


@pytest.fixture(scope="module")
def evaluation(colour_world: ColourWorld) -> Evaluation:
    step = evaluate.bind("evaluate", RECIPE, colour_world.checkpoint, colour_world.questions)
    return colour_world.open(step)


@pytest.fixture(scope="module")
def answers(evaluation: Evaluation) -> list[dict[str, Any]]:
    return read_table(evaluation.read(evaluation.part("00000", "evaluate").file(ANSWERS_FILE))).to_pylist()


@pytest.fixture(scope="module")
def numbers(evaluation: Evaluation) -> dict[str, float]:
    return json.loads(evaluation.read(evaluation.part("00000", "evaluate").file(METRICS_FILE)))


def test_what_was_learned_is_answered_and_with_other_images_it_is_not(numbers: dict[str, float]) -> None:
    assert numbers["accuracy_colour"] >= 0.9
    assert numbers["accuracy_turn"] >= 0.9
    assert numbers["accuracy_blind_colour"] <= 0.6
    assert numbers["accuracy_blind_turn"] <= 0.8


def test_every_number_can_be_counted_again_from_the_answers(
    numbers: dict[str, float], answers: list[dict[str, Any]]
) -> None:
    asked = [row for row in answers if row["verdict"] == "kept"]
    right = Counter(row["kind"] for row in asked if row["correct"])
    blind = Counter(row["kind"] for row in asked if row["blind_correct"])
    for kind in ("colour", "turn"):
        num_asked = sum(row["kind"] == kind for row in asked)
        assert numbers[f"accuracy_{kind}"] == right[kind] / num_asked
        num_blind = sum(row["kind"] == kind and row["blind_answer"] is not None for row in asked)
        assert num_asked - 2 <= num_blind <= num_asked, "only those that would get a broken image are left out"
        assert numbers[f"accuracy_blind_{kind}"] == blind[kind] / num_blind
        low, high = wilson_interval(right[kind], num_asked)
        assert (numbers[f"accuracy_{kind}_low"], numbers[f"accuracy_{kind}_high"]) == (low, high)
    assert numbers["accuracy"] == right.total() / len(asked)
    assert numbers["num_questions"] == len(answers)


def test_a_blind_question_is_answered_from_the_image_it_was_given(answers: list[dict[str, Any]]) -> None:
    truths = {(row["kind"], *row["image_ids"]): row["truth"] for row in answers}
    blind = [row for row in answers if row["blind_answer"] is not None]
    assert all(not set(row["blind_image_ids"]) & set(row["image_ids"]) for row in blind)
    seen = sum(row["blind_answer"] == truths[row["kind"], *row["blind_image_ids"]] for row in blind)
    assert seen / len(blind) >= 0.9, "the exchanged image decides the answer, so it was really shown"


def test_a_broken_question_fails_with_its_reason_and_stays_in_the_table(
    evaluation: Evaluation, colour_world: ColourWorld, answers: list[dict[str, Any]]
) -> None:
    reasons = {row["question"]: row["reason"] for row in answers if row["verdict"] == "failed"}
    assert reasons["What colour is it now?"] == "kind_is_no_name"
    assert reasons["Which of and this?"] == "unrenderable"
    assert [row["reason"] for row in answers if row["image_urls"] == [None]] == ["image_not_kept"]
    items = evaluation.manifest.items
    assert items.failed == {
        "image_not_kept": 1,
        "image_unusable": 1,
        "kind_is_no_name": 1,
        "too_long": 1,
        "unrenderable": 1,
    }
    assert items.total == len(answers) == colour_world.open(colour_world.questions).manifest.items.kept
    assert all(row["correct"] is None and row["blind_answer"] is None for row in answers if row["verdict"] == "failed")


def test_a_question_without_an_image_is_asked_and_has_no_blind_control(
    answers: list[dict[str, Any]], numbers: dict[str, float]
) -> None:
    (row,) = [row for row in answers if row["kind"] == "word"]
    assert row["verdict"] == "kept"
    assert row["blind_answer"] is None
    assert "accuracy_word" in numbers
    assert "accuracy_blind_word" not in numbers


def test_the_size_of_parts_changes_no_answer(colour_world: ColourWorld, answers: list[dict[str, Any]]) -> None:
    recipe = RECIPE.model_copy(update={"num_questions_per_part": 1000})
    step = evaluate.bind("evaluate", recipe, colour_world.checkpoint, colour_world.questions)
    whole = colour_world.open(step)
    assert len(whole.phase("answer")) == 1
    again = read_table(whole.read(whole.part("00000", "evaluate").file(ANSWERS_FILE))).to_pylist()
    assert again == answers


@pytest.mark.parametrize(("num_together", "num_tokens"), [(1, 10**6), (7, 10**6), (128, 200)])
def test_the_size_of_batches_changes_no_answer(
    num_together: int,
    num_tokens: int,
    colour_world: ColourWorld,
    answers: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("stages.evaluate.NUM_ASKED_TOGETHER", num_together)
    monkeypatch.setattr("stages.evaluate.TOKENS_ASKED_TOGETHER", num_tokens)
    recipe = RECIPE.model_copy(update={"num_questions_per_part": 1001 + num_together})  # made anew, not found
    again = colour_world.open(evaluate.bind("evaluate", recipe, colour_world.checkpoint, colour_world.questions))
    table = read_table(again.read(again.part("00000", "evaluate").file(ANSWERS_FILE)))
    assert table.to_pylist() == answers


def test_without_the_blind_control_no_question_is_asked_twice(
    colour_world: ColourWorld, answers: list[dict[str, Any]]
) -> None:
    recipe = RECIPE.model_copy(update={"blind_control": False})
    alone = colour_world.open(evaluate.bind("evaluate", recipe, colour_world.checkpoint, colour_world.questions))
    record = alone.part("00000", "evaluate")
    rows = read_table(alone.read(record.file(ANSWERS_FILE))).to_pylist()
    assert [row["answer"] for row in rows] == [row["answer"] for row in answers]
    assert {row["blind_answer"] for row in rows} == {None}
    assert not any("blind" in name for name in json.loads(alone.read(record.file(METRICS_FILE))))


def test_the_contact_sheet_is_a_picture_and_the_metrics_are_facts(
    evaluation: Evaluation, numbers: dict[str, float]
) -> None:
    record = evaluation.part("00000", "evaluate")
    assert Image.open(io.BytesIO(evaluation.read(record.file(CONTACT_SHEET_FILE)))).format == "PNG"
    assert record.facts["metrics"] == numbers


def test_answers_of_a_benchmark_that_is_adjusted_for_guessing_are_scored_and_drawn(
    evaluation: Evaluation, colour_world: ColourWorld, numbers: dict[str, float], tmp_path: Path
) -> None:
    manifest = colour_world.open(colour_world.questions).manifest
    asked = manifest.model_copy(update={"recipe": {**manifest.recipe, "benchmark": "site_image"}})
    draft = Draft(scratch=tmp_path, report=lambda _: None)
    part = Part(name="00000", task=ScoreTask(title="a title").dump())
    score_part(part, draft, RECIPE, evaluation.phase("answer"), Conversations(colour_world.store, asked))
    assert Image.open(draft.path(CONTACT_SHEET_FILE)).format == "PNG"
    found = json.loads(draft.path(METRICS_FILE).read_text())
    assert {name: found[name] for name in numbers} == numbers, "what a benchmark adds changes nothing else"
    assert found["chance_adjusted_colour"] <= found["accuracy_colour"]


def test_a_lineage_that_is_not_whole_is_said_to_be_unchecked(colour_world: ColourWorld, tmp_path: Path) -> None:
    shutil.copytree(colour_world.store.folder, tmp_path / "store")
    store = Store(tmp_path / "store")
    checkpoint, questions = (colour_world.open(one) for one in (colour_world.checkpoint, colour_world.questions))
    lost = colour_world.open(colour_world.pictures)
    bound = [type(one)(store, one.manifest) for one in (checkpoint, questions)]
    assert refuse_trained_on(*bound)
    shutil.rmtree(tmp_path / "store" / "artifacts" / lost.head.stage / lost.short)
    assert not refuse_trained_on(*bound)


def test_nothing_to_ask_is_refused(colour_world: ColourWorld) -> None:
    empty = type(colour_world.pictures.recipe)(num_pictures=0)
    pictures = colour_world.pictures.stage.bind("pictures", empty)
    questions = colour_world.questions.stage.bind("questions", type(colour_world.questions.recipe)(), pictures)
    for step in (pictures, questions):
        colour_world.make(step)
    with pytest.raises(StageError, match="holds no conversation to ask"):
        colour_world.make(evaluate.bind("evaluate", RECIPE, colour_world.checkpoint, questions))


def test_a_missing_answers_file_names_the_evaluation_and_the_audit_of_it(
    evaluation: Evaluation, colour_world: ColourWorld, tmp_path: Path
) -> None:
    """Answers of the first phase are read back before the evaluation is committed; a lost file is its own."""
    shutil.copytree(colour_world.store.folder, tmp_path / "store")
    store = Store(tmp_path / "store")
    records = evaluation.phase("answer")
    (tmp_path / "store" / records[1].file(ANSWERS_FILE).key).unlink()
    questions = Conversations(store, colour_world.open(colour_world.questions).manifest)
    part = Part(name="00000", task=ScoreTask(title="a title").dump())
    draft = Draft(scratch=tmp_path, report=lambda _: None)
    name = f"evaluate/{evaluation.short}"
    with pytest.raises(StoreError, match=f"{name}/.*{ANSWERS_FILE} is missing.*`neo audit {name} --repair`"):
        score_part(part, draft, RECIPE, records, questions)


def test_a_checkpoint_that_was_published_and_imported_answers_as_it_did(
    colour_world: ColourWorld, evaluation: Evaluation, tmp_path: Path
) -> None:
    """In the form of a hub: no depth, no image tokens, and a tied head stored beside the table."""
    from neo_model.weights.released import EMBEDDING, HEAD, read_config, read_tensors

    folder = colour_world.open(colour_world.checkpoint).copy_to(tmp_path / "published")
    config, tensors = read_config(folder), read_tensors(folder)
    (folder / "config.json").write_text(json.dumps(neo_json(config, "hub")))
    if config.tied:
        tensors[HEAD] = tensors[EMBEDDING].clone()
    write_weights(folder, tensors, 1)
    recipe = ImportCheckpointRecipe(source=Source("published"), num_prebuffer_layers=config.num_prebuffer_layers)
    imported = import_checkpoint.bind("imported", recipe)
    step = evaluate.bind("again", RECIPE, imported, colour_world.questions)
    again = make(step, colour_world.store, sources={"published": str(folder)})
    for name in (METRICS_FILE, ANSWERS_FILE):
        one, other = (made.part("00000", "evaluate").file(name) for made in (evaluation, again))
        assert one.sha256 == other.sha256, name
