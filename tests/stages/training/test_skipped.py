"""A step left out on record: nothing is updated, every attempt obeys, and the account of what was seen knows."""

from functools import partial
from pathlib import Path

import pytest

from pipelines.lineage.finders import _steps
from stages.commit.recorded_facts import record_fact
from stages.contract import GangLayout, InterruptedRunError, PartRecord, StageError
from stages.training.checkpoints.facts import SKIPPED_STEPS_PHASE, SkippedStepFacts
from stages.training.exposure import seen_rows
from stages.training.loading.step_rows import RowOrder
from stages.training.recipe import learning_rate
from stages.training.skipped import LeftOutOfSteps, skipped_steps_fact
from tests.stages.training.test_loop import RECIPE, ROWS, ask_to_stop, poison, training, two_ranks
from tests.worlds.training_world import SmallWorld

POISONED = 5
"""A step, counted from 1."""
FACTS = SkippedStepFacts(step=POISONED, reason="NaN at each resume", by="ann@lab", at="2026-11-30T12:00:00+00:00")


def leave_out(world: SmallWorld, step, facts: SkippedStepFacts = FACTS) -> None:
    record_fact(world._spec(step).writer, SKIPPED_STEPS_PHASE, facts.dump())


def rates_and_updates(rank, folder: Path) -> None:
    """Note the learning rate of each update of rank 0."""
    from stages.training.engine.engine import Engine

    apply = Engine.apply

    def noting(engine, rate):
        if rank.rank == 0:
            with (folder / "rates").open("a") as file:
                file.write(f"{rate}\n")
        return apply(engine, rate)

    Engine.apply = noting


def do_nothing_at(rank, step: int) -> None:
    """The step passes without an update: what leaving it out must come to."""
    from stages.training import loop

    apply = loop.optimizer_step
    loop.optimizer_step = lambda at, *rest, **others: 0.0 if at == step else apply(at, *rest, **others)


def files_of(manifest) -> dict[str, str]:
    return {entry.name: entry.sha256 for entry in manifest.parts[-1].files}


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> tuple[SmallWorld, str]:
    """A training that fails at a step, at each try, and then goes on without it; and what it said."""
    world = SmallWorld.at(tmp_path_factory.mktemp("poisoned"))
    for _ in range(2):
        with pytest.raises(StageError) as caught:
            world.make(training(), two_ranks(), trouble=partial(poison, step=POISONED - 1))
    leave_out(world, training())
    with pytest.raises(InterruptedRunError, match="after step 5 of 6"):
        world.make(training(), two_ranks(), trouble=stop_with_poison)
    world.make(training(), two_ranks(), trouble=partial(rates_and_updates, folder=world.scratch.parent))
    return world, str(caught.value)


def stop_with_poison(rank) -> None:
    """Asked to stop, with the poison still there: nothing of the step is even read."""
    poison(rank, POISONED - 1)
    ask_to_stop(rank)


def test_the_failed_step_names_the_command(poisoned) -> None:
    _, text = poisoned
    assert f"neo skip {training().fingerprint[:12]} --step {POISONED} --reason" in text


def test_every_checkpoint_from_the_step_on_names_it_with_the_reason(poisoned) -> None:
    world, _ = poisoned
    facts = [record.facts for record in world.checkpoints(training()).committed()]
    told = {one["step"]: one.get("skipped_steps") for one in facts}
    assert told == {2: None, 4: None, 5: [FACTS.dump()], 6: [FACTS.dump()]}
    assert [one.get("num_applied") for one in facts] == [2, 4, 4, None]
    warnings = [event.message for event in world.events if event.event == "noticed"]
    assert warnings == ["rank 0: step 5 is left out, as recorded: NaN at each resume"]


def test_nothing_is_updated_and_the_next_step_has_the_rate_of_its_number(poisoned, tmp_path: Path) -> None:
    world, _ = poisoned
    rates = [float(line) for line in (world.scratch.parent / "rates").read_text().split()]
    assert rates == [learning_rate(5, RECIPE)]
    straight = SmallWorld.at(tmp_path)
    found = straight.make(training(), two_ranks(), trouble=partial(do_nothing_at, step=POISONED - 1))
    assert files_of(found) == files_of(world.open(training()).manifest)


@pytest.mark.long
def test_another_layout_leaves_out_the_same(poisoned, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    other = SmallWorld.at(tmp_path)
    with pytest.raises(InterruptedRunError):
        other.make(training(), two_ranks(1), trouble=ask_to_stop)
    leave_out(other, training())
    other.make(training(), GangLayout(num_ranks=1, zero_stage=3, micro_rows=4, num_loader_workers=1))
    mine, theirs = (
        load_file(one.open(training()).copy_to(one.scratch / "buffer") / "prebuffer.safetensors")
        for one in (poisoned[0], other)
    )
    assert max(float((mine[name] - theirs[name]).abs().max()) for name in mine) < 2e-4


def test_the_first_step_may_be_left_out_and_its_row_probes_no_checkpoint(tmp_path: Path) -> None:
    """Its rows may hold what is no number, so that their loss says nothing."""
    world, step = SmallWorld.at(tmp_path), training(num_steps=3)
    world.make(ROWS)
    leave_out(world, step, FACTS.model_copy(update={"step": 1}))
    world.make(step, two_ranks())
    first, last = world.checkpoints(step).committed()
    assert first.facts["probe_loss"] > 0 and last.facts["skipped_steps"][0]["step"] == 1
    order = RowOrder(num_rows=24, rows_per_step=8, seed=0)
    seen = seen_rows(world.open(step))[0].times
    assert seen.tolist() == [int(row not in order.rows_of_step(0)) for row in range(24)]


@pytest.mark.parametrize("until_step", [4, 5, 6])
def test_its_rows_were_not_seen_by_then_nor_by_the_end(poisoned, until_step: int) -> None:
    world, _ = poisoned
    order = RowOrder(num_rows=24, rows_per_step=8, seed=0)
    expected = order.times_taken(until_step)
    for row in order.rows_of_step(POISONED - 1) if until_step >= POISONED else ():
        expected[row] -= 1
    assert seen_rows(world.open(training()), until_step)[0].times.tolist() == expected.tolist()


def test_the_steps_that_read_a_row_are_not_those_that_were_left_out(poisoned) -> None:
    world, _ = poisoned
    order = RowOrder(num_rows=24, rows_per_step=8, seed=0)
    row = order.rows_of_step(POISONED - 1)[0]
    taken = [step + 1 for step in order.steps_of_row(row, 6)]
    assert POISONED in taken
    found = list(_steps(world.open(training()), "rows.0", [row]))
    assert found == [step for step in taken if step != POISONED]


def test_what_was_recorded_twice_counts_once_and_only_from_its_step_on() -> None:
    records = [PartRecord(phase=SKIPPED_STEPS_PHASE, part=f"{number}", facts=FACTS.dump()) for number in range(2)]
    assert skipped_steps_fact(records, POISONED - 1) == {}
    assert skipped_steps_fact(records, POISONED) == {"skipped_steps": [FACTS.dump()]}
    left_out = LeftOutOfSteps.recorded((), records)
    assert left_out.holds(POISONED - 1, 3) and not left_out.holds(POISONED, 3)
