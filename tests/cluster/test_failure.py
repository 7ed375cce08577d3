"""Failures of other processes: plain values that keep their kind, their message and where they came from."""

import errno
import pickle
import socket

import pytest

from cluster.failure import Failure
from stages.contract import InterruptedRunError, StageError, SupersededError


class OwnStageError(StageError):
    """A stage's own error, of a module that another process may not be able to import."""


class UnpicklableError(Exception):
    def __init__(self, left: str, right: str) -> None:
        super().__init__(f"{left} and {right}")


def failure_of(error: Exception) -> Failure:
    try:
        raise error
    except Exception as raised:
        return Failure.of(raised, "step 'pairs': part write/00001")


def sent(failure: Failure) -> Failure:
    """The failure as another process receives it."""
    return pickle.loads(pickle.dumps(failure))  # noqa: S301


@pytest.mark.parametrize("kind", [InterruptedRunError, SupersededError, StageError])
def test_an_error_of_ours_keeps_its_kind_and_message(kind: type[StageError]) -> None:
    error = sent(failure_of(kind("as it was"))).error()
    assert type(error) is kind
    assert str(error) == "as it was"


def test_a_subclass_becomes_the_nearest_class_that_every_process_knows() -> None:
    assert type(failure_of(OwnStageError("mine")).error()) is StageError


def test_another_exception_is_named_with_the_place_where_it_happened() -> None:
    error = sent(failure_of(UnpicklableError("a", "b"))).error()
    assert type(error) is StageError
    assert str(error) == "step 'pairs': part write/00001 failed: UnpicklableError: a and b"


def test_the_traceback_of_the_other_process_is_the_cause() -> None:
    assert "in failure_of" in str(failure_of(ValueError("x")).error().__cause__)


def test_a_failure_knows_where_it_happened_and_whether_the_machine_caused_it() -> None:
    failure = sent(Failure.of(OSError(errno.ENOSPC, "No space left on device"), "step 'pairs'", "a1b2"))
    assert (failure.fault, failure.node, failure.host) == ("disk full", "a1b2", socket.gethostname())
    assert failure_of(ValueError("x")).fault is None
