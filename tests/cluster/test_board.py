"""The board of a run: events arrive before the worker that posted them ends, and workers see a stop request."""

import os
import time

import pytest
import ray

from cluster.board import Board, BoardPost, StopPoll, flush, open_board
from cluster.failure import Failure
from cluster.site import Site
from stages.contract import NumbersReported, StageError

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
        collected = ray.get(board.collect.remote())
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
    assert board.collect() == posted
    assert board.collect() == []


def test_no_part_begins_in_a_cancelled_phase_or_after_a_stop_request() -> None:
    board = Board()
    board.cancel_phase("one/write")
    assert (board.may_begin("one/write"), board.may_begin("two/write")) == (False, True)
    board.request_stop()
    assert not board.may_begin("two/write")


def test_the_first_failure_of_a_gang_comes_first() -> None:
    board = Board()
    cause, later = (Failure(StageError, message, "") for message in ("the cause", "what followed"))
    board.report_failure("gang", cause)
    board.report_failure("gang", later)
    assert board.failures("gang") == [cause, later]
    assert board.failures("another") == []
