"""The runner stays small however many parts there are: a step of 39,000, planned, watched and resumed."""

import re
import subprocess
import sys

import pytest

from tests.kill.on_ray import ROOT

MOST_MB = 500
LINE = re.compile(r"(?P<name>\w+) +(?P<wall>[\d.]+) s +(?P<cpu>[\d.]+) CPU-s +(?P<peak>\d+) MB")


@pytest.mark.parametrize(
    ("words", "clock", "most_seconds"),
    [((), "cpu", 5.0), (("--s3",), "wall", 30.0)],
    ids=["folder", "s3"],
)
def test_39000_parts_take_seconds_and_little_memory(words: tuple[str, ...], clock: str, most_seconds: float) -> None:
    """On a folder nobody is waited for, so CPU seconds count, whatever else the machine does."""
    command = [sys.executable, "-m", "benchmarks.many_parts", *words]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    found = {line["name"]: line for line in map(LINE.match, said.splitlines()) if line}
    assert {"plan", "status", "resume", "replan"} <= set(found), said
    assert "39000 parts, 390000000 items" in said
    for name in ("plan", "status", "resume", "replan"):
        assert float(found[name][clock]) <= most_seconds, said
        assert int(found[name]["peak"]) <= MOST_MB, said
