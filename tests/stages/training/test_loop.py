"""Training from end to end on two ranks: killed, stopped, overtaken and poisoned, it ends the same or says why not."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from stages.commit.attempt import AttemptId
from stages.contract import GangLayout, InterruptedRunError, StageError, SupersededError
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from tests.long import long
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

RECIPE = TrainPrebufferRecipe(
    num_steps=6,
    rows_per_step=8,
    num_prebuffer_layers=1,
    patch_hidden=16,
    peak_learning_rate=1e-2,
    num_warmup_steps=2,
    precision="fp32",
    checkpoint_every_steps=2,
    keep_last_state=False,  # tests here count the checkpoints before the model; test_forks.py keeps that state
)
LLM = make_llm.bind("llm", LlmRecipe())
ROWS = make_rows.bind("rows", RowsRecipe(), LLM)


def two_ranks(zero_stage: int = 2) -> GangLayout:
    """ZeRO-3 partitions even the smallest parameter."""
    return GangLayout(num_ranks=2, zero_stage=zero_stage, micro_rows=2, persistent_parameter_values=0)


def training(rows=ROWS, **changes):
    return train_prebuffer.bind("prebuffer", RECIPE.model_copy(update=changes), [rows], LLM)


def committed_steps(world: SmallWorld, step) -> list[int]:
    return [record.facts["step"] for record in world.checkpoints(step).committed()]


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld.at(tmp_path)


def die_after(rank, step: int) -> None:
    """Rank 0 is killed once the checkpoint at `step` is committed."""
    commit = rank.checkpoints.commit

    def commit_and_die(files, at_step, facts):
        commit(files, at_step, facts)
        if at_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    rank.checkpoints.commit = commit_and_die


def test_exactly_the_new_parameters_move(world: SmallWorld) -> None:
    from safetensors.torch import load_file

    from neo_model.weights.partition import prebuffer_keys
    from stages.train_prebuffer import untrained_model
    from stages.training.weight_digests import weight_digests

    step = training()
    facts = world.make(step, two_ranks()).parts[-1].facts
    model = untrained_model(world.open(LLM).copy_to(world.scratch / "llm"), RECIPE)
    trainable = frozenset(name for name, one in model.named_parameters() if one.requires_grad)
    before = weight_digests(model.named_parameters(), trainable, 0, 1)
    assert trainable == prebuffer_keys(model.config)
    assert facts["frozen_digest"] == before.of_frozen
    assert facts["num_trained_tensors"] == len(trainable)
    assert facts["unmoved"] == []
    folder = world.open(step).copy_to(world.scratch / "buffer")
    trained = load_file(folder / "prebuffer.safetensors")
    assert set(trained) == trainable
    assert not any(trained[name].equal(one) for name, one in model.named_parameters() if name in trainable)


def touch_a_frozen_parameter(rank) -> None:
    """One frozen value is another by its last bit once the steps are done, on every rank alike."""
    import torch

    from stages.training.engine.engine import Engine

    apply = Engine.apply

    def touching(engine, rate):
        norm = apply(engine, rate)
        frozen = next(one for one in engine._engine.module.parameters() if not one.requires_grad)
        frozen.data.view(torch.int32).view(-1)[0] ^= 1
        return norm

    Engine.apply = touching


def test_a_frozen_parameter_that_changed_is_named_and_nothing_is_handed_out(world: SmallWorld) -> None:
    """Odd steps, so that the bit does not come back."""
    step = training(num_steps=3)
    with pytest.raises(StageError, match=r"1 frozen parameters changed in training, the first is \S+\.weight"):
        world.make(step, two_ranks(), trouble=touch_a_frozen_parameter)
    assert 3 not in committed_steps(world, step)


def ask_to_stop(rank) -> None:
    rank.stop_asked = lambda: True


def test_a_run_that_is_asked_to_stop_commits_first_and_goes_on_there(world: SmallWorld, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError, match="stopped after step 1 of 6"):
        world.make(training(), two_ranks(), trouble=ask_to_stop)
    assert committed_steps(world, training()) == [1]
    stopped = world.make(training(), two_ranks())
    assert committed_steps(world, training()) == [1, 2, 4, 6]
    assert stopped.content == SmallWorld.at(tmp_path / "other").make(training(), two_ranks()).content


def test_a_training_is_steered_while_it_goes_on(world: SmallWorld, tmp_path: Path) -> None:
    """How often it commits and what it keeps change nothing that it makes, and begin nothing anew."""
    with pytest.raises(InterruptedRunError):
        world.make(training(), two_ranks(), trouble=ask_to_stop)
    steered = training(checkpoint_every_steps=3, keep_last_checkpoints=1, keep_every_steps=6, num_heldout_rows=3)
    assert steered.fingerprint == training().fingerprint
    found = world.make(steered, two_ranks())
    assert [record.facts["step"] for record in world.checkpoints(steered).committed()] == [1, 3, 6]
    straight = SmallWorld.at(tmp_path / "other").make(training(), two_ranks())
    assert [entry.sha256 for entry in found.parts[-1].files] == [entry.sha256 for entry in straight.parts[-1].files]


def copy_nothing(rank, then=None) -> None:
    """In another layout no rank needs whole files of a checkpoint."""

    def fetch(*_):
        raise AssertionError("whole files were copied")

    rank.checkpoints.fetch = fetch
    if then:
        then(rank)


def test_other_ranks_and_zero_stages_go_on_from_the_same_checkpoints(world: SmallWorld, tmp_path: Path) -> None:
    """Two ranks, then one, then two again, each with another ZeRO stage."""
    from safetensors.torch import load_file

    step = training(peak_learning_rate=1e-3)
    for layout in (two_ranks(2), GangLayout(num_ranks=1, zero_stage=3, micro_rows=4)):
        with pytest.raises(InterruptedRunError):
            world.make(step, layout, trouble=partial(copy_nothing, then=ask_to_stop))
    world.make(step, two_ranks(1), trouble=copy_nothing)
    assert committed_steps(world, step) == [1, 2, 4, 6]
    other = SmallWorld.at(tmp_path / "other")
    other.make(step, two_ranks(2))
    moved, straight = (
        load_file(one.open(step).copy_to(one.scratch / "buffer") / "prebuffer.safetensors") for one in (world, other)
    )
    for name, value in straight.items():
        assert (moved[name] - value).abs().max() < 1e-6, name


def ragged(zero_stage: int = 2) -> GangLayout:
    """Eight rows on three ranks of two: of six rows in the first pass and two in the second, one rank has none."""
    return GangLayout(num_ranks=3, zero_stage=zero_stage, micro_rows=2, persistent_parameter_values=0)


@pytest.mark.parametrize("zero_stage", [long(1), long(2), 3])
def test_ranks_that_do_not_divide_the_rows_train_the_same(zero_stage: int, world: SmallWorld, tmp_path: Path) -> None:
    """Two ranks, then three of which one has an empty pass, stopped once more: the weights, losses and norms of two."""
    from safetensors.torch import load_file

    step = training(peak_learning_rate=1e-3)
    with pytest.raises(InterruptedRunError):
        world.make(step, two_ranks(zero_stage), trouble=ask_to_stop)
    with pytest.raises(InterruptedRunError):
        world.make(step, ragged(zero_stage), trouble=ask_to_stop)
    world.make(step, ragged(zero_stage))
    assert committed_steps(world, step) == [1, 2, 4, 6]
    other = SmallWorld.at(tmp_path / "other")
    other.make(step, two_ranks(zero_stage))
    moved, straight = (
        load_file(one.open(step).copy_to(one.scratch / "buffer") / "prebuffer.safetensors") for one in (world, other)
    )
    for name, value in straight.items():
        assert (moved[name] - value).abs().max() < 1e-6, name
    last, same = ([one for one in each.events if one.event == "numbers"][-1].numbers for each in (world, other))
    for name in ("loss", "loss/pairs", "loss/text", "gradient_norm"):
        assert last[name] > 0
    assert last["gradient_norm"] == pytest.approx(same["gradient_norm"], rel=1e-4)
    assert not [one for one in other.events if one.event == "noticed"]
    idle = [one.message for one in world.events if one.event == "noticed"]
    assert len(idle) == 2 and "8 rows of a step leave 33% of the places empty that 3 ranks x 2 rows x 2" in idle[0]


def test_ranks_that_do_not_divide_the_rows_resume_to_the_same_bits(world: SmallWorld, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError):
        world.make(training(), ragged(), trouble=ask_to_stop)
    stopped = world.make(training(), ragged())
    assert stopped.content == SmallWorld.at(tmp_path / "other").make(training(), ragged()).content


def be_overtaken(rank, step: int) -> None:
    """Another attempt commits `step` just before this one does."""
    from dataclasses import replace

    commit = rank.checkpoints.commit

    def overtaken(files, at_step, facts):
        if at_step == step:
            ours = rank.checkpoints
            other = replace(ours, writer=replace(ours.writer, attempt=AttemptId("other", 1)))
            other.commit(files, at_step, facts)
        return commit(files, at_step, facts)

    rank.checkpoints.commit = overtaken


def test_an_attempt_that_was_overtaken_changes_nothing(world: SmallWorld) -> None:
    with pytest.raises(SupersededError, match="committed by other-1"):
        world.make(training(), two_ranks(), trouble=partial(be_overtaken, step=4))
    assert [record.made_by["attempt"][:5] for record in world.checkpoints(training()).committed()] == ["run-3", "other"]


def poison(rank, step: int) -> None:
    """Rank 1 finds a value that is no number among the pixels of its second micro-batch."""
    from dataclasses import replace

    from stages.training.loading.micro_batches import StepLoader

    fetch, decode = StepLoader.fetch, StepLoader.decode
    poisoned = []

    def fetched(loader, at_step, number):
        found = fetch(loader, at_step, number)
        if (at_step, number, rank.rank) == (step, 1, 1):
            poisoned.append(found)
        return found

    def decoded(loader, found):
        micro_batch = decode(loader, found)
        if found in poisoned:
            patches = micro_batch.batch.patches.float()
            patches[0] = float("nan")
            micro_batch = replace(micro_batch, batch=replace(micro_batch.batch, patches=patches))
        return micro_batch

    StepLoader.fetch, StepLoader.decode = fetched, decoded


def test_a_loss_that_is_not_finite_stops_before_it_is_applied_and_names_the_rows(world: SmallWorld) -> None:
    from stages.formats.packed_rows.rows import RowReader
    from tests.stages.training.loading.test_micro_batches import loader_of

    with pytest.raises(StageError) as caught:
        world.make(training(), two_ranks(), trouble=partial(poison, step=4))
    rows = loader_of(world, rank=1).load(4)[1].rows
    samples = [one.hex() for row in rows for one in RowReader(world.open(ROWS)).read(row).sample_ids]
    text = str(caught.value)
    assert "rank 1: step 5: the loss is not finite" in text and "rank 0" not in text
    assert f"row {rows[0]}, row {rows[1]}, samples {', '.join(samples)};" in text
    assert committed_steps(world, training()) == [2, 4]


def test_a_gradient_that_is_not_finite_names_the_step(world: SmallWorld) -> None:
    with pytest.raises(StageError, match="step 2: the (loss|gradient) is not finite .* row [0-9]+"):
        world.make(training(peak_learning_rate=1e30, num_warmup_steps=0), two_ranks(3))
    assert committed_steps(world, training(peak_learning_rate=1e30, num_warmup_steps=0)) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"turned_row": 13},
            "picture 0 has 32 x 64 px .* 4 x 2 patches; 2 x 4 were .*on_damaged_row=skip",
        ),
        ({"broken_row": 13}, "picture 0 does not decode: .*on_damaged_row=skip"),
    ],
)
def test_a_row_that_does_not_fit_is_named_on_every_rank(changes: dict, message: str, world: SmallWorld) -> None:
    rows = make_rows.bind("rows", RowsRecipe(**changes), LLM)
    named = r"UnfitRowError: row 13 \(samples [0-9a-f, ]+; part 00000 of Rows\(.*\)\) cannot be trained on"
    with pytest.raises(StageError, match=f"rank [01]: step [1-3] could not be loaded: {named}: {message}"):
        world.make(training(rows), two_ranks())


def change_rows(rank) -> None:
    """As if the rows had been made again, with another content, since the last checkpoint."""
    from stages.training.checkpoints import restore

    restore.contents_of = lambda rows: ["0" * 64]


def test_training_goes_on_with_the_same_rows_only(world: SmallWorld) -> None:
    with pytest.raises(InterruptedRunError):
        world.make(training(), two_ranks(), trouble=ask_to_stop)
    with pytest.raises(StageError, match="checkpoint at step 1 was trained on other rows"):
        world.make(training(), two_ranks(), trouble=change_rows)


def load_another_model(rank) -> None:
    """As if a checkpoint's bytes were read rightly and understood wrongly."""
    from stages.training.engine.engine import Engine

    resume = Engine.resume

    def misunderstood(engine, num_applied):
        resume(engine, num_applied)
        for name, value in engine.parameters():
            if name.endswith("layers.0.mlp.down_proj.weight"):
                value.neg_()

    Engine.resume = misunderstood


