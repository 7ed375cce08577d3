"""An evaluation with pairs of its own: every number can be counted again from the vectors, and no pair vanishes."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from neo_model.inputs.batch import Document
from pipelines.running.scores import retrieval_table
from stages.artifacts.kinds import METRICS_FILE, Evaluation
from stages.contract import StageError
from stages.evaluate import EvaluateRecipe, evaluate
from stages.evaluation.retrieval.embedding import VECTORS_FILE, EmbedTask, ReadPair, embed_pairs
from stages.exporting.scores import UNTRAINED_PAIRS, Measured, scores_of
from stages.formats.pairs import Pair, PairReader
from stages.formats.sample_table import read_table
from tests.stages.toy_world.test_train_toy_llm import FolderDraft
from tests.worlds.colour_world import ColourWorld, PicturesRecipe, make_pictures

RECIPE = EvaluateRecipe(
    max_new_tokens=1, max_prompt_tokens=120, blind_control=False, num_questions_per_part=15, num_cards=1
)
PAIRS = make_pictures.bind("pairs", PicturesRecipe(num_pictures=40, broken=("broken", "also broken"), says_turn=True))


def asked(world: ColourWorld, recipe: EvaluateRecipe = RECIPE) -> Evaluation:
    world.make(PAIRS)
    return world.open(evaluate.bind("evaluate", recipe, world.checkpoint, world.questions, PAIRS))


def numbers_of(evaluation: Evaluation) -> dict[str, float]:
    return json.loads(evaluation.read(evaluation.part("00000", "evaluate").file(METRICS_FILE)))


@pytest.fixture(scope="module")
def evaluation(colour_world: ColourWorld) -> Evaluation:
    return asked(colour_world)


@pytest.fixture(scope="module")
def rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    parts = evaluation.phase("embed")
    assert [record.items.total for record in parts] == [15, 15, 12]
    return [row for record in parts for row in read_table(evaluation.read(record.file(VECTORS_FILE))).to_pylist()]


def test_every_recall_can_be_counted_again_from_the_vectors(evaluation: Evaluation, rows: list[dict[str, Any]]) -> None:
    numbers, kept = numbers_of(evaluation), [row for row in rows if row["verdict"] == "kept"]
    assert (numbers["num_retrieval_pairs"], numbers["num_retrieval_failed"]) == (42, 2)
    assert numbers["num_retrieval_captions"] == len({row["caption"] for row in kept}) == 6
    assert numbers["num_retrieval_pictures"] == len({row["picture"] for row in kept})
    for of, other, way in (("picture", "caption", "image_to_text"), ("caption", "picture", "text_to_image")):
        vectors = {row[other]: np.array(row[f"{other}_vector"]) for row in reversed(kept)}
        mine = {row[of]: np.array(row[f"{of}_vector"]) for row in reversed(kept)}
        for k in (1, 5):
            hits = 0
            for digest, vector in mine.items():
                right = {row[other] for row in kept if row[of] == digest}
                nearest = sorted(vectors, key=lambda one, vector=vector: -float(vector @ vectors[one]))[:k]
                hits += bool(right & set(nearest))
            assert numbers[f"{way}_r{k}"] == pytest.approx(hits / len(mine))


def test_vectors_are_of_length_one_and_broken_pairs_have_none(rows: list[dict[str, Any]]) -> None:
    assert [row["reason"] for row in rows if row["verdict"] == "failed"] == ["image_unusable"] * 2
    for row in rows:
        for name in ("picture_vector", "caption_vector"):
            assert row[name] is None if row["verdict"] == "failed" else abs(np.linalg.norm(row[name]) - 1) < 1e-5


@dataclass
class NotFinite:
    """Vectors of which some are no numbers, as a network of broken weights makes them."""

    pairs: PairReader
    broken: dict[int, float]
    """Number of a pair to what stands in the vector of its picture, or of its caption, in turn."""

    def read(self, pair: Pair) -> ReadPair:
        return ReadPair(Document(token_ids=[0], supervised=[False], grids=[]), np.zeros((0, 0), np.uint8))

    def vectors(self, pairs: list[ReadPair]) -> tuple[np.ndarray, np.ndarray]:
        sides = np.eye(len(pairs), dtype=np.float32), np.eye(len(pairs), dtype=np.float32)
        for number, value in self.broken.items():
            sides[number % 2][number, 0] = value
        return sides


def test_a_pair_whose_vectors_are_no_numbers_is_failed_and_looked_up_by_none(
    colour_world: ColourWorld, tmp_path: Path
) -> None:
    colour_world.make(PAIRS)
    pairs = PairReader(colour_world.open(PAIRS))
    (part,) = pairs.parts
    for name, broken in {"some": {2: np.nan, 5: np.inf}, "all": dict.fromkeys(range(9), np.nan)}.items():
        draft: Any = FolderDraft(tmp_path / name)
        vectors: Any = NotFinite(pairs, broken)
        embed_pairs(draft, EmbedTask(of_part=part, start=0, stop=9), vectors)
        rows = read_table((tmp_path / name / VECTORS_FILE).read_bytes()).to_pylist()
        assert [number for number, row in enumerate(rows) if row["reason"] == "not_finite"] == list(broken)
        assert all((row["picture_vector"] is None) == (row["caption_vector"] is None) for row in rows)
        assert draft.items.failed == {"not_finite": len(broken)} and draft.items.kept == 9 - len(broken)


def test_where_no_pair_has_vectors_the_table_says_how_many_were_not_looked_up() -> None:
    table = retrieval_table({"num_retrieval_pairs": 9, "num_retrieval_failed": 9, "num_retrieval_pictures": 0})
    assert table is not None and table.cells(0) == ["not looked up: 9 pairs"]


def test_the_size_of_parts_changes_no_number_and_the_first_pairs_are_taken(
    colour_world: ColourWorld, evaluation: Evaluation
) -> None:
    whole = numbers_of(asked(colour_world, RECIPE.model_copy(update={"num_questions_per_part": 1000})))
    assert whole == pytest.approx(numbers_of(evaluation), abs=1e-6)
    few = numbers_of(asked(colour_world, RECIPE.model_copy(update={"num_retrieval_pairs": 20})))
    assert few["num_retrieval_pairs"] == 20


def test_a_checkpoint_that_was_not_trained_for_it_is_measured_and_the_tables_say_so(evaluation: Evaluation) -> None:
    numbers = numbers_of(evaluation)
    assert numbers["trained_for_retrieval"] == 0
    table = retrieval_table(numbers)
    assert table is not None and table.num_rows == 7
    assert table.columns[0].heading == "retrieval (not trained for it)"
    assert table.cells(0)[-1] == "not looked up: 2 pairs"
    assert retrieval_table({**numbers, "trained_for_retrieval": 1}).columns[0].heading == "retrieval"
    shown = scores_of(Measured(name="n", benchmark=None, evaluation="e", questions="q", numbers=numbers))
    recalls = [score for score in shown if score.of == UNTRAINED_PAIRS]
    assert [score.metric for score in recalls[:2]] == ["image_to_text_r1", "image_to_text_r5"] and len(recalls) == 6
    assert recalls[0].value == numbers["image_to_text_r1"] and recalls[3].num_questions == 6


def test_without_pairs_nothing_is_looked_up_and_nothing_is_renamed(colour_world: ColourWorld) -> None:
    step = evaluate.bind("evaluate", RECIPE, colour_world.checkpoint, colour_world.questions)
    assert (
        step.fingerprint
        == evaluate.bind("e", RECIPE, colour_world.checkpoint, colour_world.questions, None).fingerprint
    )
    found = colour_world.open(step)
    assert not any("retrieval" in name for name in numbers_of(found))
    assert retrieval_table(numbers_of(found)) is None
    assert {record.phase for record in found.parts} == {"answer", "evaluate"}


def test_pairs_of_which_none_is_kept_are_refused(colour_world: ColourWorld) -> None:
    none = make_pictures.bind("none", PicturesRecipe(num_pictures=0))
    colour_world.make(none)
    with pytest.raises(StageError, match="holds no pair to look up"):
        colour_world.make(evaluate.bind("e", RECIPE, colour_world.checkpoint, colour_world.questions, none))
