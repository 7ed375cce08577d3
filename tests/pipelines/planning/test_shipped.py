"""Every shipped pipeline can be planned: those that lie in the folder, found on disk."""

from pathlib import Path

import pytest

import pipelines.recipes
from tests.pipelines.conftest import NeoSite

SHIPPED = sorted(path.stem for path in Path(pipelines.recipes.__path__[0]).glob("[!_]*.py"))


def test_the_whole_pipeline_is_among_them() -> None:
    assert {"tiny", "tiny_reuse"} <= set(SHIPPED)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_pipeline_is_listed_planned_and_drawn(site: NeoSite, name: str) -> None:
    assert site.neo("list", "--json").json["recipes"][name].endswith(".")
    planned = site.neo("plan", name, "--json")
    assert planned.code == 0, planned
    assert {step["action"] for step in planned.json["steps"]} == {"make"}
    edges = {step["name"]: set(step["reads"].values()) for step in planned.json["steps"]}
    assert set().union(*edges.values()) < set(edges), "every input is a step of the pipeline"
    drawn = site.neo("plan", name, "--graph")
    assert drawn.code == 0 and all(f" {step} " in drawn.out for step in edges)
