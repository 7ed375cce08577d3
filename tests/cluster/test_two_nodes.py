"""What is asked of Ray for the parts and ranks of a step, and for the step itself, on two nodes of one machine."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.own_process import run_main
from tests.cluster.two_nodes import MIB

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, dict[str, Any]]]:
    """What the driver, the step and its part found out about where they run."""
    folder = tmp_path_factory.mktemp("two_nodes")
    # Else no step would run on a node with GPUs, asked for or not.
    run_main("tests.cluster.two_nodes", folder, 600, RAY_scheduler_avoid_gpu_nodes="0")
    for fault in ("gpu", "disk"):
        nodes = (folder / f"{fault}_nodes.txt").read_text().split()
        (folder / f"{fault}.json").write_text(json.dumps({"nodes": nodes}))
    yield {str(path.relative_to(folder)).removesuffix(".json"): json.loads(path.read_text()) for path in files(folder)}


def files(folder: Path) -> list[Path]:
    return [*folder.glob("*.json"), *folder.glob("near/*.json"), *folder.glob("far/*.json")]


def test_a_part_is_granted_the_cpus_gpus_and_memory_of_the_site(told: dict[str, dict[str, Any]]) -> None:
    assert told["part"]["granted"] == {"CPU": 0.5, "GPU": 0.25, "memory": float(64 * MIB)}


def test_a_part_runs_where_its_gpu_is(told: dict[str, dict[str, Any]]) -> None:
    assert told["part"]["node"] != told["driver"]["node"]


def test_parts_of_each_phase_run_where_their_labels_say(told: dict[str, dict[str, Any]]) -> None:
    assert told["near/part"]["node"] == told["driver"]["node"] != told["far/part"]["node"]
    assert told["near/part"]["granted"] == {"CPU": 0.5}
    assert told["far/part"]["granted"] == {"CPU": 0.5, "memory": float(32 * MIB), "tape": 2.0}


def test_ranks_run_where_their_labels_say_and_take_what_the_site_says(told: dict[str, dict[str, Any]]) -> None:
    for rank in ("rank0", "rank1"):
        assert told[rank]["node"] == told["far/part"]["node"]
        granted = {name: amount for name, amount in told[rank]["granted"].items() if "_group_" not in name}
        assert granted == {"CPU": 0.5, "tape": 1.0, "accelerator_type:H200": 0.001}


def test_a_step_takes_no_cpu_and_stays_on_the_drivers_machine(told: dict[str, dict[str, Any]]) -> None:
    assert told["step"]["granted"] == {"memory": float(16 * MIB)}
    assert told["step"]["node"] == told["driver"]["node"]


@pytest.mark.parametrize("fault", ["gpu", "disk"])
def test_ranks_form_again_away_from_a_machine_that_failed(told: dict[str, dict[str, Any]], fault: str) -> None:
    first, second = told[fault]["nodes"]
    assert first != second
