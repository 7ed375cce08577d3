"""An exported checkpoint stands on its own: it loads as its card says, holds the same weights and tells its origin."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from huggingface_hub import ModelCard
from pydantic import ValidationError

from pipelines.evidence.folder_check import check_folder
from stages.artifacts.head import head_of
from stages.artifacts.kinds import CARD_FILE, LINEAGE_FILE, Checkpoint, Conversations, ExportedCheckpoint
from stages.artifacts.manifest import manifest_bytes
from stages.contract import StageError, Step
from stages.evaluate import EvaluateRecipe, evaluate
from stages.export import ExportRecipe, differences, export
from stages.exporting.lineage import num_drawn_by_source
from stages.exporting.remote_code import remote_code
from stages.formats.pairs import PairReader
from stages.store.store import Store
from tests.stages.exporting.test_lineage_file import SCHEMA
from tests.worlds.colour_world import ColourWorld, LearnRecipe, learn

RECIPE = ExportRecipe(title="NEO of three colours")


@pytest.fixture(scope="module")
def exported(colour_world: ColourWorld) -> ExportedCheckpoint:
    return colour_world.open(export.bind("export", RECIPE, colour_world.checkpoint))


@pytest.fixture
def folder(exported: ExportedCheckpoint, tmp_path: Path) -> Path:
    return exported.copy_to(tmp_path / "exported")


def test_the_folder_holds_the_released_layout_and_its_papers(folder: Path) -> None:
    papers = {path.name for path in folder.iterdir()} - remote_code().keys()
    assert papers == {
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        CARD_FILE,
        LINEAGE_FILE,
    }


def test_the_weights_are_those_of_the_checkpoint(folder: Path, colour_world: ColourWorld, tmp_path: Path) -> None:
    from neo_model.weights.released import read_config, read_tensors

    source = colour_world.open(colour_world.checkpoint).copy_to(tmp_path / "source")
    assert differences(read_tensors(source), read_tensors(folder)) == []
    assert read_config(source) == read_config(folder)


def test_the_card_says_truly_how_to_load_it(folder: Path, colour_world: ColourWorld) -> None:
    reader = PairReader(colour_world.open(colour_world.pictures))
    pair = next(iter(reader))
    (folder / "picture.jpg").write_bytes(reader.image_of(pair.image))
    (code,) = re.findall(r"```python\n(.*?)```", (folder / CARD_FILE).read_text(), re.DOTALL)
    code = code.replace("What do you see?", "What colour is it?")
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == pair.caption, done.stderr


def test_card_and_lineage_name_every_artifact_behind_it(folder: Path, exported: ExportedCheckpoint) -> None:
    card, lineage = (folder / CARD_FILE).read_text(), json.loads((folder / LINEAGE_FILE).read_text())
    (read,) = exported.manifest.inputs.values()
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "# NEO of three colours" in card
    assert lineage["checkpoint"] == read.fingerprint
    assert [(each["stage"], each["content"]) for each in lineage["artifacts"]] == [("learn", read.content)]
    for each in lineage["artifacts"]:
        assert each["fingerprint"][:12] in card
        assert json.dumps(each["recipe"], indent=2, sort_keys=True) in card


def test_the_folder_can_be_verified_and_each_file_counts(folder: Path, exported: ExportedCheckpoint) -> None:
    """Its lineage lists every other file. A bit flipped in any of them is found, and in the lineage itself."""
    report = check_folder(folder)
    assert report.findings == [] and report.num_files == len(exported.model_files)
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 4]))
        assert [finding.path for finding in check_folder(folder).findings] == [path.name]
        path.write_bytes(whole)
    jsonschema.validate(json.loads((folder / LINEAGE_FILE).read_text()), SCHEMA)


def test_two_exports_are_equal_to_the_byte(
    exported: ExportedCheckpoint, colour_world: ColourWorld, tmp_path: Path
) -> None:
    shutil.copytree(colour_world.store.folder, tmp_path / "other")
    (tmp_path / "other" / exported.folder / "manifest.json").unlink()
    shutil.rmtree(tmp_path / "other" / exported.folder)
    other = replace(colour_world, store=Store(tmp_path / "other"))
    again = other.make(export.bind("called otherwise", RECIPE, colour_world.checkpoint))
    assert again.content == exported.manifest.content


def test_a_flipped_bit_in_the_checkpoint_is_not_exported(colour_world: ColourWorld, tmp_path: Path) -> None:
    shutil.copytree(colour_world.store.folder, tmp_path / "other")
    other = replace(colour_world, store=Store(tmp_path / "other"))
    weights = next(e for e in other.open(other.checkpoint).model_files if e.name.endswith(".safetensors"))
    path = tmp_path / "other" / weights.key
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    with pytest.raises(StageError, match=r"damaged in \['model/model.safetensors'\]"):
        other.make(export.bind("export", ExportRecipe(title="damaged"), other.checkpoint))


def test_tensors_differ_in_one_bit_in_type_in_shape_or_in_name() -> None:
    import torch

    one = {"a": torch.tensor([0.0, 1.0]), "b": torch.zeros(2), "c": torch.zeros(2, 3), "d": torch.zeros(1)}
    other = {"a": torch.tensor([-0.0, 1.0]), "b": torch.zeros(2).double(), "c": torch.zeros(3, 2), "e": torch.zeros(1)}
    assert differences(one, one) == []
    assert differences(one, other) == ["a", "b", "c", "d", "e"]


def test_a_draw_is_summed_by_source(exported: ExportedCheckpoint) -> None:
    plain = exported.manifest
    facts = [
        {"source": "text", "num_drawn": 3},
        {"source": "pairs", "num_drawn": 4},
        {"source": "text", "num_drawn": 5},
    ]
    part = plain.parts[0].model_copy(update={"phase": "draw"})
    parts = tuple(part.model_copy(update={"part": str(n), "facts": fact}) for n, fact in enumerate(facts))
    draw = plain.model_copy(update={"kind": "Draw", "parts": parts})
    assert num_drawn_by_source(head_of(manifest_bytes(draw))) == {"pairs": 4, "text": 8}
    assert num_drawn_by_source(exported.head) == {}


def test_scores_of_evaluations_stand_on_the_card(colour_world: ColourWorld, tmp_path: Path) -> None:
    asked = evaluate.bind("asked", EvaluateRecipe(max_new_tokens=4, num_cards=1), *asked_of(colour_world))
    recipe = ExportRecipe(title="scored", licence="mit", languages=("en",), base_models=("me/mine",))
    exported = colour_world.open(export.bind("scored", recipe, colour_world.checkpoint, {"held_out": asked}))
    folder = exported.copy_to(tmp_path / "exported")
    card = ModelCard.load(folder / CARD_FILE)
    (result,) = [one for one in card.data.eval_results if one.metric_type == "accuracy"]
    assert (result.dataset_name, result.metric_args["num_questions"]) == ("held_out", 74)
    assert result.metric_args["low_95"] <= result.metric_value <= result.metric_args["high_95"]
    assert (card.data.license, card.data.language, card.data.base_model) == ("mit", ["en"], ["me/mine"])
    examined = card.text.partition("## What it was only examined on")[2].partition("\n## ")[0]
    assert "`make_questions" in examined and "`make_pictures" in examined and "learn " not in examined
    lineage = json.loads((folder / LINEAGE_FILE).read_text())
    assert [one["stage"] for one in lineage["evaluated"]] == ["make_pictures", "make_questions", "evaluate"]


def test_an_evaluation_of_another_checkpoint_is_refused(colour_world: ColourWorld) -> None:
    other = learn.bind("other", LearnRecipe(num_steps=1))
    _, questions = asked_of(colour_world)
    asked = evaluate.bind("asked", EvaluateRecipe(max_new_tokens=1, num_cards=1), other, questions)
    with pytest.raises(StageError, match=r"evaluation 'held_out' \(.*\) measured learn/.*is exported: bind the"):
        colour_world.make(export.bind("export", RECIPE, colour_world.checkpoint, {"held_out": asked}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"licence": "my licence"}, {"licence_link": "javascript:x"}, {"base_models": ("only-name",)},
        {"languages": ("english",)}, {"datasets": ("a/b/c",)}, {"title": ""},
        {"title": "NEO\x85two"}, {"licence": "other", "licence_link": "LICENSE"}, {"licence": "my-own-1.0"},
    ],
)  # fmt: skip
def test_what_no_hub_would_take_is_refused_when_it_is_written(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ExportRecipe(**wrong)


def asked_of(world: ColourWorld) -> tuple[Step[Checkpoint], Step[Conversations]]:
    return world.checkpoint, world.questions
