"""Hosts take turns, so many requests at once for each, and nothing begins before its time."""

from hypothesis import given
from hypothesis import strategies as st

from stages.download.engines.schedule import Schedule


def taken(schedule: Schedule[str], now: float = 0.0) -> list[str]:
    items = []
    while (item := schedule.take(now)) is not None:
        items.append(item)
    return items


def test_hosts_take_turns_and_a_busy_one_holds_up_no_other() -> None:
    schedule: Schedule[str] = Schedule(max_per_host=2)
    for item in ("a1", "a2", "a3", "a4", "b1", "c1"):
        schedule.add(item[0], item)
    assert taken(schedule) == ["a1", "b1", "c1", "a2"]
    assert schedule.has_waiting("a") and not schedule.has_waiting("b")
    schedule.close("b")
    assert taken(schedule) == []
    schedule.close("a")
    assert taken(schedule) == ["a3"]


def test_a_host_that_is_held_begins_nothing_before_the_moment() -> None:
    schedule: Schedule[str] = Schedule(max_per_host=4)
    schedule.hold("a", 5.0)
    schedule.add("a", "a1")
    schedule.add("a", "a2")
    schedule.add("b", "b1")
    assert taken(schedule, 1.0) == ["b1"]
    assert schedule.next_moment() == 5.0
    schedule.hold("a", 3.0)  # an earlier moment shortens nothing
    assert taken(schedule, 4.9) == []
    assert taken(schedule, 5.0) == ["a1", "a2"]


def test_requests_of_a_host_begin_apart() -> None:
    schedule: Schedule[str] = Schedule(max_per_host=4, seconds_between=2.0)
    for item in ("a1", "a2", "a3"):
        schedule.add("a", item)
    begun = []
    now = 0.0
    while len(begun) < 3:
        begun += [(now, item) for item in taken(schedule, now)]
        now = schedule.next_moment() or now
    assert begun == [(0.0, "a1"), (2.0, "a2"), (4.0, "a3")]


def test_an_item_may_wait_for_a_moment_of_its_own() -> None:
    schedule: Schedule[str] = Schedule(max_per_host=1)
    schedule.add("a", "later", not_before=3.0)
    schedule.add("a", "now")
    assert taken(schedule, 0.0) == ["now"]
    schedule.close("a")
    assert taken(schedule, 2.0) == []
    assert taken(schedule, 3.0) == ["later"]


@given(
    hosts=st.lists(st.sampled_from("abcd"), max_size=40),
    max_per_host=st.integers(1, 3),
    seconds_between=st.sampled_from([0.0, 1.0]),
    holds=st.dictionaries(st.sampled_from("abcd"), st.floats(0, 9)),
    data=st.data(),
)
def test_everything_begins_once_and_no_limit_is_passed(
    hosts: list[str], max_per_host: int, seconds_between: float, holds: dict[str, float], data: st.DataObject
) -> None:
    schedule: Schedule[int] = Schedule(max_per_host=max_per_host, seconds_between=seconds_between)
    for number, host in enumerate(hosts):
        schedule.add(host, number)
    for host, until in holds.items():
        schedule.hold(host, until)
    now, begun, still_open, last = 0.0, [], [], {}
    while len(begun) < len(hosts):
        item = schedule.take(now)
        if item is not None:
            host = hosts[item]
            assert now >= holds.get(host, 0.0) and now >= last.get(host, -9.0) + seconds_between
            last[host] = now
            begun.append(item)
            still_open.append(host)
            assert still_open.count(host) <= max_per_host
        elif still_open and data.draw(st.booleans()):
            schedule.close(still_open.pop(data.draw(st.integers(0, len(still_open) - 1))))
        else:
            moment = schedule.next_moment()
            assert moment is not None or still_open
            if moment is None:
                schedule.close(still_open.pop())
            else:
                now = max(now, moment)
    assert sorted(begun) == list(range(len(hosts)))
