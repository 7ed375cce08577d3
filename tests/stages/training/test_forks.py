"""A training begins from a checkpoint of another: bit for bit where nothing changes, and accounted for over both."""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pytest

from pipelines.lineage.finders import find_in_weights
from pipelines.lineage.sightings import Carryover
from pipelines.runs.forks import fork_at
from stages.artifacts.kinds import Rows
from stages.artifacts.records import InputRecord
from stages.contract import Fork, ReadingSteps, fork_of
from stages.training.checkpoints.facts import CheckpointFacts
from stages.training.exposure import seen_rows
from stages.training.forks import ForkOrigin, spans_of, why_unfit
from stages.training.loading.step_rows import Span
from tests.stages.training.test_exposure import batches_in, keep_batches, rows_in
from tests.stages.training.test_loop import LLM, RECIPE, ROWS, die_after, training, two_ranks
from tests.worlds.training_world import RowsRecipe, SmallWorld, make_rows

OTHER_ROWS = make_rows.bind("other_rows", RowsRecipe(num_rows=10, seed=5), LLM)
ALL_KEPT = {"checkpoint_every_steps": 1, "keep_last_checkpoints": 7, "keep_last_state": True}
ORIGIN = training(**ALL_KEPT)


@dataclass
class Forks:
    """A store with a finished training of 6 steps, of which every checkpoint is kept, and the rows of its steps."""

    world: SmallWorld
    folder: Path
    rows: dict[str, list[Counter[int]]] = field(default_factory=dict)
    """Rows that each step really read, by fingerprint of the training, from its first step on."""

    def make(self, step) -> None:
        folder = self.folder / step.fingerprint[:8]
        folder.mkdir()
        self.world.make(step, two_ranks(), partial(keep_batches, folder=folder))
        self.rows[step.fingerprint] = [rows_in(batches) for _, batches in sorted(batches_in(folder).items())]

    def at(self, origin, at_step: int, step):
        """`step` as it begins from a checkpoint of `origin`."""
        before = ForkOrigin(origin.stage.name, origin.fingerprint, origin.recipe.model_dump(mode="json"), origin.fork)
        fork = fork_at(self.world.store, before, at_step, step)
        assert fork is not None
        return replace(step, fork=fork)


def weights(world: SmallWorld, step) -> list[tuple[str, str]]:
    """Name and digest of each file of a trained model."""
    return [(entry.name, entry.sha256) for entry in world.open(step).parts[-1].files]


def steps_of(world: SmallWorld, step) -> list[int]:
    return [record.facts["step"] for record in world.checkpoints(step).committed()]


@pytest.fixture(scope="module")
def forks(tmp_path_factory: pytest.TempPathFactory) -> Forks:
    folder = tmp_path_factory.mktemp("forks")
    found = Forks(SmallWorld.at(folder), folder)
    found.make(ORIGIN)
    return found


def test_a_fork_with_nothing_changed_ends_with_the_same_bits(forks: Forks) -> None:
    """Killed after its first checkpoint, too."""
    world, fork = forks.world, forks.at(ORIGIN, 3, ORIGIN)
    assert fork.fingerprint != ORIGIN.fingerprint
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(fork, two_ranks(), trouble=partial(die_after, step=4))
    assert steps_of(world, fork) == [4]
    made = world.make(fork, two_ranks())
    assert steps_of(world, fork) == [4, 5, 6, 6], "the last state, then the model"
    assert weights(world, fork) == weights(world, ORIGIN)
    assert made.inputs == world.open(ORIGIN).manifest.inputs
    assert str(fork_of(world.open(fork).head)) == f"begins at step 3 of train_prebuffer/{ORIGIN.fingerprint[:12]}"
    whole, both = (seen_rows(world.open(step)) for step in (ORIGIN, fork))
    assert [one.span for one in whole] == [one.span for one in both]
    assert (whole[0].times == both[0].times).all()


@pytest.mark.long
def test_a_fork_of_a_fork_knows_what_all_three_have_read(forks: Forks) -> None:
    """More rows a step and another rate from step 2 on, then other rows from step 4 on."""
    world = forks.world
    more = forks.at(ORIGIN, 2, training(num_steps=8, rows_per_step=12, peak_learning_rate=5e-3, **ALL_KEPT))
    forks.make(more)
    other = forks.at(more, 4, training(rows=OTHER_ROWS, num_steps=7, rows_per_step=12, **ALL_KEPT))
    assert forks.at(other, 2, more).fingerprint == more.fingerprint, "what a fork began from is found through it"
    forks.make(other)

    old = [*forks.rows[ORIGIN.fingerprint][:2], *forks.rows[more.fingerprint][:2]]
    new = forks.rows[other.fingerprint]
    assert sum(map(Counter.total, old)) == 2 * 8 + 2 * 12 and len(new) == 3
    made = world.open(other)
    seen = seen_rows(made)
    assert [(one.name, one.span.first_step, one.span.until_step) for one in seen] == [
        ("before.rows.0", 0, 2),
        ("before.rows.0", 2, 4),
        ("rows.0", 4, 7),
    ]
    for one, steps in zip(seen, (old[:2], old[2:], new), strict=True):
        assert dict(sum(steps, Counter())) == {row: times for row, times in enumerate(one.times.tolist()) if times}
    assert made.head.inputs["before.rows.0"].fingerprint == ROWS.fingerprint

    row = next(iter(old[3]))
    sighting = find_in_weights(made, {"before.rows.0": Carryover(rows=frozenset([row]))})
    assert sighting.steps == tuple(step for step, rows in enumerate(old, start=1) if row in rows)
    assert made.input("before.rows.0", Rows).fingerprint == ROWS.fingerprint


