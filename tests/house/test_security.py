"""SECURITY.md names a test for each promise, and each that it names exists."""

import re

from tests.house.test_layout import ROOT

TEXT = (ROOT / "SECURITY.md").read_text()
PROMISES = [line for line in TEXT.partition("## What is not")[0].splitlines() if line.startswith("| ")][2:]


def test_each_promise_has_tests_that_exist() -> None:
    assert len(PROMISES) >= 11
    for promise in PROMISES:
        named = re.findall(r"`(tests/[^`]+)`", promise.rpartition(" | ")[2] or promise)
        assert named, promise
        assert [path for path in named if not (ROOT / path).exists()] == []
