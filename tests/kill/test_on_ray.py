"""On real Ray: a driver killed in every step in turn, and a training worker killed in every training stage."""

from pathlib import Path

import pytest

from tests.kill.home import Golden
from tests.kill.invariants import hold_at_death, hold_at_the_end
from tests.kill.on_ray import RayHome, i10_nothing_is_left_of_it

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1500)]
TRAINED = {"prebuffer", "merged", "mid", "chat", "evaluate", "export"}
"""Steps whose bytes depend on the number of ranks."""


def test_ray_makes_the_same_data_as_one_process_does(golden_on_ray: RayHome, golden: Golden) -> None:
    data = golden.made.keys() - TRAINED
    assert {step: golden_on_ray.made[step].content for step in data} == {
        step: golden.made[step].content for step in data
    }


def test_a_driver_killed_in_every_step_in_turn(golden_on_ray: RayHome, tmp_path: Path) -> None:
    """Each time the first step that commits its artifact stops right there, and the driver is killed meanwhile."""
    home = RayHome(tmp_path)
    edge = "artifact.manifest_created:after"
    while len(home.manifests()) < len(golden_on_ray.made):
        driver = home.start(fault=f"{edge}=sleep")
        driver.wait_until(lambda: bool(driver.trace().times(edge)))  # noqa: B023
        driver.kill()
        hold_at_death(home)
    at_death = home.committed()
    home.run()
    for step in golden_on_ray.made:
        hold_at_the_end(golden_on_ray, step, at_death, home)


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("prebuffer", "checkpoint.recorded:after@2=kill"),
        ("mid", "checkpoint.uploaded:after@2=kill"),
        ("chat", "checkpoint.gathered:before@3=kill"),
    ],
)
def test_a_training_worker_that_is_killed_costs_no_attempt(
    step: str, fault: str, golden_on_ray: RayHome, tmp_path: Path
) -> None:
    home = RayHome(tmp_path)
    golden_on_ray.lend(step, home)
    lent = home.committed()
    home.run("--until", step, fault=fault, once=True)
    assert (tmp_path / "once").exists(), "nobody was killed"
    hold_at_the_end(golden_on_ray, step, lent, home)
    i10_nothing_is_left_of_it(home)
