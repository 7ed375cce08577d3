"""Identity: equal recipes have equal bytes everywhere, different ones never do, and what is unstable is refused."""

import datetime
import enum
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.artifacts.fingerprint import UnstableValueError, canonical_bytes, digest, fingerprint
from stages.contract import GangLayout, Recipe

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


class Shade(enum.Enum):
    LIGHT = "light"
    DARK = "dark"


class World(Recipe):
    seed: int = 0
    sizes_px: tuple[int, ...] = (64, 96)


class CutRecipe(Recipe):
    origin: World
    min_side_px: int = 64
    shade: Shade = Shade.LIGHT
    shares: Mapping[str, float] = {}


class CutRecipeOfTomorrow(CutRecipe):
    max_aspect: float | None = None


class Drawn(Recipe):
    origin: Literal["drawn"] = "drawn"
    seed: int = 0


class Photographed(Recipe):
    origin: Literal["photographed"] = "photographed"
    seed: int = 0


class AnyOriginRecipe(Recipe):
    source: Drawn | Photographed


@given(PLAIN, st.randoms())
def test_the_order_of_keys_does_not_matter_and_the_bytes_parse_back(value: Any, chance: Any) -> None:
    assert canonical_bytes(_reordered(value, chance)) == canonical_bytes(value)
    assert json.loads(canonical_bytes(value)) == value


@given(PLAIN, PLAIN)
def test_different_values_have_different_bytes(one: Any, other: Any) -> None:
    if one != other:
        assert canonical_bytes(one) != canonical_bytes(other)


def test_bytes_are_the_same_in_another_process_and_release() -> None:
    recipe = CutRecipe(origin=World(seed=7), shares={"text": 0.3, "pairs": 0.7}, shade=Shade.DARK)
    expected = b'{"origin":{"seed":7},"shade":"dark","shares":{"pairs":0.7,"text":0.3}}'
    assert canonical_bytes(recipe) == expected
    code = "from stages.artifacts.fingerprint import digest; print(digest({'b': {'y': 1, 'x': [0.1, 'e']}, 'a': None}))"
    values = {
        subprocess.run(
            [sys.executable, "-c", code], env=os.environ | {"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout
        for seed in ("1", "2")
    }
    assert values == {hashlib.sha256(b'{"a":null,"b":{"x":[0.1,"e"],"y":1}}').hexdigest().encode() + b"\n"}


def test_a_new_field_at_its_default_renames_nothing() -> None:
    today = CutRecipe(origin=World(seed=7), min_side_px=32)
    tomorrow = CutRecipeOfTomorrow(origin=World(seed=7), min_side_px=32)
    assert canonical_bytes(tomorrow) == canonical_bytes(today)
    assert canonical_bytes(CutRecipeOfTomorrow(origin=World(seed=7), max_aspect=3.0)) != canonical_bytes(today)


def test_saying_a_default_aloud_changes_nothing() -> None:
    aloud = CutRecipe(origin=World(sizes_px=(64, 96)), min_side_px=64, shade=Shade("light"), shares={})
    assert canonical_bytes(aloud) == canonical_bytes(CutRecipe(origin=World())) == b'{"origin":{}}'


def test_two_types_under_one_field_are_told_apart_by_their_tag() -> None:
    drawn, photographed = AnyOriginRecipe(source=Drawn(seed=7)), AnyOriginRecipe(source=Photographed(seed=7))
    assert canonical_bytes(drawn) != canonical_bytes(photographed)


def test_stage_number_recipe_and_inputs_all_take_part() -> None:
    recipe = CutRecipe(origin=World(seed=7))
    base = fingerprint("cut", 1, recipe, {"raw": "a" * 64})
    others = {
        fingerprint("dice", 1, recipe, {"raw": "a" * 64}),
        fingerprint("cut", 2, recipe, {"raw": "a" * 64}),
        fingerprint("cut", 1, CutRecipe(origin=World(seed=8)), {"raw": "a" * 64}),
        fingerprint("cut", 1, recipe, {"raw": "b" * 64}),
        fingerprint("cut", 1, recipe, {"row": "a" * 64}),
        fingerprint("cut", 1, recipe, {}),
    }
    assert len(base) == 64
    assert len(others - {base}) == 6


@pytest.mark.parametrize(
    "value",
    [
        {1, 2},
        b"bytes",
        Path("data"),
        datetime.datetime(2026, 11, 22),
        len,
        lambda: 0,
        object(),
        float("nan"),
        float("inf"),
        {1: "number as key"},
        "lone surrogate \ud800",
        {"lone surrogate \ud800": 1},
    ],
    ids=lambda value: ascii(value).partition(" at 0x")[0][:24],
)
def test_what_has_no_stable_form_is_refused_by_the_name_of_its_field(value: Any) -> None:
    with pytest.raises(UnstableValueError, match=r"recipe\.deep\[1\]"):
        canonical_bytes({"deep": [0, value]})


def test_hardware_is_no_recipe() -> None:
    assert not issubclass(GangLayout, Recipe)


def test_a_recipe_takes_no_unknown_key_and_no_number_that_is_not_finite() -> None:
    with pytest.raises(ValueError, match="min_sid_px"):
        CutRecipe(origin=World(), min_sid_px=3)  # type: ignore[call-arg]
    with pytest.raises(ValueError, match="finite"):
        CutRecipeOfTomorrow(origin=World(), max_aspect=float("inf"))


def test_a_digest_is_sha256_in_hex() -> None:
    assert digest({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def _reordered(value: Any, chance: Any) -> Any:
    if isinstance(value, dict):
        items = [(key, _reordered(item, chance)) for key, item in value.items()]
        chance.shuffle(items)
        return dict(items)
    if isinstance(value, list):
        return [_reordered(item, chance) for item in value]
    return value
