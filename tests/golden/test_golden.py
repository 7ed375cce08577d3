"""What a stage's number promises: the same defaults, and the same bytes for the same input.

`tests/golden/<stage>.json` holds the defaults of each stage's recipe and, where its output is the same on every
machine, the content digest of what it makes of a small fixed input. A difference under the same number is a fault:
artifacts made before and after the change would have one name. Raise the stage's number, then write the file anew
with `pytest tests/golden --refresh-golden`, which refuses without it. New fields with a default need no new number. Of
a stage whose artifacts nobody has yet, delete the file and write it anew.
"""

import inspect
import json
import typing
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from cluster.local import make
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import canonical_form
from stages.contract import Stage, Step
from stages.download_pairs import DownloadPairsRecipe, download_pairs
from stages.filter_pairs import FilterPairsRecipe, filter_pairs
from stages.mix_samples import MixRecipe, mix_samples
from stages.pack_rows import PackRowsRecipe, pack_rows
from stages.read_conversations import ReadConversationsRecipe, read_conversations
from stages.read_text import ReadTextRecipe, read_text
from stages.store.store import Store
from stages.toy_world.train_toy_llm import ToyLlmRecipe, train_toy_llm
from stages.toy_world.world import ToyWorld

FOLDER = Path(__file__).parent
REQUIRED = "(required)"
PACKAGES = ("pillow", "pyarrow", "tokenizers")
"""Packages whose version alone may change the bytes of these outputs."""

WORLD = ToyWorld(seed=7, num_train_images=60, num_heldout_images=4, num_documents=20, num_text_conversations=10)


def fixed_steps() -> list[Step[Any]]:
    """Every stage that handles data on a small fixed input, inputs before what reads them."""
    pairs = download_pairs.bind("pairs", DownloadPairsRecipe(origin=WORLD, num_urls_per_part=32))
    kept = filter_pairs.bind("kept", FilterPairsRecipe(), pairs)
    text = read_text.bind("text", ReadTextRecipe(origin=WORLD, num_documents_per_part=16))
    chat = read_conversations.bind("chat", ReadConversationsRecipe(origin=WORLD), kept)
    shares = {"pairs": 4.0, "text": 3.0, "chat": 3.0}
    mixed = mix_samples.bind("mix", MixRecipe(shares=shares), {"pairs": kept, "text": text, "chat": chat})
    llm = train_toy_llm.bind("llm", ToyLlmRecipe(world=WORLD, hidden=32, num_layers=1, num_steps=1))
    recipe = PackRowsRecipe(max_row_tokens=1024, min_pixels_px=1024, max_pixels_px=65_536, num_rows_per_part=4)
    rows = pack_rows.bind("rows", recipe, mixed, llm)
    return [pairs, kept, text, chat, mixed, llm, rows]


STEPS = {step.stage.name: step for step in fixed_steps()}
ROUNDED = {"train_toy_llm"}
"""Stages whose output holds rounded sums, which differ between machines: only what others make of it is held fixed."""


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Content digest of what each fixed step makes, by stage name."""
    store = Store(tmp_path_factory.mktemp("golden"))
    return {name: make(step, store).manifest.content for name, step in STEPS.items()}


def test_defaults_and_output_are_those_of_the_number(
    stage_on_disk: Stage[Artifact], contents: Mapping[str, str], request: pytest.FixtureRequest
) -> None:
    file, now = FOLDER / f"{stage_on_disk.name}.json", described(stage_on_disk, contents)
    before = json.loads(file.read_text()) if file.is_file() else None
    if request.config.getoption("--refresh-golden", default=False):
        refuse_silent_change(before, now)
        file.write_text(json.dumps(now, indent=2) + "\n")
        return
    assert before is not None, "no golden file: pytest tests/golden --refresh-golden"
    refuse_silent_change(before, now)
    assert before["number"] == now["number"], "the number was raised: pytest tests/golden --refresh-golden"
    assert before["defaults"] == now["defaults"], "there are new fields: pytest tests/golden --refresh-golden"
    assert before.get("recipe") == now.get("recipe"), (
        "the fixed input was changed: pytest tests/golden --refresh-golden"
    )
    assert before.get("made_with") == now.get("made_with"), (
        "the packages that touch these bytes are not those that pyproject.toml pins: pip install -e '.[dev]', or raise "
        "the pins there and pytest tests/golden --refresh-golden"
    )


def test_no_golden_file_is_left_of_a_stage_that_went() -> None:
    sources = "".join(path.read_text() for path in (FOLDER.parents[1] / "stages").rglob("*.py"))
    assert [file.stem for file in FOLDER.glob("*.json") if f"\ndef {file.stem}(" not in sources] == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"defaults": {"min_side_px": 65}}, "default of min_side_px"),
        ({"defaults": {}}, "default of min_side_px"),
        ({"output": "b" * 64}, "other bytes"),
    ],
)
def test_a_change_under_the_same_number_is_refused(change: dict[str, Any], message: str) -> None:
    before = {
        "number": 1,
        "defaults": {"min_side_px": 64},
        "recipe": {},
        "output": "a" * 64,
        "made_with": {"pyarrow": "25.0.0"},
    }
    refuse_silent_change(before, before | {"defaults": {"min_side_px": 64, "new": 1}})
    refuse_silent_change(before, before | change | {"number": 2})
    refuse_silent_change(before, before | {"output": "b" * 64, "made_with": {"pyarrow": "26.0.0"}})
    with pytest.raises(AssertionError, match=message):
        refuse_silent_change(before, before | change)


def refuse_silent_change(before: dict[str, Any] | None, now: dict[str, Any]) -> None:
    """Raise where a default or the output changed and the number did not."""
    if before is None or before["number"] != now["number"]:
        return
    for name, value in before["defaults"].items():
        assert now["defaults"].get(name) == value, f"the default of {name} was {value}: raise the stage's number"
    same_input = before.get("recipe") == now.get("recipe") and before.get("made_with") == now.get("made_with")
    if same_input:
        assert before.get("output") == now.get("output"), "other bytes under the same number: raise the stage's number"


def described(stage: Stage[Artifact], contents: Mapping[str, str]) -> dict[str, Any]:
    """What the golden file of a stage holds."""
    found: dict[str, Any] = {"number": stage.number, "defaults": dict(defaults_of(stage.recipe_type))}
    if stage.name in STEPS.keys() - ROUNDED:
        found["recipe"] = canonical_form(STEPS[stage.name].recipe)
        found["made_with"] = {package: version(package) for package in PACKAGES}
        found["output"] = contents[stage.name]
    return found


def defaults_of(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Name and default of every field, and of every field of the models that the fields hold."""
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        yield prefix + name, REQUIRED if field.is_required() else canonical_form(default, name)
        for inner in models_in(field.annotation):
            yield from defaults_of(inner, f"{prefix}{name}:{inner.__name__}.")


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)
