"""Training on ranks that share rows: the model of one rank, under every ZeRO stage, killed, moved and ragged."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from stages.contract import GangLayout, InterruptedRunError, StageError
from stages.merge_post_llm import MergeRecipe, merge_post_llm
from stages.train_prebuffer import train_prebuffer
from stages.tune_end_to_end import TuneRecipe, tune_end_to_end
from tests.long import long
from tests.stages.training import test_held_out
from tests.stages.training.test_held_out import HELD_OUT, QUESTIONS, training
from tests.stages.training.test_loop import RECIPE, ask_to_stop, committed_steps, die_after
from tests.worlds.training_world import LlmRecipe, RowsRecipe, SmallWorld, make_llm, make_rows

LLM = make_llm.bind("llm", LlmRecipe(num_heads=4))
"""Of two key-value heads: one for each rank."""
ROWS = make_rows.bind("rows", RowsRecipe(num_documents=(2, 4), num_words=(3, 9)), LLM)
"""Some begin with a picture of eight tokens, which the border of two shares may cut; a third of them have none."""
SHORT = RECIPE.model_copy(update={"num_steps": 4, "peak_learning_rate": 1e-3})
BUFFER = train_prebuffer.bind("prebuffer", SHORT, [ROWS], LLM)
ALONE = GangLayout(num_ranks=1, zero_stage=1, micro_rows=2)


def shared(zero_stage: int, num_ranks: int = 2, **changes: Any) -> GangLayout:
    """Two ranks for each row; ZeRO-3 partitions even the smallest parameter."""
    layout = {"micro_rows": 2, "persistent_parameter_values": 0, **changes}
    return GangLayout(num_ranks=num_ranks, sequence_ranks=2, zero_stage=zero_stage, **layout)


def trained(world: SmallWorld, step) -> dict[str, Any]:
    """The weights that a training made."""
    from safetensors.torch import load_file

    folder = world.open(step).copy_to(world.scratch / step.fingerprint[:8])
    return {name: value for file in sorted(folder.glob("*.safetensors")) for name, value in load_file(file).items()}


def last_numbers(world: SmallWorld) -> dict[str, float]:
    return [one for one in world.events if one.event == "numbers"][-1].numbers


ALL_NUMBERS = ("loss", "loss/pairs", "loss/text", "gradient_norm", "fill")
OF_THE_LAST_STEP = ("gradient_norm",)
"""The others are means since a training began or was resumed."""


def assert_same(world: SmallWorld, other: SmallWorld, step=BUFFER, names=ALL_NUMBERS, within=1e-6) -> None:
    """Weights and numbers to rounding."""
    found, expected = trained(world, step), trained(other, step)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (found[name] - value).abs().max() < within, name
    numbers, wanted = last_numbers(world), last_numbers(other)
    for name in names:
        assert wanted[name] > 0 and numbers[name] == pytest.approx(wanted[name], rel=1e-5), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("alone"))
    world.make(BUFFER, ALONE)
    return world


@pytest.fixture
def world(tmp_path: Path) -> SmallWorld:
    return SmallWorld.at(tmp_path)


def test_rows_are_cut_inside_documents_and_pictures(alone: SmallWorld) -> None:
    """That the tests below see what they are to see."""
    from stages.formats.packed_rows.rows import RowReader

    rows = list(RowReader(alone.open(ROWS)))
    assert {len(row.token_ids) % 2 for row in rows} == {0, 1}, "lengths that two ranks do not divide"
    middles = [(row, len(row.token_ids) // 2) for row in rows]
    assert any(middle not in row.document_offsets for row, middle in middles)
    context = [row.token_ids[middle - 1] == row.token_ids[middle] for row, middle in middles if len(row.images)]
    assert any(context), "a picture on both sides of the border"
    assert any(len(row.images) == 0 for row in rows)


@pytest.mark.parametrize("zero_stage", [0, long(1), long(2), 3])
def test_two_ranks_that_share_rows_train_the_model_of_one(
    zero_stage: int, world: SmallWorld, alone: SmallWorld
) -> None:
    world.make(BUFFER, shared(zero_stage, num_loader_workers=int(zero_stage == 1)))
    assert_same(world, alone)


def test_a_run_that_was_killed_ends_with_the_same_bits(world: SmallWorld, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(BUFFER, shared(2), trouble=partial(die_after, step=2))
    killed = world.make(BUFFER, shared(2))
    assert committed_steps(world, BUFFER) == [2, 4]
    straight = SmallWorld.at(tmp_path / "straight").make(BUFFER, shared(2))
    assert killed.content == straight.content


@pytest.mark.long
def test_a_training_goes_on_where_rows_are_shared_otherwise(world: SmallWorld, alone: SmallWorld) -> None:
    """One rank, then two that share rows, then two that do not, then two groups of two of which one has an empty
    pass: eight rows in places for twelve."""
    for layout in (ALONE, shared(3), GangLayout(num_ranks=2, zero_stage=3, micro_rows=1)):
        with pytest.raises(InterruptedRunError):
            world.make(BUFFER, layout, trouble=ask_to_stop)
    world.make(BUFFER, shared(3, num_ranks=4, micro_rows=3, activation_checkpointing=True))
    assert committed_steps(world, BUFFER) == [1, 2, 3, 4]
    assert_same(world, alone, names=OF_THE_LAST_STEP)
    (idle,) = {one.message for one in world.events if one.event == "noticed"}
    assert "33% of the places empty that 2 groups of 2 ranks x 3 rows x 2 passes have" in idle


MERGED = merge_post_llm.bind("merged", MergeRecipe(), BUFFER, LLM)
TUNE = TuneRecipe(num_steps=3, rows_per_step=8, peak_learning_rate=1e-3, num_warmup_steps=0, precision="fp32")
TUNED = tune_end_to_end.bind("tuned", TUNE.model_copy(update={"checkpoint_every_steps": 1}), MERGED, [ROWS])


def test_a_whole_model_is_tuned_over_shared_rows(world: SmallWorld, alone: SmallWorld) -> None:
    """Killed once. Embedding and head train, and every layer has gradients from both ranks."""
    alone.make(TUNED, ALONE)
    for step in (BUFFER, MERGED):
        world.make(step, ALONE)
    layout = shared(3, activation_checkpointing=True)
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(TUNED, layout, trouble=partial(die_after, step=1))
    world.make(TUNED, layout)
    assert set(committed_steps(world, TUNED)) == {1, 2, 3}
    # Adam divides by the gradient's own size: where that is near its epsilon (1e-8), a last bit of the gradient moves a
    # weight by up to a thousandth of a step of 1e-3. Seen: 1.2e-6 in one element of one layer.
    assert_same(world, alone, TUNED, OF_THE_LAST_STEP, within=3e-6)


def examined(world: SmallWorld) -> dict[int, dict[str, float]]:
    """The numbers of each examination, by step."""
    reports = [one for one in world.events if one.event == "numbers" and "heldout/loss" in one.numbers]
    return {one.at_step: one.numbers for one in reports}


def test_examinations_are_those_of_one_rank(world: SmallWorld, tmp_path: Path) -> None:
    """Five held-out rows, of which ranks that share rows have shares and two groups each their own; and answers."""
    step = training(HELD_OUT, QUESTIONS)
    other = SmallWorld.at(tmp_path / "other")
    for one, layout in ((world, shared(3, num_ranks=4)), (other, ALONE)):
        with pytest.raises(InterruptedRunError):
            one.make(step, layout, trouble=ask_to_stop)
    found, expected = examined(world), examined(other)
    assert found.keys() == expected.keys() == {1}
    assert found[1].keys() == expected[1].keys() > {"heldout/loss", "heldout/loss/pairs", "heldout/accuracy"}
    assert found[1] == pytest.approx(expected[1], rel=1e-6)


BROKEN = make_rows.bind("rows", RowsRecipe(broken_row=13), LLM)
SKIPPING = train_prebuffer.bind("prebuffer", SHORT.model_copy(update={"on_damaged_row": "skip"}), [BROKEN], LLM)


def test_a_damaged_row_is_left_out_by_all_that_share_it(world: SmallWorld, tmp_path: Path) -> None:
    other = SmallWorld.at(tmp_path / "other")
    skipped = [
        one.make(SKIPPING, layout).parts[-1].facts["skipped"] for one, layout in ((world, shared(2)), (other, ALONE))
    ]
    assert skipped[0] == skipped[1] and [one["row"] for one in skipped[0]] == [13]
    assert_same(world, other, SKIPPING)
    told = [one.message for one in world.events if one.event == "noticed" and "skips row 13" in one.message]
    assert len(told) == 1, "one of them says so"


def cannot_read(rank, number: int) -> None:
    """Rank 1 finds a row damaged that is not."""
    from stages.formats.packed_rows.rows import DamagedRowError, RowReader

    read = RowReader.read

    def failing(reader, row):
        if row == number and rank.rank == 1:
            raise DamagedRowError("the disk of rank 1", reader.rows.fingerprint, "00000", row)
        return read(reader, row)

    RowReader.read = failing


def test_ranks_that_do_not_load_the_same_rows_stop_in_words_and_agree_the_next_time(world: SmallWorld) -> None:
    """Attention over a row of which one rank has another would wait for ever, or be wrong."""
    step = train_prebuffer.bind("prebuffer", SHORT.model_copy(update={"on_damaged_row": "skip"}), [ROWS], LLM)
    with pytest.raises(StageError, match="ranks that share a row have loaded different rows.*run the same command"):
        world.make(step, shared(1), trouble=partial(cannot_read, number=7))
    made = world.make(step, shared(1))
    assert [one["row"] for one in made.parts[-1].facts["skipped"]] == [7]


def cannot_read_held_out(rank, number: int, of_rank: int, fingerprint: str) -> None:
    """One rank finds a held-out row damaged, and is asked to stop after a step."""
    from stages.formats.packed_rows.rows import DamagedRowError, RowReader

    read = RowReader.read

    def failing(reader, row):
        if row == number and rank.rank == of_rank and reader.rows.fingerprint == fingerprint:
            raise DamagedRowError("the disk of a rank", fingerprint, "00000", row)
        return read(reader, row)

    RowReader.read = failing
    ask_to_stop(rank)


@pytest.mark.long
def test_a_held_out_row_that_one_rank_cannot_read_counts_on_none(world: SmallWorld, tmp_path: Path) -> None:
    recipe = SHORT.model_copy(update={"on_damaged_row": "skip", "checkpoint_every_steps": 1})
    step = train_prebuffer.bind("prebuffer", recipe, [test_held_out.ROWS], test_held_out.LLM, HELD_OUT)
    other = SmallWorld.at(tmp_path / "other")
    for one, layout, of_rank in ((world, shared(2), 1), (other, ALONE, 0)):
        damage = partial(cannot_read_held_out, number=3, of_rank=of_rank, fingerprint=HELD_OUT.fingerprint)
        with pytest.raises(InterruptedRunError):
            one.make(step, layout, trouble=damage)
        assert any("a held-out row is left out" in event.message for event in one.events if event.event == "noticed")
    assert examined(world)[1] == pytest.approx(examined(other)[1], rel=1e-6)


def no_rank(_rank) -> None:
    raise AssertionError("a rank began")


def test_what_ranks_would_refuse_is_refused_before_there_is_one(world: SmallWorld) -> None:
    """Heads that cannot be dealt alike; what DeepSpeed does not have; from a language model and from a checkpoint."""
    for layout, words in (
        (
            GangLayout(num_ranks=3, sequence_ranks=3),
            r"sequence_ranks = 3: attention of 4 query heads and 2 key-value heads cannot be .* it can to 1, 2, 4\.",
        ),
        (GangLayout(zero_stage=0, offload_optimizer=True), "offload_optimizer needs ZeRO"),
    ):
        with pytest.raises(StageError, match=words):
            world.make(BUFFER, layout, trouble=no_rank)
    for step in (BUFFER, MERGED):
        world.make(step, ALONE)
    with pytest.raises(StageError, match="sequence_ranks = 3"):
        world.make(TUNED, GangLayout(num_ranks=3, sequence_ranks=3), trouble=no_rank)
    with pytest.raises(ValueError, match=r"num_ranks = 3 with sequence_ranks = 2: .* write a multiple of 2"):
        GangLayout(num_ranks=3, sequence_ranks=2)
