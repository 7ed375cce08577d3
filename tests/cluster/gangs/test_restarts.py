"""A gang forms again as often as it makes progress; deaths without any are bounded."""

from dataclasses import replace
from pathlib import Path

import pytest
import ray

from cluster.failure import Failure
from cluster.gangs.restarts import MOST_DEATHS, MOST_LOSSES, Restarts
from cluster.site import Site
from stages.commit.checkpoints import CheckpointRecords
from stages.contract import StageError
from stages.store.store import Store

DEATH = RuntimeError("a rank is gone")


def commit(records: CheckpointRecords, number: int) -> None:
    """What `CheckpointRecords.count` counts."""
    records.store.create_json(records._key(number), {"number": number})


@pytest.fixture
def restarts(tmp_path: Path) -> Restarts:
    return Restarts("train", CheckpointRecords(Store(tmp_path / "store"), "artifacts/train/0"))


@pytest.fixture
def here(ray_site: Site) -> frozenset[str]:
    return frozenset({ray.get_runtime_context().get_node_id()})


def test_deaths_without_progress_are_bounded_and_say_so(restarts: Restarts, here: frozenset[str]) -> None:
    commit(restarts.records, 0)
    for number in range(1, MOST_DEATHS):
        assert f"death {number} of {MOST_DEATHS} since checkpoint 0" in restarts.after_death(here, DEATH)
    with pytest.raises(StageError, match="ranks died 3 times since checkpoint 0") as failed:
        restarts.after_death(here, DEATH)
    assert failed.value.__cause__ is DEATH


def test_each_commit_begins_the_count_anew(restarts: Restarts, here: frozenset[str]) -> None:
    for number in range(3 * MOST_DEATHS):
        commit(restarts.records, number)
        assert f"death 1 of {MOST_DEATHS}" in restarts.after_death(here, DEATH)


def test_a_gpu_that_fails_counts_as_a_death_and_is_named(restarts: Restarts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "nodes", lambda: [{"NodeID": "a1", "Alive": True}])
    error = RuntimeError(
        "CUDA error: unspecified launch failure\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1"
    )
    failure = replace(Failure.of(error, "step 'train': rank 3 of 16", "a1"), host="host-7")
    told = (
        "a rank failed: GPU error on host-7 (step 'train': rank 3 of 16 failed: RuntimeError: CUDA error: "
        "unspecified launch failure); the ranks start again from the last checkpoint, away from that machine where "
        "others will do (death 1 of 3 before the first checkpoint)"
    )
    assert restarts.after_death(frozenset({"a1"}), DEATH, failure) == told
    restarts.after_death(frozenset({"a1"}), DEATH, failure)
    with pytest.raises(StageError, match=r"the last: GPU error on host-7 .*its GPU fails, or the kernels"):
        restarts.after_death(frozenset({"a1"}), DEATH, failure)


def test_a_lost_machine_counts_on_its_own(restarts: Restarts, here: frozenset[str]) -> None:
    gone = here | {"a node that is gone"}
    for number in range(1, MOST_LOSSES):
        message = f"a machine was lost; the ranks start again from the last checkpoint (loss {number} of {MOST_LOSSES} "
        assert restarts.after_death(gone, DEATH) == f"{message}before the first checkpoint)"
    assert "death 1 of" in restarts.after_death(here, DEATH)
    with pytest.raises(StageError, match="faster than checkpoints are made"):
        restarts.after_death(gone, DEATH)
