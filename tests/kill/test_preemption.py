"""Machines that come and go under a gang: it waits, stops, forms again, and its run ends as if none had gone."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cluster.session import SETTINGS
from cluster.site import GangResources, RaySettings, Site
from stages.contract import Event
from tests.cluster.drain import drain
from tests.cluster.toy_run import ToyRun
from tests.worlds.cluster_world import TrainRecipe, times, train

pytestmark = [pytest.mark.kill, pytest.mark.timeout(900)]
MACHINE = {"env_vars": SETTINGS, "object_store_memory": 100_000_000}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_failure_threshold": 10,
}


class Fleet:
    """A Ray of a head without CPUs, where the driver is, and of machines that come and go."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": QUICK_TO_NOTICE, **MACHINE}
        self.nodes = Cluster(initialize_head=True, head_node_args=head)
        self.machines: list[Any] = []

    def join(self, num_cpus: int = 2) -> Any:
        self.machines.append(self.nodes.add_node(num_cpus=num_cpus, **MACHINE))
        return self.machines[-1]

    def lose(self, machine: Any) -> None:
        self.nodes.remove_node(machine, allow_graceful=False)
        self.machines.remove(machine)

    def until_ray_knows(self) -> None:
        """Wait until Ray sees the machines that there are, and no other: it notices a loss seconds later."""
        deadline = time.monotonic() + 60
        while sum(node["Alive"] for node in self.nodes.global_state.node_table()) != 1 + len(self.machines):
            assert time.monotonic() < deadline, "Ray does not notice which machines are gone"
            time.sleep(0.2)

    def drain(self, machine: Any, notice_seconds: float = 600) -> None:
        drain(str(self.nodes.address), machine.node_id, notice_seconds)

    def run(self, folder: Path, gang: GangResources, **recipe: Any) -> ToyRun:
        site = Site(
            name="spot",
            store=str(folder / "store"),
            code="local",
            ray=RaySettings(address=str(self.nodes.address)),
            gang=gang,
        )
        return ToyRun(site, folder, [train.bind("train", TrainRecipe(diary=str(folder / "diary"), **recipe))])


@pytest.fixture(scope="module")
def one_fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.nodes.shutdown()


@pytest.fixture
def fleet(one_fleet: Fleet) -> Iterator[Fleet]:
    """The fleet with no machine but its head, before and after."""
    one_fleet.until_ray_knows()
    yield one_fleet
    for machine in list(one_fleet.machines):
        one_fleet.lose(machine)


def once(at_step: int, then: Callable[[], Any]) -> Callable[[Event], None]:
    """Do something when the checkpoint of a step is committed."""
    done: list[bool] = []

    def watch(event: Event) -> None:
        if event.event == "checkpoint" and event.at_step >= at_step and not done:
            done.append(True)
            then()

    return watch


def notices(run: ToyRun) -> list[str]:
    return [event.message for event in run.events if event.event == "noticed"]


def waits(run: ToyRun) -> list[tuple[str, str]]:
    return [(event.asked, event.has) for event in run.events if event.event == "queued"]


def test_a_drained_machine_costs_no_step_and_the_run_ends_committed(fleet: Fleet, tmp_path: Path) -> None:
    first, _ = fleet.join(), fleet.join()
    run = fleet.run(tmp_path, GangResources(num_ranks=2), num_steps=30, step_seconds=0.3)

    def take_the_machine_in_use() -> None:
        busy = [one for one in fleet.machines if is_busy(one.node_id)]
        fleet.drain(busy[0], notice_seconds=120)

    outcome = run.carry_out(once(2, take_the_machine_in_use))["train"]
    assert outcome.ending == "committed", outcome
    assert run.made("train").parts[-1].facts == {"step": 30, "total": 90}
    [notice] = notices(run)
    assert notice.startswith("a machine is about to be taken away in 1")
    assert notice.endswith("s: training commits at its next step and goes on on others")
    starts = {path.name.split(".")[0] for path in (tmp_path / "diary").glob("rank0-*")}
    assert len(starts) == 2
    reported = [event.at_step for event in run.events if event.event == "numbers"]
    assert sorted(reported) == sorted(2 * list(range(1, 31))), "no step was done twice"
    assert first in fleet.machines


def is_busy(node_id: str) -> bool:
    import ray

    free = ray._private.state.state.available_resources_per_node()
    return free.get(node_id, {}).get("CPU", 0.0) < 2


def test_a_lost_machine_is_replaced_by_one_that_joins(fleet: Fleet, tmp_path: Path) -> None:
    machine = fleet.join()
    run = fleet.run(tmp_path, GangResources(num_ranks=2), num_steps=8, step_seconds=0.3)

    lose = once(4, lambda: fleet.lose(machine))

    def lose_and_replace(event: Event) -> None:
        lose(event)
        if event.event == "queued" and not fleet.machines:
            fleet.join()

    outcome = run.carry_out(lose_and_replace)["train"]
    assert outcome.ending == "committed", outcome
    assert run.made("train").parts[-1].facts == {"step": 8, "total": 24}
    assert {asked for asked, _ in waits(run)} == {"2 ranks of 1 CPU", ""}
    assert waits(run)[-1] == ("", "")


