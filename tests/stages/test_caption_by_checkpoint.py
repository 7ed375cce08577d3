"""A NEO that has learned colours writes captions, which stand in place of the old ones; nothing is asked twice."""

from pathlib import Path
from typing import Any

import pytest

from stages import caption_by_checkpoint as stage_file
from stages.artifacts.kinds import KeptPairs
from stages.caption_by_checkpoint import CaptionByCheckpointRecipe, caption_by_checkpoint
from stages.contract import StageError, Step
from stages.formats.pairs import PairReader
from tests.worlds.colour_world import COLOURS, ColourWorld

RECIPE = CaptionByCheckpointRecipe(prompt="What colour is it?", max_new_tokens=8, num_at_once=7)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEO_CAPTION_CACHE", str(tmp_path / "captions.sqlite"))


def step(world: ColourWorld, **changes: Any) -> Step[KeptPairs]:
    recipe = RECIPE.model_copy(update=changes)
    return caption_by_checkpoint.bind("captions", recipe, world.pictures, world.checkpoint)


def test_the_captions_are_what_the_model_has_learned(colour_world: ColourWorld) -> None:
    made = colour_world.open(step(colour_world))
    reader = PairReader(made)
    captions = {pair.sample_id: pair.caption for pair in reader}
    truth = {pair.sample_id: pair.caption for pair in PairReader(colour_world.open(colour_world.pictures))}
    assert made.manifest.items.failed == {"picture_unreadable": 1}
    right = sum(captions[one] == truth[one] for one in captions)
    assert len(captions) == 36 and right >= 33 and set(captions.values()) <= set(COLOURS)
    table = reader.read_table(reader.parts[0])
    model = colour_world.open(colour_world.checkpoint)
    assert set(table["caption_by"].to_pylist()) == {f"{model.stage}/{model.short}"}
    assert table["original_caption"].to_pylist() == [truth[one] for one in table["sample_id"].to_pylist()]


def test_answers_of_an_interrupted_part_are_not_asked_for_again(
    colour_world: ColourWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = step(colour_world, max_new_tokens=7)
    plain, asked = stage_file.ask_together, []

    def counting(answerer: Any, sample_ids: Any, words: Any) -> Any:
        if len(asked) == 3:
            raise RuntimeError("killed")
        asked.append(len(sample_ids))
        return plain(answerer, sample_ids, words)

    monkeypatch.setattr(stage_file, "ask_together", counting)
    with pytest.raises(RuntimeError, match="killed"):
        colour_world.open(again)
    before = sum(asked)
    monkeypatch.setattr(stage_file, "ask_together", plain)
    made = colour_world.open(again)
    (part,) = made.parts
    assert before == 21 and made.manifest.items.kept == 36
    assert part.made_by["num_asked"] == 37 - before


def test_a_caption_that_is_too_long_is_cut_and_a_prompt_that_is_too_long_is_rejected(colour_world: ColourWorld) -> None:
    cut = colour_world.open(step(colour_world, max_new_tokens=1, max_share_lost=1.0))
    assert cut.manifest.items.kept == 0 and cut.manifest.items.dropped["caption_cut"] == 36
    with pytest.raises(StageError, match="request_rejected"):
        colour_world.open(step(colour_world, max_prompt_tokens=4))
    kept = colour_world.open(step(colour_world, max_prompt_tokens=4, without_caption="keep_original"))
    assert kept.manifest.items.kept == 37
    assert {pair.caption for pair in PairReader(kept)} <= set(COLOURS)


def test_the_captioner_takes_part_in_identity(colour_world: ColourWorld) -> None:
    assert step(colour_world).fingerprint == step(colour_world, num_at_once=1).fingerprint
    assert step(colour_world).fingerprint != step(colour_world, prompt="Say red.").fingerprint
