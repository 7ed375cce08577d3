"""Mutations that once ended otherwise than in words are tried again, and a fuzzer says what fails."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.hostile import fuzz
from tests.hostile.fuzz import ROOT, ROUNDS, command

FOUND = json.loads(Path(__file__).with_name("found.json").read_text())


@pytest.mark.parametrize(("fuzzer", "number"), [(name, one) for name, numbers in FOUND.items() for one in numbers])
def test_what_was_found_once_ends_in_words(fuzzer: str, number: int) -> None:
    subprocess.run(command(fuzzer, number, number + 1), cwd=ROOT, check=True)


def test_a_round_that_fails_is_told_with_its_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fuzz, "ROUNDS", {"well": ("builtins:range", 5), "ill": ("operator:truediv", 0)})
    monkeypatch.setattr(fuzz, "NUM_NUMBERS", 1)
    (failed,) = fuzz.fuzz(seed=7, seconds=0.001)
    assert failed == "python -c 'from operator import truediv; truediv(0, 0)'"
    told = capsys.readouterr().out
    assert "well 0 to 4: well" in told and "ill 0 to -1: FAILED" in told and "ZeroDivisionError" in told
    assert told.endswith("2 rounds, 1 failed\n") and ROUNDS.keys() >= FOUND.keys()
