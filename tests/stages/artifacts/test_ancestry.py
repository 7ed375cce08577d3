"""The chain of manifests behind an artifact: complete, in order, refused where a parent is no longer what it was."""

import json
from typing import Any

import pytest

from stages.artifacts.ancestry import ancestry
from stages.evaluate import EvaluateRecipe, evaluate
from stages.store.errors import StoreError
from tests.worlds.colour_world import ColourWorld


@pytest.fixture
def evaluation(colour_world: ColourWorld) -> Any:
    recipe = EvaluateRecipe(max_new_tokens=4, num_cards=1)
    return colour_world.open(evaluate.bind("e", recipe, colour_world.checkpoint, colour_world.questions))


def test_inputs_come_before_what_reads_them_and_each_once(evaluation: Any) -> None:
    assert [manifest.stage for manifest in ancestry(evaluation)] == [
        "learn",
        "make_pictures",
        "make_questions",
        "evaluate",
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda manifest: manifest | {"content": "f" * 64}, "holds ffffffffffff, but make_questions/.* read as"),
        (lambda manifest: None, "make_pictures/.*, which make_questions/.* read as 'pictures', is not in"),
    ],
)
def test_a_parent_that_changed_or_went_is_named(
    evaluation: Any, colour_world: ColourWorld, change: Any, message: str
) -> None:
    pictures = colour_world.open(colour_world.pictures)
    path = colour_world.store.folder / pictures.folder / "manifest.json"
    whole = path.read_text()
    changed = change(json.loads(whole))
    try:
        path.unlink()
        if changed is not None:
            path.write_text(json.dumps(changed))
        with pytest.raises(StoreError, match=message):
            ancestry(evaluation)
    finally:
        path.write_text(whole)
