"""What is known of an autoscaler where there is none, and what may then be asked of it."""

import ray

from cluster.machines.autoscaler import could_start, has_autoscaler
from cluster.site import Site


def test_a_ray_without_an_autoscaler_says_so_to_every_process(ray_site: Site) -> None:
    asked = ray.remote(num_cpus=0)(has_autoscaler)
    assert not ray.get(asked.remote())
    assert not has_autoscaler()


def test_what_could_be_started_is_not_known_where_no_types_are_told(ray_site: Site) -> None:
    assert could_start({"CPU": 1000.0}) is None
