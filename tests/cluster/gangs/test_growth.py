"""A gang grows once machines for more ranks were there at two looks in a row, and not before its time."""

import pytest
import ray
from ray.util.placement_group import placement_group_table, remove_placement_group

from cluster.gangs import growth as growing
from cluster.gangs.forming import GangDemand
from cluster.gangs.growth import LOOK_SECONDS, Growth
from cluster.site import GangResources, Site


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now_seconds = 0.0

    def __call__(self) -> float:
        return self.now_seconds


def growth_of(resources: GangResources, num_ranks: int, clock: Clock, rows_per_step: int | None = None) -> Growth:
    return Growth(GangDemand("train", "train-growth-1-", resources, rows_per_step), num_ranks, clock)


def test_it_asks_for_more_after_its_time_and_counts_what_stays_free(
    ray_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, free = Clock(), [{"CPU": 3.0}]
    monkeypatch.setattr(growing, "free_machines", lambda _: free)
    most = 8 + 1000
    growth = growth_of(GangResources(num_ranks=[8, most], grow_after_seconds=600), 8, clock, rows_per_step=10 * 1008)
    try:
        clock.now_seconds = 599.0
        assert growth.possible_size() == 8
        assert asked() == []
        clock.now_seconds = 600.0
        assert growth.possible_size() == 8, "free at one look is not enough"
        assert asked() == [1000], "an autoscaler reads this"
        clock.now_seconds += LOOK_SECONDS
        assert growth.possible_size() == 11
        free.clear()
        clock.now_seconds += LOOK_SECONDS
        assert growth.possible_size() == 8
    finally:
        growth.close()
    assert asked() == []


def test_machines_that_were_reserved_for_it_make_it_as_large_as_it_may_be(ray_site: Site) -> None:
    clock = Clock()
    growth = growth_of(GangResources(num_ranks=[1, 2], cpus=0.5, grow_after_seconds=0), 1, clock)
    try:
        growth.possible_size()
        assert growth._asked is not None
        assert growth._asked.wait(60)
        clock.now_seconds += LOOK_SECONDS
        assert growth.possible_size() == 2
    finally:
        growth.close()


def test_it_neither_asks_nor_forms_again_for_ranks_that_save_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """48 rows take 4 passes on 12 to 15 ranks, and 3 on 16."""
    clock, free, asked_for = Clock(), [{"CPU": 1.0}], []
    monkeypatch.setattr(growing, "free_machines", lambda _: free)
    monkeypatch.setattr(growing, "is_placed", lambda _: False)
    monkeypatch.setattr(GangDemand, "ask_for", lambda _, number, *__: asked_for.append(number) or "a group")
    useless = growth_of(GangResources(num_ranks=[8, 15], grow_after_seconds=0), 12, clock, rows_per_step=48)
    useful = growth_of(GangResources(num_ranks=[8, 16], grow_after_seconds=0), 12, clock, rows_per_step=48)

    def sizes(growth: Growth) -> list[int]:
        clock.now_seconds += LOOK_SECONDS
        found = [growth.possible_size()]
        clock.now_seconds += LOOK_SECONDS
        return [*found, growth.possible_size()]

    assert (sizes(useless), asked_for) == ([12, 12], [])
    assert (sizes(useful), asked_for) == ([12, 12], [4]), "13 ranks take 4 passes as well"
    free[0] = {"CPU": 4.0}
    assert sizes(useful) == [12, 16]


def test_it_grows_by_whole_groups_of_ranks_that_share_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, free = Clock(), [{"CPU": 3.0}]
    monkeypatch.setattr(growing, "free_machines", lambda _: free)
    monkeypatch.setattr(growing, "is_placed", lambda _: False)
    monkeypatch.setattr(GangDemand, "ask_for", lambda *_: "a group")
    monkeypatch.setattr(growing, "remove_placement_group", lambda _: None)
    growth = growth_of(GangResources(num_ranks=[4, 16], sequence_ranks=4, grow_after_seconds=0), 4, clock, 48)
    for room, expected in ((3.0, 4), (3.0, 4), (7.0, 4), (7.0, 8)):
        free[0] = {"CPU": room}
        clock.now_seconds += LOOK_SECONDS
        assert growth.possible_size() == expected


def test_a_gang_of_one_size_never_asks(ray_site: Site) -> None:
    clock = Clock()
    growth = growth_of(GangResources(num_ranks=4, grow_after_seconds=0), 4, clock)
    clock.now_seconds = 10_000.0
    assert growth.possible_size() == 4
    assert asked() == []


def asked() -> list[int]:
    """How many ranks' machines are asked for by placement groups that were not given back."""
    table = placement_group_table().values()
    return [len(entry["bundles"]) for entry in table if entry["state"] != "REMOVED"]


@pytest.fixture(autouse=True)
def nothing_left(ray_site: Site) -> None:
    for entry in placement_group_table().values():
        if entry["state"] != "REMOVED":
            remove_placement_group(ray.util.get_placement_group(entry["name"]))
