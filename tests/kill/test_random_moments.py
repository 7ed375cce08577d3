"""Two ranks that train, one of them killed at a moment that nobody chose: the weights at the end are the same.

A moment lies a few milliseconds behind a place that steps, saves or commits pass: each case has another place; the time
it is passed, the rank and the milliseconds are drawn by the number in its name. A moment that a rank does not come by,
such as a record on rank 1, kills nobody, which must change nothing either.
"""

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from stages.artifacts.manifest import Manifest
from tests.stages.training.test_loop import RECIPE, committed_steps, training, two_ranks
from tests.worlds.training_world import SmallWorld

PLACES = (
    "checkpoint.files_written",
    "step",
    "checkpoint.recorded",
    "checkpoint.uploaded",
    "checkpoint.gathered",
)
MAX_DELAY_SECONDS = 0.05
CASES = [
    pytest.param(number, zero_stage, marks=() if number == zero_stage else pytest.mark.kill)
    for number in range(1, 6)
    for zero_stage in (2, 3)
]
"""Two of them run in `make test`."""


@dataclass(frozen=True)
class Moment:
    place: str
    occurrence: int
    rank: int
    delay_seconds: float

    @classmethod
    def drawn(cls, number: int) -> "Moment":
        chance = random.Random(f"moment {number}")
        place = PLACES[number - 1]
        first, last = (3, RECIPE.num_steps) if place == "step" else (1, 2)
        return cls(place, chance.randint(first, last), chance.randrange(2), chance.uniform(0, MAX_DELAY_SECONDS))


def die_at(rank, moment: Moment) -> None:
    """The rank of the moment is killed at it, independently of what its other threads are doing."""
    if rank.rank != moment.rank:
        return
    from stages.commit import artifact_writer, checkpoints
    from stages.training.checkpoints import checkpoint, in_flight
    from stages.training.load_together import JointLoader

    num_passed = 0

    def passed() -> None:
        nonlocal num_passed
        num_passed += 1
        if num_passed == moment.occurrence:
            threading.Thread(target=die, daemon=True).start()

    def die() -> None:
        time.sleep(moment.delay_seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def watched(name: str, about: str = "") -> Iterator[None]:
        if name == moment.place:
            passed()
        yield

    load = JointLoader.load

    def load_watched(joint, step: int):
        if moment.place == "step":
            passed()
        return load(joint, step)

    JointLoader.load = load_watched
    for module in (artifact_writer, checkpoints, checkpoint, in_flight):
        module.fault_point = watched


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Manifest]:
    """By ZeRO stage."""
    return {
        zero_stage: SmallWorld.at(tmp_path_factory.mktemp("straight")).make(training(), two_ranks(zero_stage))
        for zero_stage in (2, 3)
    }


@pytest.mark.parametrize(("number", "zero_stage"), CASES)
def test_killed_at_any_moment_training_ends_with_the_same_weights(
    number: int, zero_stage: int, undisturbed: dict[int, Manifest], tmp_path: Path
) -> None:
    moment, world = Moment.drawn(number), SmallWorld.at(tmp_path)
    died = ""
    try:
        world.make(training(), two_ranks(zero_stage), trouble=partial(die_at, moment=moment))
    except Exception as death:
        died = str(death)
        assert any(sign in died for sign in ("SIGKILL", "onnection", "peer")), (moment, died)
    at_death = committed_steps(world, training())
    made = world.make(training(), two_ranks(zero_stage))
    assert made.content == undisturbed[zero_stage].content, moment
    assert committed_steps(world, training())[: len(at_death)] == at_death
    assert committed_steps(world, training()) == [2, 4, 6]
