"""No more requests are inside than may be, and each that ends is counted once."""

from __future__ import annotations

import time
from contextlib import ExitStack

import pytest

from pipelines.serving.admission import Admission, Outcome
from pipelines.serving.errors import ProtocolError


def test_a_request_beyond_the_bound_is_told_when_to_come_again() -> None:
    admission = Admission(max_requests=2, max_sequences=1)
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(admission.entry())
        with pytest.raises(ProtocolError, match="come again in 2 s") as caught, admission.entry():
            pass
        assert (caught.value.status, caught.value.headers) == (429, {"Retry-After": "2"})
    with admission.entry():
        assert admission.num_inside == 1
    assert admission.num_inside == 0


def test_the_wait_follows_from_what_answers_took() -> None:
    admission = Admission(max_requests=100, max_sequences=4)
    admission.num_inside = 10
    for _ in range(3):
        admission.count(Outcome.ANSWERED, time.monotonic() - 2.0)
    admission.count(Outcome.CANCELLED, time.monotonic() - 500)
    assert admission.retry_seconds() in (5, 6)
    admission.num_inside = 10_000
    assert admission.retry_seconds() == 60
    assert admission.outcomes == {Outcome.ANSWERED: 3, Outcome.CANCELLED: 1}


def test_nothing_comes_in_once_it_is_closed() -> None:
    admission = Admission(max_requests=2, max_sequences=1)
    admission.is_closed = True
    with pytest.raises(ProtocolError, match="stopping") as caught, admission.entry():
        pass
    assert caught.value.status == 503 and admission.num_inside == 0
