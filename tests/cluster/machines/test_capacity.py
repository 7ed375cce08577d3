"""What machines hold, in pieces of work and in words."""

import ray

from cluster.machines.capacity import GIB, holdings, in_words, largest, limits, room
from cluster.session import draining_nodes
from cluster.site import Site

SMALL, LARGE = {"CPU": 4.0, "memory": 8.0 * GIB}, {"CPU": 32.0, "GPU": 2.0, "memory": 64.0 * GIB}


def test_amounts_are_named_and_what_is_missing_is_too() -> None:
    assert in_words({"CPU": 12.0, "GPU": 1.0, "memory": 4.0 * GIB}) == "12 CPUs, 1 GPU and 4 GiB of memory"
    assert in_words({"CPU": 0.5}) == "0.5 CPUs"
    assert holdings([SMALL], {"CPU": 12.0, "GPU": 1.0}) == "4 CPUs and no GPU on 1 machine"
    assert holdings([SMALL, LARGE], {"CPU": 12.0, "GPU": 1.0}) == "36 CPUs and 2 GPUs on 2 machines"
    assert holdings([], {"CPU": 1.0}) == "no CPU on no machine"


def test_a_rank_fits_on_one_machine_or_not_at_all() -> None:
    assert room([SMALL, SMALL], {"CPU": 3.0}) == 2
    assert room([SMALL, LARGE], {"CPU": 12.0, "GPU": 1.0}) == 2
    assert room([{"CPU": 0.3}], {"CPU": 0.1}) == 3
    assert room([], {"CPU": 1.0}) == 0


def test_the_largest_machine_is_asked_of_each_resource() -> None:
    assert largest([SMALL, LARGE], {"CPU": 1.0, "GPU": 1.0}) == {"CPU": 32.0, "GPU": 2.0}


def test_a_quiet_ray_drains_no_machine(ray_site: Site) -> None:
    assert draining_nodes() == {}


def test_a_ray_that_states_no_limits_says_so_to_every_process(ray_site: Site) -> None:
    asked = ray.remote(num_cpus=0)(limits)
    assert ray.get(asked.remote()) is None and limits() is None
