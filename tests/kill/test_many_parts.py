"""The runner stays small however many parts there are: a step of 39,000, planned, watched and resumed."""

import re
import subprocess
import sys

import pytest

from tests.kill.on_ray import ROOT

pytestmark = pytest.mark.kill
MOST_MB = 500
LINE = re.compile(r"(?P<name>\w+) +[\d.]+ s +[\d.]+ CPU-s +(?P<peak>\d+) MB")


@pytest.mark.parametrize("words", [(), ("--s3",)], ids=["folder", "s3"])
def test_39000_parts_take_little_memory(words: tuple[str, ...]) -> None:
    """Their seconds are what the benchmark prints."""
    command = [sys.executable, "-m", "benchmarks.many_parts", *words]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    peaks = {line["name"]: int(line["peak"]) for line in map(LINE.match, said.splitlines()) if line}
    assert {"plan", "status", "resume", "replan"} <= set(peaks), said
    assert "39000 parts, 390000000 items" in said
    assert max(peaks.values()) <= MOST_MB, said
