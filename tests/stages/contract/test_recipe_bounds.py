"""Every field of every recipe takes a hostile value, or refuses it in words: nothing raw gets out, and what is taken
has a fingerprint."""

from typing import Any

import pytest
from pydantic import ValidationError

from pipelines.planning.overrides import _with_field
from pipelines.planning.stage_catalog import AnyStage, shipped_stages
from stages.artifacts.fingerprint import UnstableValueError, canonical_bytes
from stages.contract import Recipe, Source
from stages.contract.recipe import LARGEST_BY_UNIT, LARGEST_INTEGER

TEXTS = (
    "99999999999999999999", "-99999999999999999999", "9" * 5_000, "1e308", "-1e308", "1e999", "NaN", "-Infinity", "-1",
    "0", "0.5", "true", "null", "", "\x1b[31m", "\u202e", "\x00", "../../etc/passwd", "[]", "{}",
    "[99999999999999999999]", '{"a": 1e308}', "[" * 2_000, '{"a": {"a": {"a": []}}}', "\udc80", "x" * 10_000,
    "[1e308]", "9223372036854775808",
)  # fmt: skip
"""What may be typed behind `--set STEP.FIELD=`."""
NEEDED = {
    "source": Source("mine"), "clip": Source("clip"), "model": "any", "shares": {"text": 1.0}, "num_steps": 4,
    "rows_per_step": 2,
}  # fmt: skip
"""Values of the fields that have no default."""


def recipe_of(stage: AnyStage) -> Recipe:
    fields = stage.recipe_type.model_fields
    made: Recipe = stage.recipe_type(**{name: NEEDED[name] for name, field in fields.items() if field.is_required()})
    return made


def numbers_in(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers_in(one)]
    if isinstance(value, list | tuple):
        return [number for one in value for number in numbers_in(one)]
    return [value] if isinstance(value, int | float) else []


@pytest.mark.parametrize("stage", shipped_stages().values(), ids=lambda stage: stage.name)
def test_a_hostile_value_is_taken_or_refused_in_words(stage: AnyStage) -> None:
    recipe = recipe_of(stage)
    for name in stage.recipe_type.model_fields:
        for text in TEXTS:
            try:
                changed = _with_field(recipe, [name], text)
                canonical_bytes(changed)
            except UnstableValueError as error:
                assert "recipe" in str(error)
            except ValueError as error:
                assert name in str(error), f"{stage.name}.{name}={text[:30]!r}: {error}"
            else:
                most = LARGEST_BY_UNIT["seed"] if name.endswith("seed") else LARGEST_INTEGER
                numbers = numbers_in(changed.model_dump()[name])
                assert all(abs(number) <= most for number in numbers), f"{stage.name}.{name}={text[:30]!r}"


class Wide(Recipe):
    """A recipe of a user's own."""

    side_px: int = 1
    """Side, in pixels."""
    wait_seconds: float = 1.0
    """Time, in seconds."""
    shares: dict[str, float] | None = None
    """Shares by name."""
    seeds: tuple[int, ...] = ()
    """Seeds of several draws."""
    numbers: tuple[int, ...] = ()
    """Other whole numbers."""


@pytest.mark.parametrize(
    ("field", "value", "most"),
    [
        ("side_px", 10**13, "1,000,000,000,000"),
        ("wait_seconds", 1e10, "9,000,000,000"),
        ("shares", {"a": 1e300}, "1,000,000,000,000,000"),
        ("seeds", (1, 2**64), "18,446,744,073,709,551,615"),
        ("numbers", (1, 2**63), "9,223,372,036,854,775,807"),
    ],
)
def test_a_number_beyond_what_can_be_carried_out_is_refused_with_the_largest(field: str, value: Any, most: str) -> None:
    with pytest.raises(ValidationError, match=f"{field}\n.*is beyond {most}"):
        Wide(**{field: value})
    assert Wide(side_px=10**12, wait_seconds=1.76e9, shares={"a": 1e15}, seeds=(2**64 - 1,)).side_px == 10**12
