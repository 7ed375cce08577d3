"""Runs that share a cluster: their demands add up, and that of a run which was killed is taken back."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.own_process import run_main


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[float]]]:
    folder = tmp_path_factory.mktemp("demands")
    run_main("tests.cluster.machines.demands", folder, 300)
    yield json.loads((folder / "asked.json").read_text())


def test_the_demands_of_two_runs_add_up(told: dict[str, list[float]]) -> None:
    assert told["one"] == [1.0] * 3
    assert told["two"] == [1.0] * 3 + [2.0] * 2


def test_a_run_that_is_killed_asks_for_nothing_once_another_looks(told: dict[str, list[float]]) -> None:
    assert told["after the kill"] == [2.0] * 2


def test_a_run_that_ends_takes_its_own_demand_back_and_leaves_the_others(told: dict[str, list[float]]) -> None:
    assert told["first again"] == [2.0] * 2 + [4.0]
    assert told["second ended"] == [4.0]
    assert told["all ended"] == []


def test_runs_that_change_their_demands_at_once_end_with_their_sum(told: dict[str, list[float]]) -> None:
    assert told["many at once"] == [8.0] * 4


def test_what_others_asked_ray_for_stays_where_no_run_asks(told: dict[str, list[float]]) -> None:
    assert told["a stranger's"] == [16.0]
