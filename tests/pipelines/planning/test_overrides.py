"""`--set` reads values as the field's own type, and says what is wrong with those that do not fit."""

import enum
from collections.abc import Mapping

import pytest
from pydantic import Field

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import Pipeline, find_pipeline
from pipelines.planning.overrides import apply_settings
from stages.artifacts.kinds import TextDocuments
from stages.contract import Recipe, StageContext, stage
from tests.pipelines.conftest import TOYS


class Shade(enum.Enum):
    LIGHT = "light"
    DARK = "dark"


class Inner(Recipe):
    size: int = 1
    name: str = "x"


class ManyRecipe(Recipe):
    inner: Inner = Inner()
    shares: Mapping[str, float] = Field(default={"pairs": 0.7, "text": 0.3})
    shade: Shade = Shade.LIGHT
    steps: tuple[int, ...] = ()
    rate: float = 0.5
    limit: int | None = 4
    loud: bool = False


@stage(number=1, recipe=ManyRecipe, makes=TextDocuments)
def many(recipe: ManyRecipe, *, ctx: StageContext) -> None: ...


def with_settings(*settings: str) -> ManyRecipe:
    pipeline = Pipeline("p", "p", (many.bind("many", ManyRecipe()),))
    return apply_settings(pipeline, settings).steps["many"].recipe


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("many.inner.size=7", {"inner": Inner(size=7)}),
        ("many.inner.name=123", {"inner": Inner(name="123")}),
        ("many.shares.text=0.5", {"shares": {"pairs": 0.7, "text": 0.5}}),
        ('many.shares={"text": 1}', {"shares": {"text": 1.0}}),
        ("many.shade=dark", {"shade": Shade.DARK}),
        ("many.steps=[1, 2]", {"steps": (1, 2)}),
        ("many.rate=1e-4", {"rate": 1e-4}),
        ("many.limit=null", {"limit": None}),
        ("many.loud=true", {"loud": True}),
    ],
)
def test_a_value_is_read_as_its_field(setting: str, expected: dict) -> None:
    assert with_settings(setting) == ManyRecipe(**expected)


@pytest.mark.parametrize(
    ("setting", "complaint"),
    [
        ("mani.rate=1", r"no step 'mani' \(did you mean 'many'\?\)"),
        ("many.rat=1", r"ManyRecipe has no field 'rat' \(did you mean 'rate'\?\)"),
        ("many.inner.sise=1", r"Inner has no field 'sise' \(did you mean 'size'\?\)"),
        ("many.shares.txt=1", r"shares has no key 'txt' \(did you mean 'text'\?\)"),
        ("many.rate.x=1", "rate is 0.5, which has no fields"),
        ("many.rate=fast", "rate takes float, got 'fast'"),
        ("many.steps=2", r"steps takes tuple\[int, ...\], got '2'"),
        ("many.shade=grey", "shade takes Shade, got 'grey'"),
        ("many.rate=nan", "rate: Input should be a finite number"),
        ("many.rate", "write it as step.field=value"),
        ("many=3", "write it as step.field=value"),
    ],
)
def test_what_does_not_fit_is_refused(setting: str, complaint: str) -> None:
    with pytest.raises(BadCommandError, match=complaint):
        with_settings(setting)


def test_only_what_follows_a_changed_step_gets_another_name() -> None:
    before = find_pipeline(f"{TOYS}:whole")
    after = apply_settings(before, ["mix.num_repetitions=2"])
    changed = {name for name, step in after.steps.items() if step.fingerprint != before.steps[name].fingerprint}
    assert changed == {"mix", "rows", "weights", "evaluate"}


def test_an_option_of_img2dataset_is_told_by_our_name() -> None:
    with pytest.raises(BadCommandError, match="no field 'image_size': img2dataset's image_size is `resize_px` here"):
        apply_settings(find_pipeline("tiny"), ["pairs.image_size=256"])
