"""Every shipped pipeline can be planned: those that lie in the folder, found on disk."""

from pathlib import Path

import pytest

import pipelines.recipes
from pipelines.planning.source_files import read_entries, read_lock
from stages.origins.pinning import pin
from tests.pipelines.conftest import NeoSite

SHIPPED = sorted(path.stem for path in Path(pipelines.recipes.__path__[0]).glob("[!_]*.py"))


def test_the_whole_pipeline_is_among_them() -> None:
    assert {"tiny", "tiny_ov", "tiny_reuse"} <= set(SHIPPED)


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


def test_the_shipped_lock_is_that_of_the_toy_world_as_it_is_drawn_now() -> None:
    folder = Path(pipelines.recipes.__path__[0])
    kept = read_lock(folder)
    assert set(kept) == set(read_entries(folder))
    toys = {name: entry for name, entry in read_entries(folder).items() if entry.uri[0].startswith("toy:")}
    assert {name: pin(list(entry.uri), folder) for name, entry in toys.items()} == {name: kept[name] for name in toys}
