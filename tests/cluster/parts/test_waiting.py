"""A Ray of our own, on one machine: what it can never hold is refused at once."""

from pathlib import Path

from cluster.site import PartResources, Site
from tests.cluster.parts.fleet import FleetRecipe, work
from tests.cluster.toy_run import ToyRun


def test_a_part_that_asks_for_what_this_machine_lacks_is_refused(tmp_path: Path, ray_site: Site) -> None:
    site = ray_site.model_copy(update={"parts": PartResources(gpus=1, memory_bytes=2**50)})
    run = ToyRun(site, tmp_path, [work.bind("work", FleetRecipe(diary=str(tmp_path / "diary")))])
    outcome = run.carry_out()["work"]
    assert outcome.ending == "failed"
    asked = "asks for 1 CPU, 1 GPU and 1.05e+06 GiB of memory"
    keys = "parts.cpus = 1, parts.gpus = 1, parts.memory_bytes = 1125899906842624 in the site"
    assert f"step 'work': a part of phase 'make' {asked} ({keys})" in outcome.reason
    assert "nor can one be started; the most that one has is" in outcome.reason
    assert "no GPU" in outcome.reason