def test_a_finished_training_is_handed_out_again_at_another_step_without_a_step(forks: Forks) -> None:
    """What its checkpoint of that step holds, as a training has it that ends there."""
    world, again = forks.world, forks.at(ORIGIN, 4, training(hand_out=4, **ALL_KEPT))
    forks.make(again)
    assert forks.rows[again.fingerprint] == [] and steps_of(world, again) == [4]
    straight = training(hand_out=4, **ALL_KEPT)
    world.make(straight, two_ranks())
    assert weights(world, again) == weights(world, straight)
    assert seen_rows(world.open(again))[0].times.tolist() == seen_rows(world.open(ORIGIN), 4)[0].times.tolist()


def test_a_finished_training_continues_from_its_end(forks: Forks) -> None:
    """With the same bits as a training that was longer from the beginning, at a rate that is the same in both."""
    level = {"floor_ratio": 1.0, "keep_last_checkpoints": 1, "keep_last_state": True}
    short, whole = training(**level), training(num_steps=8, **level)
    longer = forks.at(ORIGIN, 6, training(num_steps=7, **ALL_KEPT))
    forks.make(short)
    forks.make(whole)
    end = forks.at(short, 6, whole)
    forks.make(end)
    assert steps_of(forks.world, end) == [8, 8], "the last state, then the model"
    assert forks.rows[end.fingerprint] == forks.rows[whole.fingerprint][6:]
    assert weights(forks.world, end) == weights(forks.world, whole) != weights(forks.world, short)
    assert longer.fingerprint != forks.at(ORIGIN, 5, training(num_steps=7, **ALL_KEPT)).fingerprint


@pytest.mark.long
def test_killed_between_its_last_state_and_the_model_a_training_ends_the_same(forks: Forks) -> None:
    """No step is taken again: the model is made of the state."""
    world, again = forks.world, ORIGIN
    elsewhere = SmallWorld.at(forks.folder / "elsewhere")
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        elsewhere.make(again, two_ranks(), trouble=partial(die_after, step=6))
    assert steps_of(elsewhere, again) == [1, 2, 3, 4, 5, 6]
    assert CheckpointFacts.of(elsewhere.checkpoints(again).committed()[-1]).is_model is False
    elsewhere.make(again, two_ranks())
    assert steps_of(elsewhere, again) == [1, 2, 3, 4, 5, 6, 6]
    assert weights(elsewhere, again) == weights(world, ORIGIN)


def test_an_end_without_its_state_is_not_forked(forks: Forks) -> None:
    alone = training(seed=3, **{**ALL_KEPT, "keep_last_state": False})
    forks.world.make(alone, two_ranks())
    assert steps_of(forks.world, alone) == [1, 2, 3, 4, 5, 6]
    training_of = ForkOrigin(alone.stage.name, alone.fingerprint, alone.recipe.model_dump(mode="json"), None)
    assert fork_at(forks.world.store, training_of, 6, alone) is None
    assert fork_at(forks.world.store, training_of, 5, alone) is not None


def fork() -> Fork:
    rows = read("old")
    return Fork(
        stage="train",
        fingerprint="f" * 64,
        at_step=40,
        content="c",
        recipe=RECIPE.model_dump(mode="json"),
        inputs={"rows.0": rows, "llm": read("llm")},
        course=(ReadingSteps(name="rows.0", rows=rows, seed=0, rows_per_step=8, first_step=0, until_step=40),),
    )


def read(name: str) -> InputRecord:
    return InputRecord(stage="make", fingerprint=name, content="c")


@pytest.mark.parametrize(
    ("fields", "rows", "expected"),
    [
        ({}, ["old"], (Span(0, 40, 100, 320),)),
        ({"rows_per_step": 16}, ["old"], (Span(0, 40, 100, 320),)),
        ({"seed": 1}, ["old"], (Span(0, 40, 100, 0),)),
        ({}, ["new"], (Span(0, 40, 100, 0),)),
        ({"until_steps": (40,)}, ["old", "new"], (Span(1, 40, 100, 0),)),
        ({"until_steps": (60,)}, ["old", "new"], (Span(0, 40, 60, 320), Span(1, 60, 100, 0))),
    ],
)
def test_rows_that_are_under_way_continue_and_others_begin(fields, rows, expected) -> None:
    recipe = RECIPE.model_copy(update={"num_steps": 100, **fields})
    assert spans_of(recipe, rows, fork()) == expected


def test_what_a_fork_cannot_change_is_refused_in_words() -> None:
    recipe, inputs = RECIPE.model_copy(update={"num_steps": 100}), {"rows.0": "new", "llm": "llm"}
    assert why_unfit(recipe, inputs, fork()) == ""
    assert why_unfit(RECIPE, inputs, fork()) == "num_steps = 6 leaves no step after 40; raise it"
    early = recipe.model_copy(update={"hand_out": 30})
    assert why_unfit(early, inputs, fork()) == "hand_out = 30 leaves no step after 40; raise it"
    mean = recipe.model_copy(update={"average_last": 4, "average_every_steps": 20})
    assert why_unfit(mean, inputs, fork()) == "average_last = 4 states reach back to step 40, which is not after 40"
    moving = recipe.model_copy(update={"ema_decay": 0.9})
    assert why_unfit(moving, inputs, fork()).startswith("ema_decay cannot be added or left out")
    deeper = recipe.model_copy(update={"num_prebuffer_layers": 2})
    assert why_unfit(deeper, inputs, fork()).startswith("num_prebuffer_layers cannot change")
    assert why_unfit(recipe, {**inputs, "llm": "other"}, fork()).startswith("llm cannot be another than that of train/")
    assert why_unfit(recipe, {**inputs, "start": "x"}, fork()).startswith("start cannot be another")