def test_a_checkpoint_that_computes_something_else_is_refused(world: SmallWorld) -> None:
    with pytest.raises(InterruptedRunError):
        world.make(training(), two_ranks(), trouble=ask_to_stop)
    with pytest.raises(StageError, match=r"checkpoint at step 1 .* probe row was [0-9.]+ .* is [0-9.]+ now"):
        world.make(training(), two_ranks(), trouble=load_another_model)
    assert committed_steps(world, training()) == [1]


def test_old_checkpoints_go_and_their_records_stay(world: SmallWorld) -> None:
    world.make(training(checkpoint_every_steps=1, keep_last_checkpoints=1, keep_every_steps=3), two_ranks(1))
    checkpoints = world.checkpoints(training(checkpoint_every_steps=1, keep_last_checkpoints=1, keep_every_steps=3))
    assert [record.facts["step"] for record in checkpoints.committed()] == [1, 2, 3, 4, 5, 6]
    assert [record.facts["step"] for record in checkpoints.kept()] == [3, 5, 6]
    gone = [entry.key for record in checkpoints.committed()[:2] for entry in record.files]
    assert gone and not [key for key in gone if world.store.size_bytes(key) is not None]


def test_people_can_watch(world: SmallWorld) -> None:
    world.make(training(num_steps=11, checkpoint_every_steps=50), two_ranks())
    seen = [event for event in world.events if event.event == "numbers"]
    assert [event.at_step for event in seen] == [10, 11]
    assert 0 < seen[0].numbers["fill"] < 1
    for name in ("loss", "loss/pairs", "loss/text", "gradient_norm", "learning_rate", "tokens_per_second"):
        assert seen[0].numbers[name] > 0
    assert 0 <= seen[0].numbers["data_wait"] <= 1
    assert 0 <= seen[0].numbers["imbalance"] < 0.2
