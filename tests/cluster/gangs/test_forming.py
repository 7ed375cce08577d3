"""Machines of a worker group: waited for in words, given back in every case, refused where they can never come."""

import re
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import ray
from ray.util.placement_group import placement_group, placement_group_table

from cluster.gangs import forming
from cluster.gangs.forming import GangDemand, is_placed, nodes_of, reserved
from cluster.machines.wait import MachineWait
from cluster.session import PRIVATE_RAY
from cluster.site import GangResources, Site
from stages.contract import Event, InterruptedRunError, StageError

KEY = "train-forming-1-"


def demand(rows_per_step: int | None = None, **resources: Any) -> GangDemand:
    return GangDemand("train", KEY, GangResources(**resources), rows_per_step)


def form(wanted: GangDemand, stop_asked: Callable[[], bool], events: list[Event]) -> None:
    with reserved(wanted, f"{KEY}1", MachineWait("train", events.append), stop_asked):
        raise AssertionError("it formed")


def groups_left() -> list[str]:
    return [entry["name"] for entry in placement_group_table().values() if entry["state"] != "REMOVED"]


def test_it_says_once_what_it_waits_for_and_a_stop_ends_the_waiting(ray_site: Site) -> None:
    has = int(ray.cluster_resources()["CPU"])
    events: list[Event] = []
    began_seconds = time.monotonic()
    with pytest.raises(InterruptedRunError, match="stopped while it waited for machines"):
        form(demand(num_ranks=has + 1, cpus=1), lambda: time.monotonic() > began_seconds + 4, events)
    told = [(event.asked, event.has) for event in events if event.event == "queued"]
    assert told == [(f"{has + 1} ranks of 1 CPU", f"the cluster has {has} CPUs on 1 machine"), ("", "")]
    assert groups_left() == []


def test_waiting_for_machines_that_are_busy_says_how_much_is_free(ray_site: Site) -> None:
    has = int(ray.cluster_resources()["CPU"])
    busy = placement_group([{"CPU": has}])
    try:
        assert busy.wait(60)
        events: list[Event] = []
        began_seconds = time.monotonic()
        with pytest.raises(InterruptedRunError):
            form(demand(num_ranks=1), lambda: time.monotonic() > began_seconds + 4, events)
    finally:
        ray.util.remove_placement_group(busy)
    told = [event.has for event in events if event.event == "queued"]
    assert told[0] == f"the cluster has {has} CPUs on 1 machine, where now no more ranks would fit"


def test_what_a_ray_of_our_own_cannot_hold_is_refused_at_once(ray_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRIVATE_RAY, "1")
    message = (
        "step 'train': [gang] of the site asks for 2 ranks of 1 CPU and 1 GPU (num_ranks = 2, cpus = 1, gpus = 1), "
        "which no machine can hold; this machine has "
    )
    with pytest.raises(StageError, match=re.escape(message) + r"\d+ CPUs and no GPU"):
        form(demand(num_ranks=2, gpus=1), lambda: False, [])
    assert groups_left() == []


def test_what_is_reserved_lies_on_machines_and_is_given_back(ray_site: Site) -> None:
    events: list[Event] = []
    with reserved(
        demand(num_ranks=2, cpus=0.5), f"{KEY}2", MachineWait("train", events.append), lambda: False
    ) as group:
        assert is_placed(group)
        assert nodes_of(group) == {ray.get_runtime_context().get_node_id()}
    assert not is_placed(group)
    assert groups_left() == []


def test_what_a_dead_process_of_the_step_had_reserved_is_given_back(ray_site: Site) -> None:
    left_over = placement_group([{"CPU": ray.cluster_resources()["CPU"]}], name=f"{KEY}dead")
    assert left_over.wait(60)
    with reserved(demand(num_ranks=1), f"{KEY}3", MachineWait("train", lambda _: None), lambda: False):
        [left] = groups_left()
        assert left.startswith(f"{KEY}3-1-")
    assert groups_left() == []


def test_a_choice_of_ranks_is_any_number_that_has_rows() -> None:
    assert demand(rows_per_step=48, num_ranks=[8, 16]).sizes == range(8, 17)
    assert demand(rows_per_step=48, num_ranks=[8, 64]).sizes == range(8, 49), "more have nothing to do"
    assert demand(rows_per_step=48, num_ranks=[8, 64], micro_rows=5).sizes == range(8, 11)
    assert demand(rows_per_step=4, num_ranks=[8, 64]).sizes == range(8, 9)
    assert demand(num_ranks=[2, 4]).sizes == range(2, 5)
    assert demand(rows_per_step=48, num_ranks=7).sizes == range(7, 8)
    elastic = demand(rows_per_step=48, num_ranks=[8, 16])
    assert elastic.words() == "8 to 16 ranks of 1 CPU"
    assert [elastic.size_for(free) for free in (0, 7, 8, 11, 13, 99)] == [8, 8, 8, 11, 13, 16]
    assert [elastic.num_passes_of(size) for size in (8, 11, 12, 15, 16)] == [6, 5, 4, 4, 3]


def test_ranks_that_share_rows_come_in_whole_groups() -> None:
    """48 rows: eight groups of four take six passes, and 48 groups have one row each."""
    elastic = demand(rows_per_step=48, num_ranks=[8, 32], sequence_ranks=4)
    assert [*elastic.sizes] == [8, 12, 16, 20, 24, 28, 32]
    assert [elastic.size_for(free) for free in (0, 9, 11, 12, 31, 99)] == [8, 8, 8, 12, 28, 32]
    assert [elastic.num_passes_of(size) for size in (8, 12, 32)] == [24, 16, 6]
    assert demand(rows_per_step=3, num_ranks=[8, 32], sequence_ranks=4).sizes[-1] == 12, "more have nothing to do"


def test_with_a_choice_it_forms_with_what_there_is(ray_site: Site) -> None:
    has = int(ray.cluster_resources()["CPU"])
    wanted = demand(num_ranks=[1, 4 * has])
    with reserved(wanted, f"{KEY}4", MachineWait("train", lambda _: None), lambda: False) as group:
        assert group.bundle_count == has
    assert groups_left() == []


def test_on_a_cluster_what_no_machine_holds_is_refused_after_a_while_unless_it_formed_before(
    ray_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forming, "JOINING_SECONDS", 1.0)
    wanted = demand(num_ranks=1, gpus=1)
    with pytest.raises(StageError, match="which no machine can hold; the largest machine has"):
        form(wanted, lambda: False, [])
    began_seconds = time.monotonic()
    with pytest.raises(InterruptedRunError):
        form(replace(wanted, has_formed=True), lambda: time.monotonic() > began_seconds + 3, [])
