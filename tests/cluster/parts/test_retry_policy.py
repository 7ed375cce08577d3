"""The policy by itself: who is tried again, where and when, and which machines are left out."""

from collections.abc import Sequence

import pytest

from cluster.failure import Failure
from cluster.parts.retry_policy import (
    FAILURES_IN_A_ROW,
    LEFT_OUT_SECONDS,
    MIN_RETRIES_OF_PHASE,
    PAUSE_SECONDS,
    RETRIES_AFTER_DEATHS,
    RETRIES_AFTER_FAULTS,
    RetryPolicy,
)
from stages.contract import MachineFault, StageError

ALL = frozenset({"a", "b", "c"})


def failure(node: str, fault: MachineFault | None = None) -> Failure:
    return Failure(StageError, "part 0 failed", "", fault, node, f"host-{node}")


def fail_in_a_row(policy: RetryPolicy, node: str, now: float, first: int = 0) -> None:
    for number in range(first, first + FAILURES_IN_A_ROW):
        assert policy.failed(f"part-{number}", failure(node, "network"), ALL, now) is None


def is_never_lost(node: str) -> bool:
    return False


def avoided(policy: RetryPolicy, parts: Sequence[str], now: float = 0.0) -> list[frozenset[str] | None]:
    return [policy.nodes_to_avoid(part, ALL, now) for part in parts]


def test_a_part_goes_from_machine_to_machine_and_then_pauses_longer_each_time() -> None:
    policy = RetryPolicy(num_parts=10)
    for been in ("a", "ab"):
        assert policy.failed("0", failure(been[-1], "network"), ALL, now=0) is None
        assert avoided(policy, ["0", "1"]) == [frozenset(been), frozenset()]
    assert policy.failed("0", failure("c", "network"), ALL, now=100) is None
    assert policy.nodes_to_avoid("0", ALL, 100 + 4 * PAUSE_SECONDS - 1) is None
    assert policy.nodes_to_avoid("0", ALL, 100 + 4 * PAUSE_SECONDS) == frozenset()


def test_a_part_has_a_budget_and_ends_with_the_machines_and_their_faults() -> None:
    policy = RetryPolicy(num_parts=10)
    for number in range(RETRIES_AFTER_FAULTS):
        assert policy.failed("0", failure("ab"[number % 2], "network"), ALL, now=0) is None
    ended = policy.failed("0", failure("b", "out of memory"), ALL, now=0)
    assert ended is not None
    assert ended.message == (
        "part 0 failed (network on host-a 2 times, network on host-b 2 times, out of memory on host-b; that was try 5)"
    )


def test_a_phase_has_a_budget() -> None:
    policy = RetryPolicy(num_parts=1)
    ended = [policy.failed(f"{number}", failure("a", "network"), ALL, 0) for number in range(MIN_RETRIES_OF_PHASE + 1)]
    assert ended[:-1] == [None] * MIN_RETRIES_OF_PHASE
    assert ended[-1] is not None
    assert "its phase has used up its retries" in ended[-1].message


def test_a_full_disk_ends_the_part_once_no_other_machine_is_left_to_try() -> None:
    policy = RetryPolicy(num_parts=10)
    assert policy.failed("0", failure("a", "disk full"), frozenset("ab"), now=0) is None
    ended = policy.failed("0", failure("b", "disk full"), frozenset("ab"), now=0)
    assert ended is not None
    assert "disk full on host-a, disk full on host-b; no other machine could make it" in ended.message


def test_work_that_fails_counts_after_a_second_machine_agrees_or_at_once_where_there_is_none() -> None:
    policy = RetryPolicy(num_parts=10)
    assert policy.failed("0", failure("a"), ALL, now=0) is None
    assert avoided(policy, ["0"]) == [frozenset("a")]
    ended = policy.failed("0", failure("b"), ALL, now=0)
    assert ended is not None
    assert ended.message == "part 0 failed (the same on 2 machines)"
    assert policy.failed("1", failure("a"), frozenset("a"), now=0) == failure("a")
    assert policy.failed("2", failure(""), ALL, now=0) == failure(""), "it is not known which machine to avoid"


def test_a_machine_where_different_parts_fail_is_left_out_for_longer_each_time_it_fails_again() -> None:
    policy = RetryPolicy(num_parts=100)
    fail_in_a_row(policy, "a", now=0)
    assert avoided(policy, ["new"], LEFT_OUT_SECONDS - 1) == [frozenset("a")]
    assert avoided(policy, ["new"], LEFT_OUT_SECONDS) == [frozenset()]
    (first,) = policy.newly_left_out()
    assert (first.node, first.seconds, first.causes) == ("a", LEFT_OUT_SECONDS, {"network": FAILURES_IN_A_ROW})
    assert policy.failed("later", failure("a", "network"), ALL, now=LEFT_OUT_SECONDS) is None
    (second,) = policy.newly_left_out()
    assert second.seconds == 2 * LEFT_OUT_SECONDS


def test_one_part_that_fails_everywhere_leaves_no_machine_out_and_a_part_that_is_made_clears_one() -> None:
    policy = RetryPolicy(num_parts=100)
    for _ in range(RETRIES_AFTER_FAULTS):
        assert policy.failed("0", failure("a", "network"), ALL, now=0) is None
    assert policy.failed("1", failure("a", "network"), ALL, now=0) is None
    policy.made("2", "a", now=0)
    assert policy.failed("3", failure("a", "network"), ALL, now=0) is None
    assert policy.newly_left_out() == []


def test_the_only_machine_is_never_left_out_and_where_all_are_new_parts_wait() -> None:
    policy = RetryPolicy(num_parts=100)
    for number in range(10):
        assert policy.failed(f"{number}", failure("a", "network"), frozenset("a"), now=0) is None
    assert policy.newly_left_out() == []
    policy = RetryPolicy(num_parts=100)
    for first, node in enumerate(sorted(ALL)):
        fail_in_a_row(policy, node, now=0, first=10 * first)
    assert avoided(policy, ["new"]) == [None]
    assert avoided(policy, ["new"], LEFT_OUT_SECONDS) == [frozenset()]


def test_work_that_failed_on_one_machine_alone_counts_against_that_machine() -> None:
    policy = RetryPolicy(num_parts=100)
    for number in range(FAILURES_IN_A_ROW):
        assert policy.failed(f"{number}", failure("a"), ALL, now=0) is None
        policy.made(f"{number}", "b", now=0)
    assert [one.node for one in policy.newly_left_out()] == ["a"]


def test_deaths_of_workers_have_a_budget_and_lost_machines_count_against_nobody() -> None:
    policy = RetryPolicy(num_parts=10)
    for number in range(10):
        assert policy.worker_died("0", f"spot-{number}", lambda node: node.startswith("spot"), ALL, now=0) is None
    for _ in range(RETRIES_AFTER_DEATHS):
        assert policy.worker_died("0", "a", is_never_lost, ALL, now=0) is None
    assert avoided(policy, ["0"]) == [frozenset("a")]
    assert policy.worker_died("0", "a", is_never_lost, ALL, now=0) == RETRIES_AFTER_DEATHS + 1


@pytest.mark.parametrize("able", [frozenset[str](), ALL])
def test_a_death_that_turns_out_to_be_the_machines_is_forgiven_later(able: frozenset[str]) -> None:
    policy = RetryPolicy(num_parts=10)
    for _ in range(RETRIES_AFTER_DEATHS):
        assert policy.worker_died("0", "a", is_never_lost, able, now=0) is None
    assert policy.worker_died("0", "b", lambda node: node == "a", able, now=0) is None
