"""Killed before and after every commit of a step, it resumes where it was and ends as if nothing had happened.

Each case starts from a store in which the steps before are committed, kills the driver at the middle one of the times
that the undisturbed run passes the edge, and types the same command again.
"""

import signal
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.kill.home import Golden, Home
from tests.kill.invariants import hold_at_death, hold_at_the_end

SPREADING = ["pairs", "kept", "text", "talks", "base_llm", "pretrain_mix", "pretrain_rows", "merged"]
SPREADING += ["questions", "evaluate", "export"]
TRAINING = ["prebuffer", "mid"]
OF_ANY_STEP = ["inputs.recorded", "artifact.manifest_created", "artifact.head_written"]
OF_PARTS = ["phase.listed", "part.files_written", "part.uploaded", "part.recorded"]
OF_CHECKPOINTS = ["checkpoint.files_written", "checkpoint.uploaded", "checkpoint.gathered", "checkpoint.recorded"]
OF_CHECKPOINTS += ["checkpoint.retired", "checkpoint.deleted"]
EDGES = ["before", "after"]


@dataclass(frozen=True)
class Case:
    """Where a driver dies: in which step, at which edge of which point."""

    step: str
    point: str
    edge: str

    def __str__(self) -> str:
        return f"{self.step}-{self.point}:{self.edge}"


CASES = [Case(*case) for case in product(SPREADING, OF_ANY_STEP + OF_PARTS, EDGES)]
CASES += [Case(*case) for case in product(TRAINING, OF_ANY_STEP + OF_CHECKPOINTS, EDGES)]


SHORT = ["pairs-part.recorded:before", "pairs-part.recorded:after", "pretrain_rows-phase.listed:after"]
SHORT += ["evaluate-artifact.manifest_created:before", "kept-artifact.head_written:before"]
SHORT += ["mid-checkpoint.recorded:before", "mid-checkpoint.deleted:after"]
"""The cases that `make test` runs too."""


def with_marks(case: Case) -> ParameterSet:
    return pytest.param(case, id=str(case), marks=() if str(case) in SHORT else pytest.mark.kill)


@pytest.mark.parametrize("case", map(with_marks, CASES))
def test_killed_there_it_ends_as_if_nothing_had_happened(case: Case, golden: Golden, tmp_path: Path) -> None:
    edge = f"{case.point}:{case.edge}"
    num_passes = golden.num_passes(edge, case.step)
    assert num_passes, f"the undisturbed run never passes {edge} in {case.step}"
    home = Home(tmp_path)
    golden.lend(case.step, home)

    killed = home.run("--until", case.step, fault=f"{edge}@{(num_passes + 1) // 2}=kill")
    assert killed.code == -signal.SIGKILL, killed.out
    hold_at_death(home)
    at_death = home.committed()

    home.run("--until", case.step)
    hold_at_the_end(golden, case.step, at_death, home)


@pytest.mark.parametrize(
    ("step", "edge"), [("pretrain_rows", "part.recorded:after"), ("prebuffer", "checkpoint.recorded:after")]
)
def test_killed_after_each_commit_in_turn_it_still_arrives(
    step: str, edge: str, golden: Golden, tmp_path: Path
) -> None:
    home = Home(tmp_path)
    golden.lend(step, home)
    while home.run("--until", step, fault=f"{edge}=kill").code == -signal.SIGKILL:
        hold_at_death(home)
        at_death = home.committed()
    assert len(home.commands) == golden.num_passes(edge, step) + 1
    hold_at_the_end(golden, step, at_death, home)
