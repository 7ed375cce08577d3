"""Stages and steps: what may be bound to what, what takes part in identity, and in which order a graph is walked."""

import dataclasses
import datetime
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict

from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import canonical_form
from stages.contract import (
    BindError,
    Recipe,
    Stage,
    StageContext,
    Step,
    load_stage,
    load_user_file,
    read_user_file,
    stage,
)


class Eggs(Artifact):
    """Eggs."""


class GoldenEggs(Eggs):
    """Eggs of gold, good for all that eggs are good for."""


class Flour(Artifact):
    """Flour."""


class Dough(Artifact):
    """Dough."""


class ShopRecipe(Recipe):
    amount: int = 1


class MixRecipe(Recipe):
    num_minutes: int = 3


@stage(number=1, recipe=ShopRecipe, makes=Eggs)
def buy_eggs(recipe: ShopRecipe, *, ctx: StageContext) -> None: ...


@stage(number=1, recipe=ShopRecipe, makes=GoldenEggs)
def find_golden_eggs(recipe: ShopRecipe, *, ctx: StageContext) -> None: ...


@stage(number=3, recipe=ShopRecipe, makes=Flour, accepts=(2,))
def grind_flour(recipe: ShopRecipe, *, ctx: StageContext) -> None: ...


@stage(number=1, recipe=MixRecipe, makes=Dough)
def knead(recipe: MixRecipe, base: Eggs | Flour, *, ctx: StageContext) -> None: ...


@stage(number=1, recipe=MixRecipe, makes=Dough)
def blend(recipe: MixRecipe, sources: Mapping[str, Eggs | Flour], *, ctx: StageContext) -> None: ...


@stage(number=1, recipe=MixRecipe, makes=Dough)
def layer(recipe: MixRecipe, sheets: Sequence[Dough], top: Eggs, *, ctx: StageContext) -> None: ...


@stage(number=1, recipe=MixRecipe, makes=Dough)
def season(
    recipe: MixRecipe,
    dough: Dough,
    spices: Mapping[str, Flour] | None,
    glaze: Eggs | Flour | None,
    *,
    ctx: StageContext,
) -> None: ...


EGGS = buy_eggs.bind("eggs", ShopRecipe())
FLOUR = grind_flour.bind("flour", ShopRecipe())


def test_a_stage_knows_its_inputs_from_the_annotations_of_its_function() -> None:
    assert [(slot.name, slot.kinds, slot.shape) for slot in layer.slots] == [
        ("sheets", (Dough,), "sequence"),
        ("top", (Eggs,), "one"),
    ]
    assert [(slot.name, slot.kinds, slot.shape) for slot in blend.slots] == [("sources", (Eggs, Flour), "mapping")]
    assert (grind_flour.name, grind_flour.number, grind_flour.accepts) == ("grind_flour", 3, (2,))


def test_edges_are_named_after_the_input_and_the_key_or_place_in_it() -> None:
    blended = blend.bind("blended", MixRecipe(), {"white": FLOUR, "egg": EGGS})
    kneaded = knead.bind("kneaded", MixRecipe(), FLOUR)
    layered = layer.bind("layered", MixRecipe(), [blended, kneaded], EGGS)
    assert list(blended.edges) == ["sources.egg", "sources.white"]
    assert layered.edges == {"sheets.0": blended, "sheets.1": kneaded, "top": EGGS}


def test_a_kind_that_extends_another_may_take_its_place() -> None:
    gold = find_golden_eggs.bind("gold", ShopRecipe())
    assert knead.bind("dough", MixRecipe(), gold).edges == {"base": gold}


