"""A machine that Ray says is about to be taken away: the ranks on it commit at their next step, and the run stops."""

import time
from pathlib import Path

import pytest

from cluster.session import SETTINGS
from cluster.site import GangResources, RaySettings, Site
from stages.contract import Event
from tests.cluster.toy_run import ToyRun
from tests.worlds.cluster_world import TrainRecipe, train


@pytest.mark.kill
@pytest.mark.timeout(900)
def test_ranks_commit_and_stop_before_their_machine_goes(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 3, "include_dashboard": False, "env_vars": SETTINGS, "object_store_memory": 100_000_000}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        site = Site(
            name="spot",
            store=str(tmp_path / "store"),
            code="local",
            ray=RaySettings(address=str(cluster.address)),
            gang=GangResources(num_ranks=2),
        )
        step = train.bind("train", TrainRecipe(diary=str(tmp_path / "diary"), num_steps=10_000, step_seconds=0.2))
        run = ToyRun(site, tmp_path, [step])

        def take_away(event: Event) -> None:
            if event.event == "checkpoint" and event.at_step == 2:
                tell_of_preemption(str(cluster.address), cluster.head_node.node_id)

        outcome = run.carry_out(take_away)["train"]
        assert outcome.ending == "interrupted", outcome
        latest = run.checkpoints("train").latest()
        assert latest is not None
        assert outcome.reason == f"stopped after step {latest.facts['step']}"
        assert latest.facts["step"] < 10_000
        assert [event.message for event in run.events if event.event == "noticed"] == [
            "a machine is about to be taken away: training commits at the next step and stops"
        ]
    finally:
        cluster.shutdown()


def tell_of_preemption(address: str, node_id: str) -> None:
    """What a cloud tells Ray a while before it takes a machine."""
    import ray
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    deadline_ms = (time.time_ns() + 600 * 10**9) // 10**6
    is_accepted, said = ray._raylet.GcsClient(address=address).drain_node(node_id, reason, "spot", deadline_ms)
    assert is_accepted, said
