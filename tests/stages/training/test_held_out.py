"""Training is examined on what it never sees: numbers, answers and a best checkpoint, and not a bit of it changes."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.artifacts.kinds import SAMPLE_ROWS_FILE, SAMPLE_ROWS_OFFSETS_FILE, BaseLlm, Draw, Rows
from stages.artifacts.records import PartRecord
from stages.contract import (
    GangLayout,
    NumbersReported,
    Part,
    PartDraft,
    PictureKept,
    Recipe,
    StageContext,
    StageError,
    stage,
)
from stages.formats.packed_rows.sample_index import ENTRY_FIELDS, write_index
from stages.formats.sample_table import read_table
from stages.store.store import Store
from stages.train_prebuffer import train_prebuffer
from stages.training.held_out import HeldOut
from tests.stages.training.ranks import run_ranks
from tests.stages.training.test_loop import LLM, RECIPE, die_after, two_ranks
from tests.worlds.colour_world import PicturesRecipe, QuestionsRecipe, make_pictures, make_questions
from tests.worlds.training_world import RowsRecipe, SmallWorld, write_rows


class PurposeRecipe(Recipe):
    purpose: str = "train"


@stage(number=1, recipe=PurposeRecipe, makes=Draw)
def make_draw(recipe: PurposeRecipe, *, ctx: StageContext) -> None:
    ctx.spread(nothing, over=[Part(name="00000")], phase="draw")


@stage(number=1, recipe=RowsRecipe, makes=Rows)
def make_rows(recipe: RowsRecipe, draw: Draw, llm: BaseLlm, *, ctx: StageContext) -> None:
    (record,) = ctx.spread(partial(write_rows, recipe=recipe, llm=llm), over=[Part(name="00000")], phase="write")
    ctx.spread(partial(write_samples, store=llm.store, rows=record), over=[Part(name="plan")], phase="plan")


def nothing(part: Part, draft: PartDraft) -> None:
    draft.path("nothing").write_bytes(b"")


def write_samples(part: Part, draft: PartDraft, store: Store, rows: PartRecord) -> None:
    """The index from samples to rows, as packing writes it."""
    index = read_table(store.read(rows.file("index.parquet").key), ["row", "sample_ids"]).to_pylist()
    entries = [(sample_id, row["row"]) for row in index for sample_id in row["sample_ids"]]
    bucket = np.array(entries, np.dtype(ENTRY_FIELDS))
    write_index([bucket], len(entries), draft.path(SAMPLE_ROWS_FILE), draft.path(SAMPLE_ROWS_OFFSETS_FILE))


DRAW = make_draw.bind("draw", PurposeRecipe())
UNSEEN = make_draw.bind("unseen", PurposeRecipe(purpose="examine"))
ROWS = make_rows.bind("rows", RowsRecipe(), DRAW, LLM)
HELD_OUT = make_rows.bind("heldout_rows", RowsRecipe(num_rows=5, seed=9), UNSEEN, LLM)
OTHERS = make_rows.bind("others", RowsRecipe(num_rows=4, seed=11), UNSEEN, LLM)
PICTURES = make_pictures.bind("pictures", PicturesRecipe(num_pictures=4))
QUESTIONS = make_questions.bind("questions", QuestionsRecipe(), PICTURES)


def training(*examined_on: Any, rows=ROWS):
    changes = {"num_answers": 4, "max_answer_tokens": 3, "keep_last_checkpoints": 1, "checkpoint_every_steps": 1}
    return train_prebuffer.bind("prebuffer", RECIPE.model_copy(update=changes), [rows], LLM, *examined_on)


def weights(world: SmallWorld, step) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(world.open(step).copy_to(world.scratch / step.fingerprint[:8]) / "prebuffer.safetensors")


def examined_loss(world: SmallWorld, trained: dict[str, Any]) -> float:
    """Of the finished model on all held-out rows at once, in this process, without DeepSpeed."""
    import torch

    from stages.train_prebuffer import untrained_model
    from stages.training.loading.micro_batches import FetchedRows, PackedRows, StepLoader

    model = untrained_model(world.open(LLM).copy_to(world.scratch / "llm"), RECIPE)
    model.load_state_dict(trained, strict=False)
    rank = type("Alone", (), {"layout": GangLayout(), "rank": 0, "world_size": 1})
    packed = PackedRows.of(world.open(HELD_OUT))
    loader = StepLoader.of(RECIPE, [world.open(ROWS)], rank, model.config)
    with torch.no_grad():
        sums = model(loader.decode(FetchedRows(packed, tuple(packed.reader))).batch)
    return float(sums.loss / sums.weight)


def test_an_examined_run_that_was_killed_ends_as_one_that_was_not_examined(tmp_path: Path) -> None:
    plain, examined = SmallWorld.at(tmp_path / "plain"), SmallWorld.at(tmp_path / "examined")
    plain.make(training(), two_ranks(3))
    step = training(HELD_OUT, QUESTIONS)
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        examined.make(step, two_ranks(3), trouble=partial(die_after, step=2))
    facts = examined.make(step, two_ranks(3)).parts[-1].facts
    ours, theirs = weights(examined, step), weights(plain, training())
    assert ours.keys() == theirs.keys() and all(value.equal(theirs[name]) for name, value in ours.items())

    reports = [event for event in examined.events if isinstance(event, NumbersReported)]
    told = {one.at_step: one.numbers for one in reports if "heldout/loss" in one.numbers}
    assert sorted(told) == [1, 2, 3, 4, 5, 6]
    assert all(
        {"heldout/loss/pairs", "heldout/loss/text", "heldout/accuracy"} <= numbers.keys() for numbers in told.values()
    )
    loss = facts["examined"]["loss"]
    assert loss == told[6]["heldout/loss"] == pytest.approx(examined_loss(examined, ours), rel=1e-5)

    committed = [record.facts for record in examined.checkpoints(step).committed()]
    losses = {one["step"]: one["examined"]["loss"] for one in committed}
    assert losses == {number: numbers["heldout/loss"] for number, numbers in told.items()}
    best = min(losses, key=losses.get)
    assert facts["examined"]["best"] == {"step": best, "loss": losses[best]}
    standing = {record.facts["step"] for record in examined.checkpoints(step).kept()}
    assert best in standing and 6 in standing and len(standing) <= 3

    drawn = {event.at_step: event.key for event in examined.events if isinstance(event, PictureKept)}
    assert sorted(drawn) == [1, 2, 3, 4, 5, 6]
    assert examined.store.read(drawn[6]).startswith(b"\x89PNG")


def test_held_out_rows_are_bound_while_training_continues(tmp_path: Path) -> None:
    """Examined on nothing, then on some rows, then on others: one training, with the losses of each set apart."""
    world, plain = SmallWorld.at(tmp_path / "steered"), SmallWorld.at(tmp_path / "plain")
    unbound, bound, rebound = training(), training(HELD_OUT), training(OTHERS, QUESTIONS)
    assert unbound.fingerprint == bound.fingerprint == rebound.fingerprint
    for held_out in (HELD_OUT, OTHERS):
        world.make(held_out)
    for step, last in ((unbound, 2), (bound, 4)):
        with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
            world.make(step, two_ranks(), trouble=partial(die_after, step=last))
    made = world.make(rebound, two_ranks())
    straight = plain.make(unbound, two_ranks())
    assert made.content == straight.content, "what it was examined on is no part of what was made"
    assert all(value.equal(weights(plain, unbound)[name]) for name, value in weights(world, rebound).items())

    examined = [record.facts.get("examined") for record in world.checkpoints(rebound).committed()]
    assert [one and one["rows"] for one in examined] == [None] * 2 + [HELD_OUT.fingerprint] * 2 + [
        OTHERS.fingerprint
    ] * 2
    losses = {step: one["loss"] for step, one in enumerate(examined, start=1) if one and step > 4}
    best = min(losses, key=losses.get)
    assert examined[-1]["best"] == {"step": best, "loss": losses[best]}, "losses on other rows are not compared"
    best_before = min((3, 4), key=lambda step: examined[step - 1]["loss"])
    assert best_before in {record.facts["step"] for record in world.checkpoints(rebound).kept()}

    examined_on = {name: item.fingerprint for name, item in made.inputs.items() if name.startswith("heldout")}
    assert examined_on == {"heldout_rows": OTHERS.fingerprint, "heldout_rows.earlier.0": HELD_OUT.fingerprint}
    assert made.provenance["conduct_inputs"] == ["heldout_rows", "heldout_rows.earlier.0", "questions"]
    assert world.make(unbound).content == made.content, "a finished training is not trained again"


def test_rows_that_are_trained_on_are_refused_when_they_are_bound_later(tmp_path: Path) -> None:
    world = SmallWorld.at(tmp_path)
    with pytest.raises(Exception, match="SIGKILL|onnection|peer"):
        world.make(training(), two_ranks(), trouble=partial(die_after, step=2))
    with pytest.raises(StageError, match="held-out samples are trained on"):
        world.make(training(ROWS), two_ranks())


def test_what_is_trained_on_examines_nobody(tmp_path: Path) -> None:
    world = SmallWorld.at(tmp_path)
    for step in (ROWS, HELD_OUT):
        world.make(step)
    rows, held_out = world.open(ROWS), world.open(HELD_OUT)
    HeldOut(held_out, None).check([rows])
    with pytest.raises(StageError, match="held-out samples are trained on: sample [0-9a-f]{32} is in row"):
        HeldOut(rows, None).check([rows])
    with pytest.raises(StageError, match="drawn to examine a model on"):
        HeldOut(None, None).check([rows, held_out])


def test_frames_of_clips_are_shown_as_in_the_rows_of_the_training(tmp_path: Path) -> None:
    from stages.training.examination import ShownFrames

    world = SmallWorld.at(tmp_path)
    world.make(ROWS)
    rows = world.open(ROWS)
    recipe = rows.manifest.recipe
    assert ShownFrames.of(rows) == ((4096, 230_400), 128), "rows that were packed before there were clips"
    packed = {**recipe, "min_frame_pixels_px": 1024, "max_frame_pixels_px": 8192, "max_frames": 8}
    later = type(rows)(rows.store, rows.manifest.model_copy(update={"recipe": packed}))
    assert ShownFrames.of(later) == ((1024, 8192), 8)


def take_tokens(rank: int) -> list[int]:
    from stages.training.collectives import taken_by_rank_0

    return taken_by_rank_0([5 + rank, 7 - rank], "cpu")


def test_all_ranks_take_the_tokens_of_rank_0() -> None:
    assert run_ranks(take_tokens) == [[5, 7]] * 2