@pytest.mark.parametrize(
    ("bind", "message"),
    [
        (lambda: knead.bind("d", MixRecipe(), knead.bind("k", MixRecipe(), EGGS)), "takes Eggs or Flour, but step 'k'"),
        (lambda: knead.bind("d", MixRecipe()), "knead reads base: Eggs or Flour; got 0 inputs"),
        (lambda: knead.bind("d", ShopRecipe(), EGGS), "knead takes a MixRecipe, got ShopRecipe"),
        (lambda: knead.bind("d", MixRecipe(), {"a": EGGS}), "input 'base' takes the step of Eggs or Flour, got {"),
        (lambda: blend.bind("d", MixRecipe(), EGGS), "input 'sources' takes a dictionary of Eggs or Flour, got"),
        (lambda: blend.bind("d", MixRecipe(), {"a": "eggs"}), "input 'sources.a' takes the step of"),
        (lambda: layer.bind("d", MixRecipe(), {"a": EGGS}, EGGS), "input 'sheets' takes a list of Dough, got"),
        (lambda: layer.bind("d", MixRecipe(), [EGGS], EGGS), "input 'sheets.0' takes a list of Dough, but step 'eggs'"),
    ],
)
def test_a_wrong_binding_names_step_input_and_what_was_expected(bind: object, message: str) -> None:
    with pytest.raises(BindError, match="^step 'd': ") as caught:
        bind()  # type: ignore[operator]
    assert message in str(caught.value)


def test_identity_is_stage_number_recipe_and_inputs_but_no_name() -> None:
    dough = knead.bind("dough", MixRecipe(), EGGS)
    assert knead.bind("called otherwise", MixRecipe(), EGGS).fingerprint == dough.fingerprint
    assert knead.bind("dough", MixRecipe(num_minutes=4), EGGS).fingerprint != dough.fingerprint
    more_eggs = buy_eggs.bind("eggs", ShopRecipe(amount=2))
    assert knead.bind("dough", MixRecipe(), more_eggs).fingerprint != dough.fingerprint
    assert FLOUR.fingerprint_under(3) == FLOUR.fingerprint != FLOUR.fingerprint_under(2)


def test_a_mapping_has_no_order_and_a_sequence_has_one() -> None:
    one, other = knead.bind("a", MixRecipe(), EGGS), knead.bind("b", MixRecipe(), FLOUR)
    assert (
        blend.bind("m", MixRecipe(), {"x": EGGS, "y": FLOUR}).fingerprint
        == blend.bind("m", MixRecipe(), {"y": FLOUR, "x": EGGS}).fingerprint
    )
    assert (
        layer.bind("l", MixRecipe(), [one, other], EGGS).fingerprint
        != layer.bind("l", MixRecipe(), [other, one], EGGS).fingerprint
    )


def test_a_graph_is_walked_inputs_first_and_each_step_once() -> None:
    left, right = knead.bind("left", MixRecipe(), EGGS), knead.bind("right", MixRecipe(), FLOUR)
    top = layer.bind("top", MixRecipe(), [left, right], EGGS)
    assert [step.name for step in top.walk()] == ["eggs", "left", "flour", "right", "top"]


def test_many_inputs_of_one_sequence_are_arranged_by_number() -> None:
    sheets = [object() for _ in range(12)]
    named = {f"sheets.{number}": sheet for number, sheet in enumerate(sheets)}
    shuffled = dict(sorted(named.items())) | {"top": "eggs"}
    assert layer.arrange(shuffled) == [sheets, "eggs"]  # type: ignore[arg-type]
    assert blend.arrange({"sources.b": 1, "sources.a": 2}) == [{"b": 1, "a": 2}]  # type: ignore[dict-item]


def test_an_input_that_may_be_absent_is_left_out_or_none_and_is_no_edge() -> None:
    dough = knead.bind("dough", MixRecipe(), EGGS)
    plain = season.bind("plain", MixRecipe(), dough)
    assert season.bind("plain", MixRecipe(), dough, None, None).edges == plain.edges == {"dough": dough}
    glazed = season.bind("glazed", MixRecipe(), dough, None, FLOUR)
    assert glazed.edges == {"dough": dough, "glaze": FLOUR} and glazed.fingerprint != plain.fingerprint
    spiced = season.bind("spiced", MixRecipe(), dough, {"pepper": FLOUR})
    assert spiced.edges == {"dough": dough, "spices.pepper": FLOUR}
    assert season.arrange({"dough": 1}) == [1, None, None]  # type: ignore[dict-item]
    assert season.arrange({"dough": 1, "spices.pepper": 2}) == [1, {"pepper": 2}, None]  # type: ignore[dict-item]