def test_a_rank_killed_thrice_with_progress_in_between_ends_committed(fleet: Fleet, tmp_path: Path) -> None:
    fleet.join()
    run = fleet.run(tmp_path, GangResources(num_ranks=2), num_steps=10, deadly_steps=(3, 5, 7, 9))
    outcome = run.carry_out()["train"]
    assert outcome.ending == "committed", outcome
    assert run.made("train").parts[-1].facts == {"step": 10, "total": 30}
    assert [times(tmp_path / "diary", f"killed-{step}") for step in (3, 5, 7, 9)] == [1, 1, 1, 1]


def test_a_rank_killed_thrice_without_progress_ends_the_step_in_words(fleet: Fleet, tmp_path: Path) -> None:
    fleet.join()
    run = fleet.run(tmp_path, GangResources(num_ranks=2), num_steps=10, deadly_steps=(5,), num_deaths=9)
    outcome = run.carry_out()["train"]
    assert outcome.ending == "failed", outcome
    assert outcome.reason.startswith(
        "step 'train': its ranks died 3 times since checkpoint 1; the machines lack memory"
    )
    assert times(tmp_path / "diary", "killed-5") == 3


def test_a_gang_larger_than_the_cluster_says_so_and_is_stopped_in_seconds(fleet: Fleet, tmp_path: Path) -> None:
    import ray
    from ray.util.placement_group import placement_group_table

    fleet.join()
    run = fleet.run(tmp_path, GangResources(num_ranks=3), num_steps=4)
    stopped_seconds: list[float] = []

    def stop_when_it_waits(event: Event) -> None:
        if event.event == "queued" and not run.stop.is_set():
            stopped_seconds.append(time.monotonic())
            run.stop.set()

    outcome = run.carry_out(stop_when_it_waits)["train"]
    assert outcome.ending == "interrupted", outcome
    assert outcome.reason == "step 'train': stopped while it waited for machines: 3 ranks of 1 CPU"
    assert time.monotonic() - stopped_seconds[0] < 60, "seconds, on a machine that does nothing else"
    assert waits(run) == [("3 ranks of 1 CPU", "the cluster has 2 CPUs on 2 machines"), ("", "")]
    ray.init(address=str(fleet.nodes.address), log_to_driver=False)
    try:
        assert [one for one in placement_group_table().values() if one["state"] != "REMOVED"] == []
    finally:
        ray.shutdown()


def test_a_gang_larger_than_the_cluster_forms_when_a_machine_joins(fleet: Fleet, tmp_path: Path) -> None:
    fleet.join()
    run = fleet.run(tmp_path, GangResources(num_ranks=3), num_steps=4)

    def join_when_it_waits(event: Event) -> None:
        if event.event == "queued" and len(fleet.machines) == 1:
            fleet.join()

    outcome = run.carry_out(join_when_it_waits)["train"]
    assert outcome.ending == "committed", outcome
    assert waits(run)[0] == ("3 ranks of 1 CPU", "the cluster has 2 CPUs on 2 machines")
    assert waits(run)[-1] == ("", "")


def test_no_gang_forms_beside_a_driver_whose_machine_is_drained(tmp_path: Path) -> None:
    """Its ranks commit, and the run ends as interrupted: the driver goes with the machine."""
    fleet = Fleet()
    try:
        fleet.join()
        run = fleet.run(tmp_path, GangResources(num_ranks=2), num_steps=10_000, step_seconds=0.3)

        def take_both() -> None:
            fleet.drain(fleet.nodes.head_node)
            fleet.drain(fleet.machines[0])

        outcome = run.carry_out(once(2, take_both))["train"]
        assert outcome.ending == "interrupted", outcome
        assert "the driver's own machine is about to be taken away" in outcome.reason
    finally:
        fleet.nodes.shutdown()


def test_a_gang_grows_at_a_checkpoint_when_machines_come(fleet: Fleet, tmp_path: Path) -> None:
    fleet.join()
    gang = GangResources(num_ranks=[2, 4], grow_after_seconds=1)
    run = fleet.run(tmp_path, gang, num_steps=400, step_seconds=0.3)

    def stop_once_grown(event: Event) -> None:
        grown = [message for message in notices(run) if message.startswith("training runs on 4 ranks")]
        if event.event == "checkpoint" and grown:
            run.stop.set()

    add = once(2, fleet.join)
    outcome = run.carry_out(lambda event: (add(event), stop_once_grown(event))[0])["train"]
    assert outcome.ending == "interrupted", outcome
    assert notices(run) == [
        "training runs on 2 ranks, of the 2 to 4 ranks of 1 CPU that the site asks for",
        "there is room for 4 ranks: training commits at its next step and continues on them",
        "training runs on 4 ranks, of the 2 to 4 ranks of 1 CPU that the site asks for",
    ]
    sizes = [record.made_by["num_ranks"] for record in run.checkpoints("train").committed()]
    assert set(sizes) == {2, 4}
    assert sizes == sorted(sizes)
