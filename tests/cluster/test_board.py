"""The board of a run: events arrive before the worker that posted them ends, and workers see a stop request."""

import math
import os
import time

import pytest
import ray

from cluster.board import Board, BoardPost, EventInbox, StopPoll, drain_message, flush, open_board
from cluster.failure import Failure
from cluster.site import Site
from stages.contract import Event, ItemBalance, NumbersReported, PartProgress, PartRecorded, PhaseOpened, StageError

NUM_EVENTS = 200


def event(number: int) -> NumbersReported:
    return NumbersReported(step="toy", numbers={"number": float(number)})


@ray.remote(max_retries=0)
def post_and_die(board: ray.actor.ActorHandle) -> None:
    """Post, flush, and end without a word, as a worker does whose machine is taken away right after a part."""
    for number in range(NUM_EVENTS):
        BoardPost(board)(event(number))
    flush(board)
    os._exit(0)


def test_what_a_worker_posted_has_arrived_when_it_ends(ray_site: Site) -> None:
    with open_board() as board:
        with pytest.raises(ray.exceptions.RayError):
            ray.get(post_and_die.remote(board))
        collected = EventInbox(board).take()
    assert [int(one.numbers["number"]) for one in collected] == list(range(NUM_EVENTS))


def test_a_stop_request_reaches_a_poll_that_never_waits(ray_site: Site) -> None:
    with open_board() as board:
        poll = StopPoll(board)
        assert not poll()
        board.request_stop.remote()
        deadline_seconds = time.monotonic() + 30
        while not poll() and time.monotonic() < deadline_seconds:
            time.sleep(0.05)
        assert poll()


def test_a_post_to_a_board_that_is_gone_raises_nothing(ray_site: Site) -> None:
    with open_board() as board:
        post = BoardPost(board)
    post(event(0))
    flush(board)


def test_events_are_collected_once_and_in_order() -> None:
    board = Board()
    posted = [event(1), event(2)]
    for one in posted:
        board.post(one)
    assert board.collect(0) == posted
    assert board.collect(0) == posted, "an answer that was lost is asked for again"
    board.post(later := event(3))
    assert board.collect(2) == [later]
    assert board.collect(3) == []


class UnreachableAtTimes:
    """A board in this process of which Ray loses every second answer."""

    def __init__(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        self.board, self.num_calls, self.collect = board, 0, self
        monkeypatch.setattr("cluster.board.PAUSE_SECONDS", 0.0)
        monkeypatch.setattr("cluster.board.ray.get", self.answer)

    def remote(self, num_taken: int) -> list[Event]:
        return self.board.collect(num_taken)

    def answer(self, events: list[Event]) -> list[Event]:
        self.num_calls += 1
        if self.num_calls % 2:
            raise ray.exceptions.ActorUnavailableError("cannot be reached", None)
        return events


def test_every_event_is_taken_once_where_answers_are_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    inbox = EventInbox(UnreachableAtTimes(board, monkeypatch))
    posted, taken = [event(number) for number in range(6)], []
    for number, one in enumerate(posted):
        board.post(one)
        taken += inbox.take() if number % 2 else []
    assert taken == posted


def test_a_board_that_stays_unreachable_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    unreachable = UnreachableAtTimes(Board(), monkeypatch)
    monkeypatch.setattr("cluster.board.PATIENCE_SECONDS", 0.0)
    with pytest.raises(ray.exceptions.ActorUnavailableError):
        EventInbox(unreachable).take()
    assert unreachable.num_calls == 1


def test_no_part_begins_in_a_cancelled_phase_on_a_node_left_out_or_after_a_stop_request() -> None:
    board = Board()
    assert board.may_begin("one/write", "task 1", "node a")
    assert board.cancel_phase("one/write") == {"task 1"}
    assert not board.may_begin("one/write", "task 2", "node a")
    assert board.may_begin("two/write", "task 3", "node a")
    board.leave_out("two/write", frozenset({"node a"}))
    assert not board.may_begin("two/write", "task 4", "node a")
    assert board.may_begin("two/write", "task 4", "node b")
    board.request_stop()
    assert not board.may_begin("two/write", "task 5", "node b")


def test_the_board_knows_which_parts_run_and_where() -> None:
    board = Board()
    board.may_begin("one/write", "task 1", "node a")
    assert board.num_running("one/write") == 1
    assert board.part_ended("one/write", "task 1") == "node a"
    assert board.part_ended("one/write", "task 1") == ""
    assert board.num_running("one/write") == 0


def test_the_first_failure_of_a_gang_comes_first() -> None:
    board = Board()
    cause, later = (Failure(StageError, message, "") for message in ("the cause", "what followed"))
    board.report_failure("gang", cause)
    board.report_failure("gang", later)
    assert board.failures("gang") == [cause, later]
    assert board.failures("another") == []


def test_progress_that_was_gathered_before_its_part_was_recorded_is_dropped() -> None:
    board = Board()
    board.post(PhaseOpened(step="toy", phase="write", num_parts=2, num_recorded=0))
    board.post(PartRecorded(step="toy", phase="write", part="000", items=ItemBalance()))
    late, current = (PartProgress(step="toy", phase="write", part=part, num_done=1) for part in ("000", "001"))
    board.post_all([late, current])
    assert board.collect(0)[2:] == [current]
    board.post(PhaseOpened(step="toy", phase="read", num_parts=2, num_recorded=0))
    board.post_all([late])
    assert board.collect(3)[1:] == [late]


@ray.remote(max_retries=0)
def post_progress(board: ray.actor.ActorHandle) -> None:
    for number in range(NUM_EVENTS):
        BoardPost(board)(PartProgress(step="toy", phase="write", part="000", num_done=number))
        BoardPost(board)(event(number))
    flush(board)


def test_of_progress_one_message_is_posted_and_of_what_informs_every_one(ray_site: Site) -> None:
    with open_board() as board:
        ray.get(post_progress.remote(board))
        collected = EventInbox(board).take()
    assert [int(one.numbers["number"]) for one in collected if one.event == "numbers"] == list(range(NUM_EVENTS))
    assert 1 <= sum(one.event == "progress" for one in collected) < 20


def test_a_drain_says_how_long_there_is_and_whether_a_checkpoint_fits() -> None:
    plain = "a machine is about to be taken away in 120 s: training commits at its next step and goes on on others"
    assert drain_message(120.0, None) == plain
    assert drain_message(120.0, 100.0) == plain
    assert drain_message(math.inf, 100.0) == plain.replace(" in 120 s", "")
    short = drain_message(30.0, 140.0)
    assert "the last checkpoint took 140 s, longer than this notice" in short
    assert "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S" in short