def test_what_may_be_absent_still_has_its_kinds() -> None:
    dough = knead.bind("dough", MixRecipe(), EGGS)
    with pytest.raises(BindError, match=r"'glaze' takes Eggs or Flour, but step 'dough'"):
        season.bind("d", MixRecipe(), dough, None, dough)
    with pytest.raises(BindError, match="got 0 inputs"):
        season.bind("d", MixRecipe())
    with pytest.raises(BindError, match="takes the step of Eggs or Flour, got None"):
        knead.bind("d", MixRecipe(), None)


def test_a_stage_travels_by_name_and_a_step_with_it() -> None:
    from stages.evaluate import evaluate

    assert pickle.loads(pickle.dumps(evaluate)) is evaluate  # noqa: S301
    assert load_stage("stages.evaluate:evaluate") is evaluate
    with pytest.raises(BindError, match="expected module:function"):
        load_stage("stages.evaluate:no_such_function")


def test_a_step_is_inert() -> None:
    def explode(recipe: ShopRecipe, *, ctx: StageContext) -> None:
        raise AssertionError("binding runs nothing")

    exploding: Stage[Eggs] = stage(number=1, recipe=ShopRecipe, makes=Eggs)(explode)
    assert isinstance(exploding.bind("boom", ShopRecipe()), Step)


class PathRecipe(Recipe):
    file: Path = Path("/data/pairs.jsonl")


class HoldingRecipe(Recipe):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    held: Any = 1


class NestedRecipe(Recipe):
    inner: PathRecipe = PathRecipe()


class BigShopRecipe(ShopRecipe):
    amount: int = 12


class OpenShopRecipe(ShopRecipe):
    hours: int = 8


def bought(recipe_type: type[Recipe]) -> Stage[Eggs]:
    return dataclasses.replace(buy_eggs, recipe_type=recipe_type)


def test_a_path_is_refused_at_its_default_too_with_what_to_do() -> None:
    told = r"step 'eggs': PathRecipe\.file is the path '/data/pairs\.jsonl'.*sources\.toml.*Source\(\"name\"\)"
    for recipe in (PathRecipe(), PathRecipe(file=Path("/data/pairs.jsonl"))):
        with pytest.raises(BindError, match=told):
            bought(PathRecipe).bind("eggs", recipe)
    with pytest.raises(BindError, match=r"step 'eggs': NestedRecipe\.inner\.file is the path"):
        bought(NestedRecipe).bind("eggs", NestedRecipe())


@pytest.mark.parametrize(
    "value", [b"bytes", len, lambda: 0, object(), {1, 2}, datetime.date(2026, 11, 29)], ids=range(6)
)
def test_what_could_mean_something_else_tomorrow_is_refused_where_it_is_bound(value: Any) -> None:
    with pytest.raises(BindError, match=r"step 'eggs': HoldingRecipe\.held is a \w+, which has no stable form; use"):
        bought(HoldingRecipe).bind("eggs", HoldingRecipe(held=value))


def test_the_defaults_of_a_recipe_made_from_the_declared_one_are_not_hidden() -> None:
    big = buy_eggs.bind("eggs", BigShopRecipe())
    assert big.recipe == ShopRecipe(amount=12)
    assert big.fingerprint == buy_eggs.bind("eggs", ShopRecipe(amount=12)).fingerprint
    with pytest.raises(BindError, match="buy_eggs takes a ShopRecipe, and not the class OpenShopRecipe .*hours"):
        buy_eggs.bind("eggs", OpenShopRecipe())


