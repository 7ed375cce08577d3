"""Every number of every recipe at its bounds: what is taken can be planned, what is outside is refused by its field."""

import resource
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from neo_model.config_fields import BOUNDS
from pipelines.exits import BadCommandError
from pipelines.planning.catalog import Pipeline, find_pipeline
from pipelines.planning.overrides import apply_settings
from pipelines.planning.plan import decide
from pipelines.planning.request import Selection, freeze
from pipelines.planning.sources import PlannedSource, load_definitions, with_pins
from pipelines.planning.stage_catalog import shipped_stages
from stages.contract.recipe import LARGEST_BY_UNIT, LARGEST_FLOAT, LARGEST_INTEGER
from stages.store.store import Store
from tests.long import long
from tests.pipelines.conftest import NeoSite, site, type_

__all__ = ["site", "type_"]  # fixtures
PIPELINES = ("tiny", "tiny_ov", "neo_2b")
"""Pipelines that bind most stages."""
STEPS = {step.stage.name: (name, step.name) for name in PIPELINES for step in find_pipeline(name).steps.values()}
"""Stage to a pipeline and a step of it."""
Bounds = tuple[list[str], list[str]]
"""Values at the bounds of a field, and values outside them, as they are typed."""


def number_fields(recipe: type[Any]) -> Iterator[tuple[str, Bounds]]:
    """Each field that is one number, with its bounds."""
    for name, field in recipe.model_fields.items():
        kinds = {field.annotation, *getattr(field.annotation, "__args__", ())} & {int, float}
        if kinds:
            yield name, bounds_of(name, next(iter(kinds)), field.metadata)


def bounds_of(name: str, kind: type, metadata: list[Any]) -> Bounds:
    of_unit = next((most for unit, most in LARGEST_BY_UNIT.items() if name.endswith(unit)), None)
    most = of_unit or (LARGEST_FLOAT if kind is float else LARGEST_INTEGER)
    limits = {word: getattr(one, word) for one in metadata for word in ("ge", "gt", "le", "lt") if hasattr(one, word)}
    small = 1 if kind is int else 1e-9
    low = limits["gt"] + small if "gt" in limits else limits.get("ge", -most)
    high = limits["lt"] - small if "lt" in limits else limits.get("le", most)
    below = limits["gt"] if "gt" in limits else low - max(1, abs(low) * 0.01)
    above = limits["lt"] if "lt" in limits else high + max(1, abs(high) * 0.01)
    return [spelled(kind, low), spelled(kind, high)], [spelled(kind, below), spelled(kind, above)]


def spelled(kind: type, value: float) -> str:
    return str(int(value)) if kind is int else repr(float(value))


@pytest.fixture(scope="module")
def planned() -> Mapping[str, tuple[Pipeline, Mapping[str, PlannedSource]]]:
    """Pipelines with their pins."""
    found = {name: find_pipeline(name) for name in PIPELINES}
    return {name: with_pins(one, load_definitions(one, {})) for name, one in found.items()}


def test_the_pipelines_bind_most_stages() -> None:
    assert len(shipped_stages().keys() & STEPS.keys()) >= 15


@pytest.mark.parametrize(("name", "step"), STEPS.values(), ids=STEPS)
def test_a_value_at_a_bound_can_be_planned_and_one_outside_is_refused(
    planned: Mapping[str, tuple[Pipeline, Mapping[str, PlannedSource]]], tmp_path: Path, name: str, step: str
) -> None:
    """Values that go with each other are planned together, the smallest and the largest."""
    pipeline, sources = planned[name]
    taken: list[Pipeline] = [pipeline, pipeline]
    for field, (inside, outside) in number_fields(type(pipeline.steps[step].recipe)):
        for end, value in enumerate(inside):
            setting = f"{step}.{field}={value}"
            try:
                taken[end] = apply_settings(taken[end], [setting])
            except BadCommandError as refused:  # by another field that it does not go with
                assert field in str(refused) and len(str(refused)) < 1000, refused
        for value in outside:
            with pytest.raises(BadCommandError, match=field):
                apply_settings(pipeline, [f"{step}.{field}={value}"])
    store = Store(tmp_path / "store")
    for one in taken:
        request = freeze(one, store, Selection(), (), sources)
        assert {decision.action for decision in decide(request, store).decisions} == {"make"}


@pytest.mark.parametrize(
    ("setting", "field", "bound"),
    [
        ("prebuffer.num_prebuffer_layers", "num_prebuffer_layers", 1),
        ("prebuffer.patch_hidden", "patch_hidden", 1),
        ("pretrain_rows.max_pixels_px", "max_pixels_px", 1),
        ("pretrain_rows.min_pixels_px", "min_pixels_px", 1),
    ],
)
def test_what_no_model_may_have_is_refused_before_anything_is_made(setting: str, field: str, bound: int) -> None:
    """The bounds of recipes are those of the configuration that the training would write."""
    pipeline = find_pipeline("tiny")
    most = int(BOUNDS[field][bound])
    more = ["pretrain_rows.max_pixels_px=10000000000"] if field == "min_pixels_px" else []
    assert apply_settings(pipeline, [*more, f"{setting}={most}"])
    with pytest.raises(BadCommandError, match=field):
        apply_settings(pipeline, [f"{setting}={most + 1}"])


@pytest.mark.parametrize("layers", [long(900), 10_000, 10**18])
def test_the_command_answers_in_little_memory(site: NeoSite, layers: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for command in ("plan", "estimate"):
        said = site.neo(command, "tiny", "--set", f"prebuffer.num_prebuffer_layers={layers}")
        assert said.code == (0 if layers == 900 else 2), said
        assert "Traceback" not in said.err and len(said.out + said.err) < 20_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 600_000, "kilobytes"
