"""A network that is gone is told from hosts that are gone, and an outage costs time, not rows."""

from itertools import pairwise

import pytest

from stages.contract import NetworkDownError
from stages.download.manners.network_watch import MAX_PROBE_SECONDS, NetworkWatch


def watch_of(num_silent: int, num_answered: int, max_outage_seconds: float | None = 100.0) -> NetworkWatch:
    watch = NetworkWatch(max_outage_seconds)
    for number in range(num_answered):
        watch.answered(f"live{number}")
    for number in range(num_silent):
        watch.silent(f"dead{number}", now=0.0)
    return watch


@pytest.mark.parametrize(
    ("num_silent", "num_answered", "is_down"),
    [(20, 0, True), (19, 0, False), (20, 20, True), (19, 21, False), (40, 500, True), (15, 500, False)],
)
def test_half_of_the_hosts_asked_last_decide(num_silent: int, num_answered: int, is_down: bool) -> None:
    assert watch_of(num_silent, num_answered).is_down is is_down


def test_one_dead_host_with_many_urls_is_one_host() -> None:
    watch = NetworkWatch(100.0)
    for _ in range(500):
        watch.silent("dead", now=0.0)
    assert not watch.is_down


def test_probes_become_rarer_and_an_answer_ends_the_outage() -> None:
    watch = watch_of(20, 0, max_outage_seconds=1000.0)
    now, probes = 0.0, []
    while len(probes) < 8:
        wait = watch.probe_in_seconds(now)
        if not wait:
            probes.append(now)
        now += wait
    waits = [after - before for before, after in pairwise(probes)]
    assert waits == sorted(waits) and waits[-1] == MAX_PROBE_SECONDS
    watch.answered("live")
    assert not watch.is_down and watch.num_outages == 1
    for number in range(18):
        watch.silent(f"again{number}", now)
    assert not watch.is_down  # judged from the beginning: 18 hosts and the one that answered
    watch.silent("again", now)
    assert watch.is_down and watch.num_outages == 2


def test_an_outage_that_is_too_long_fails_the_part_and_says_what_to_do() -> None:
    watch = watch_of(20, 0, max_outage_seconds=30.0)
    watch.probe_in_seconds(29.0)
    with pytest.raises(NetworkDownError, match=r"30 s \(max_outage_seconds\).*accept_unreachable=True"):
        watch.probe_in_seconds(30.5)


def test_nothing_is_watched_where_dead_hosts_are_accepted() -> None:
    watch = watch_of(500, 0, max_outage_seconds=None)
    assert not watch.is_down and not watch.is_on


def test_where_a_host_still_answers_the_next_doubt_takes_twice_as_many() -> None:
    watch = watch_of(20, 0)
    watch.refute("good")
    for number in range(38):
        watch.silent(f"again{number}", now=0.0)
    assert not watch.is_down
    watch.silent("again", now=0.0)
    assert watch.is_down