USERS = """
from stages.artifacts.kinds import TextDocuments
from stages.contract import Recipe, conduct, stage
from stages.toy_world.world import ToyWorld


class Shop(Recipe):
    street: str = "High Street"


class LoadRecipe(Recipe):
    limit: int = 3
    shop: Shop = Shop()
    world: ToyWorld = ToyWorld()
    max_share_lost: float = conduct(0.8)


@stage(number=1, recipe=LoadRecipe, makes=TextDocuments)
def load_pairs(recipe: LoadRecipe, *, ctx): ...
"""


def fingerprint_of(folder: Path, *, source: str = USERS, name: str = "mine.py", **fields: Any) -> str:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    module = load_user_file(read_user_file(path))
    return module.load_pairs.bind("pairs", module.LoadRecipe(**fields)).fingerprint


def test_every_field_and_the_code_of_a_users_stage_take_part_in_identity(tmp_path: Path) -> None:
    """Unlike those of a shipped stage, whose defaults are guarded by golden files."""
    first = fingerprint_of(tmp_path)
    others = [
        fingerprint_of(tmp_path, source=USERS.replace("limit: int = 3", "limit: int = 4")),
        fingerprint_of(tmp_path, source=USERS.replace("High Street", "Low Street")),
        fingerprint_of(tmp_path, source=USERS.replace("*, ctx): ...", "*, ctx):\n    print(recipe)")),
        fingerprint_of(tmp_path, source=USERS.replace("number=1", "number=2")),
        fingerprint_of(tmp_path, name="theirs.py"),
        fingerprint_of(tmp_path, limit=4),
    ]
    assert len({first, *others}) == 7
    assert fingerprint_of(tmp_path, name="copied/elsewhere/mine.py") == first
    assert fingerprint_of(tmp_path, limit=3) == first
    assert fingerprint_of(tmp_path, max_share_lost=0.9) == first
    module = load_user_file(read_user_file(tmp_path / "mine.py"))
    hashed = canonical_form(module.LoadRecipe(), whole=True)
    assert hashed["shop"] == {"street": "High Street"} and hashed["world"]["seed"] == 7 and len(hashed) == 3


def test_a_users_stage_travels_by_name_and_is_the_same_where_it_arrives(tmp_path: Path) -> None:
    fingerprint_of(tmp_path)
    loaded = load_user_file(read_user_file(tmp_path / "mine.py")).load_pairs
    assert pickle.loads(pickle.dumps(loaded)) is loaded  # noqa: S301  # made in the line itself
    assert loaded.code is not None and loaded.code.module == "mine" and buy_eggs.code is None


@stage(number=1, recipe=MixRecipe, makes=Dough, conduct_inputs=("tasted",))
def bake(recipe: MixRecipe, dough: Dough, tasted: Eggs | None, *, ctx: StageContext) -> None: ...


def test_an_input_that_is_conduct_takes_no_part_in_identity() -> None:
    dough, eggs = knead.bind("dough", MixRecipe(), buy_eggs.bind("eggs", ShopRecipe())), ShopRecipe(amount=2)
    plain, tasted = (
        bake.bind("bread", MixRecipe(), dough),
        bake.bind("bread", MixRecipe(), dough, buy_eggs.bind("t", eggs)),
    )
    assert plain.fingerprint == tasted.fingerprint
    assert [step.name for step in tasted.walk()] == ["eggs", "dough", "t", "bread"]
    assert bake.conduct_edges(tasted.edges) == ("tasted",)
    named = {name: step.fingerprint for name, step in tasted.edges.items()}
    assert bake.fingerprint(MixRecipe(), named, all_inputs=True) != plain.fingerprint


@pytest.mark.parametrize("names", [("tastde",), ("dough",)])
def test_an_input_that_is_conduct_may_be_left_out(names: tuple[str, ...]) -> None:
    with pytest.raises(BindError, match=rf"conduct_inputs names \['{names[0]}'\].*those are \['tasted'\]"):
        stage(number=1, recipe=MixRecipe, makes=Dough, conduct_inputs=names)(bake.function)
