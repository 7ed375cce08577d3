"""What `evaluate` was answered, transformers alone is answered by the exported folder: the same strings, all of them.

Of a finished store, `tiny/export` is asked the questions of `tiny/evaluate`: `NEO_FINISHED_STORE` names the store.
Without one, a model that has learned three colours is asked. `NEO_OTHER_TRANSFORMERS` is a Python with another version.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.artifacts.artifact import open_artifact
from stages.artifacts.kinds import ANSWERS_FILE, Conversations, Evaluation, ExportedCheckpoint
from stages.evaluate import EvaluateRecipe, evaluate
from stages.evaluation.questions import Question, read_questions
from stages.export import ExportRecipe, export
from stages.formats.pairs import PairReader, pictures_of
from stages.formats.sample_table import read_table
from stages.store.refs import read_ref
from stages.store.store import Store
from tests.worlds.colour_world import ColourWorld, make_colour_world

SCRIPT = Path(__file__).with_name("answers_alone.py")
PIPELINE = os.environ.get("NEO_FINISHED_PIPELINE", "tiny")


@pytest.fixture(scope="module", params=["three colours", "a finished store"])
def measured(request: Any, tmp_path_factory: Any) -> tuple[Evaluation, ExportedCheckpoint]:
    """An evaluation, and the export of the checkpoint that it asked."""
    if request.param == "three colours":
        world: ColourWorld = make_colour_world(tmp_path_factory.mktemp("colour_world"))
        recipe = EvaluateRecipe(max_new_tokens=6, num_cards=1)
        asked = evaluate.bind("asked", recipe, world.checkpoint, world.questions)
        exported = export.bind("export", ExportRecipe(), world.checkpoint, {"heldout": asked})
        return world.open(asked), world.open(exported)
    if "NEO_FINISHED_STORE" not in os.environ:
        pytest.skip("NEO_FINISHED_STORE names no store with a finished run of tiny")
    store = Store(os.environ["NEO_FINISHED_STORE"])
    found = []
    for step, kind in (("evaluate", Evaluation), ("export", ExportedCheckpoint)):
        at = read_ref(store, f"{PIPELINE}/{step}")
        assert at is not None, f"{PIPELINE}/{step} is not finished in {store.url}"
        found.append(open_artifact(store, at["stage"], at["fingerprint"], kind))
    return found[0], found[1]


@pytest.mark.parametrize("which", ["this transformers", "another"])
def test_every_answer_is_the_one_of_the_evaluation(
    measured: tuple[Evaluation, ExportedCheckpoint], which: str, tmp_path: Path
) -> None:
    python = sys.executable if which == "this transformers" else os.environ.get("NEO_OTHER_TRANSFORMERS")
    if not python:
        pytest.skip("NEO_OTHER_TRANSFORMERS names no Python with another version of transformers")
    evaluation, exported = measured
    asked, expected = write_asked(evaluation, tmp_path)
    environment = {**os.environ, "HF_HOME": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    command = [python, str(SCRIPT), str(exported.copy_to(tmp_path / "exported")), str(asked)]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    differing = [pair for pair in zip(told["answers"], expected, strict=True) if pair[0] != pair[1]]
    assert differing == [], f"{len(differing)} of {len(expected)} answers under {told['transformers']}"
    assert len(set(expected)) > 2, "the questions tell answers apart"
    print(f"{len(expected):,} answers are the same under transformers {told['transformers']}")


def write_asked(evaluation: Evaluation, folder: Path) -> tuple[Path, list[str]]:
    """The file that the script reads, and the answers of the evaluation to the same questions, in order."""
    conversations = evaluation.input("questions", Conversations)
    (record,) = evaluation.phase("evaluate")
    rows = read_table(evaluation.read(record.file(ANSWERS_FILE)), ["sample_id", "answer"]).to_pylist()
    answers = {row["sample_id"]: row["answer"] for row in rows if row["answer"] is not None}
    questions = [one for one in read_questions(conversations) if one.sample_id in answers]
    assert len(questions) == evaluation.head.items.kept
    reader = pictures_of(conversations)
    (folder / "pictures").mkdir()
    document = {
        "max_new_tokens": evaluation.head.recipe["max_new_tokens"],
        "conversations": [conversation(one, reader, folder / "pictures") for one in questions],
    }
    (folder / "asked.json").write_text(json.dumps(document))
    return folder / "asked.json", [answers[one.sample_id] for one in questions]


def conversation(question: Question, reader: PairReader, folder: Path) -> list[dict[str, Any]]:
    """The turns of a question in transformers' own form."""
    pictures = iter(question.image_ids)
    turns = []
    for message in question.messages:
        first, *further = message["content"].split(IMAGE_PLACEHOLDER)
        content = [{"type": "text", "text": first}] if first else []
        for text in further:
            image_id = next(pictures)
            path = folder / f"{image_id.hex()}.jpg"
            path.write_bytes(reader.image_of(reader.pair(image_id).image))
            content += [{"type": "image", "path": str(path)}, *([{"type": "text", "text": text}] if text else [])]
        turns.append({"role": message["role"], "content": content})
    assert next(pictures, None) is None
    return turns
