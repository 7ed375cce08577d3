"""The steps to a response, without a network: waits here; redirects and tries by way of the client and the engines."""

import pytest

from stages.download.http.fetch_steps import FIRST_WAIT_SECONDS, JITTER, MAX_WAIT_SECONDS, wait_seconds
from stages.download.reasons import Reason, RowError


@pytest.mark.parametrize(
    ("retry_after_seconds", "number", "least_seconds"),
    [
        (0.0, 1, FIRST_WAIT_SECONDS),
        (0.0, 3, 1.0),
        (0.0, 20, MAX_WAIT_SECONDS),
        (0.0, 5000, MAX_WAIT_SECONDS),
        (2.0, 1, 2.0),
        (3600.0, 1, MAX_WAIT_SECONDS),
    ],
)
def test_waits_double_and_follow_retry_after_up_to_a_bound(
    retry_after_seconds: float, number: int, least_seconds: float
) -> None:
    waits = {wait_seconds(RowError(Reason.SERVER_ERROR, retry_after_seconds), number) for _ in range(100)}
    assert least_seconds <= min(waits) and max(waits) <= least_seconds * (1 + JITTER)
    assert len(waits) > 50  # those who failed together do not come back together
