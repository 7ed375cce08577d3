"""Damage met while two ranks train: a flipped bit, a truncated tar, a missing one, under each policy of the recipe."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from stages.contract import GangLayout, InterruptedRunError, StageError
from stages.formats.packed_rows.row_map import map_key
from stages.formats.packed_rows.rows import RowReader
from stages.packing.rebuild import rebuild_part
from stages.store.metadata import open_store
from stages.train_prebuffer import TrainPrebufferRecipe, train_prebuffer
from stages.training.loading.step_rows import RowOrder
from tests.long import long
from tests.worlds.packed_world import LLM, PAIRS, path_of, rows_of
from tests.worlds.training_world import RowsRecipe, SmallWorld, make_rows

ROWS = rows_of(128)
RECIPE = TrainPrebufferRecipe(
    num_steps=4,
    rows_per_step=8,
    num_prebuffer_layers=1,
    patch_hidden=16,
    peak_learning_rate=1e-2,
    num_warmup_steps=2,
    precision="fp32",
    checkpoint_every_steps=2,
    seed=1,
)
ROOT = Path(__file__).parents[3]
PART = 2
"""Which part is damaged: rows 8 to 11."""


def training(policy: str, **changes):
    return train_prebuffer.bind("buffer", RECIPE.model_copy(update={"on_damaged_row": policy, **changes}), [ROWS], LLM)


SKIP = training("skip")


def ask_to_stop(rank) -> None:
    rank.stop_asked = lambda: True


def two_ranks(**changes) -> GangLayout:
    return GangLayout(num_ranks=2, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    """Rows that are whole, and what training on them comes to."""
    world = SmallWorld.at(tmp_path_factory.mktemp("whole"))
    world.make(training("fail"), two_ranks())
    return world


@pytest.fixture
def world(made: SmallWorld, tmp_path: Path) -> SmallWorld:
    """The rows alone, to be damaged."""
    shutil.copytree(made.store.folder, tmp_path / "store", ignore=shutil.ignore_patterns("train_prebuffer"))
    return SmallWorld.at(tmp_path)


def rows_in(part: int, world: SmallWorld) -> list[int]:
    facts = world.open(ROWS).phase("write")[part].facts
    return list(range(facts["first_row"], facts["first_row"] + facts["num_rows"]))


def part_of_probe(world: SmallWorld) -> int:
    """The part that holds the row which checkpoints are tried on."""
    num_rows = RowReader(world.open(ROWS)).num_rows
    probe = RowOrder(num_rows=num_rows, rows_per_step=8, seed=1).rows_of_step(0)[0]
    return next(part for part in range(9) if probe in rows_in(part, world))


def first_seen(world: SmallWorld, rows: list[int]) -> list[tuple[int, int]]:
    """Step, counted from 1, and row, for each time that a step takes one of the rows."""
    num_rows = RowReader(world.open(ROWS)).num_rows
    steps = [
        RowOrder(num_rows=num_rows, rows_per_step=8, seed=1).rows_of_step(step) for step in range(RECIPE.num_steps)
    ]
    return [(number, row) for number, step in enumerate(steps, 1) for row in sorted(step) if row in rows]


def flip(path: Path, world: SmallWorld) -> list[int]:
    """One bit in the second row of the part."""
    row = rows_in(PART, world)[1]
    flip_row(path, world, row)
    return [row]


def flip_row(path: Path, world: SmallWorld, row: int) -> None:
    place = RowReader(world.open(ROWS)).index().to_pylist()[row]
    data = bytearray(path.read_bytes())
    data[place["offset"] + place["size_bytes"] // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path, world: SmallWorld) -> list[int]:
    path.write_bytes(path.read_bytes()[:-5000])
    return rows_in(PART, world)


def remove(path: Path, world: SmallWorld) -> list[int]:
    path.unlink()
    return rows_in(PART, world)


DAMAGES = [flip, truncate, remove]


def notices(world: SmallWorld) -> list[str]:
    return [event.message for event in world.events if event.event == "noticed"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_fail_names_row_and_shard_and_what_to_do(damage: Callable, world: SmallWorld) -> None:
    path = path_of(world, ROWS, PART)
    damage(path, world)
    with pytest.raises(StageError, match=rf"rank [01]: step \d could not be loaded: DamagedRowError: row \d+ in \S+"
                       rf"rows\.tar \(part {PART:05d} of .*neo audit"):  # fmt: skip
        world.make(training("fail"), two_ranks())
    assert notices(world) == []


@pytest.mark.parametrize("damage", [DAMAGES[0], *map(long, DAMAGES[1:]), "index"])
def test_rebuild_puts_the_same_bytes_back_and_trains_the_same(
    damage: Callable | str, made: SmallWorld, world: SmallWorld
) -> None:
    path = path_of(world, ROWS, PART, "index.parquet" if damage == "index" else "rows.tar")
    whole = path.read_bytes()
    if damage == "index":  # which is read where there is no map of the rows yet
        path.write_bytes(whole[:-9])
        (world.store.folder / map_key(world.open(ROWS))).unlink()
    else:
        damage(path, world)
    damaged = path.read_bytes() if path.exists() else None
    layout = two_ranks(num_loader_workers=1) if damage is flip else two_ranks()
    step = training("rebuild")
    found = world.make(step, layout)
    straight = made.open(training("fail")).manifest
    assert [entry.sha256 for entry in found.parts[-1].files] == [entry.sha256 for entry in straight.parts[-1].files]
    assert path.read_bytes() == whole
    aside = path.with_name(f"{path.name}.damaged-0")
    assert (aside.read_bytes() if aside.exists() else None) == damaged
    assert len(list((world.store.folder / world.open(ROWS).folder / "repairs").iterdir())) == 1
    assert len(notices(world)) == 1 and "it was made again, the same" in notices(world)[0]
    assert not world.recorded_facts(step, "skipped")


def test_several_that_rebuild_at_once_put_the_same(world: SmallWorld) -> None:
    from concurrent.futures import ThreadPoolExecutor

    path = path_of(world, ROWS, PART)
    whole = path.read_bytes()
    truncate(path, world)
    with ThreadPoolExecutor(3) as attempts:
        list(attempts.map(lambda _: rebuild_part(world.open(ROWS), f"{PART:05d}"), range(3)))
    assert path.read_bytes() == whole
    assert rebuild_part(world.open(ROWS), f"{PART:05d}") == {}


def test_what_cannot_be_made_the_same_is_not_put_back(world: SmallWorld) -> None:
    """The pictures that the rows were packed of are damaged as well."""
    path = path_of(world, ROWS, PART)
    flip(path, world)
    damaged = path.read_bytes()
    for record in world.open(PAIRS).parts:
        tar = world.store.folder / record.file("pairs.tar").key
        tar.write_bytes(bytes(len(tar.read_bytes())))
    with pytest.raises(StageError, match=rf"part {PART:05d} of Rows\(.*\) could not be made again: .*pairs\.tar"):
        world.make(training("rebuild"), two_ranks())
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("damage", DAMAGES)
def test_skip_leaves_out_what_is_damaged_and_says_so_for_good(damage: Callable, world: SmallWorld) -> None:
    """With a row in each pass, whole passes are empty on one rank or on both; none of them waits for another."""
    lost = first_seen(world, damage(path_of(world, ROWS, PART), world))
    step = training("skip")
    world.make(step, two_ranks())
    assert lost, "the damage is met"
    facts = world.recorded_facts(step, "skipped")
    assert sorted((one["step"], one["row"]) for one in facts) == lost
    reader = RowReader(world.open(ROWS))
    for one in facts:
        assert one["sample_ids"] == [sample_id.hex() for sample_id in reader.sample_ids(one["row"])]
        assert (one["rows"], one["part"]) == (world.open(ROWS).fingerprint, f"{PART:05d}")
        assert "rows.tar" in one["said"]
    told = {record.facts["step"]: record.facts.get("skipped", []) for record in world.checkpoints(step).committed()}
    for at_step, skipped in told.items():
        assert [(one["step"], one["row"]) for one in skipped] == [one for one in lost if one[0] <= at_step]
    assert sorted(told) == [2, 4]
    assert len(notices(world)) == len(lost)


def test_a_training_that_met_damage_goes_on_under_another_policy(world: SmallWorld) -> None:
    """From its last checkpoint; and what was left out then stays left out, whatever the policy is later."""
    reader = RowReader(world.open(ROWS))
    row = RowOrder(num_rows=reader.num_rows, rows_per_step=8, seed=1).rows_of_step(2)[-1]
    path = path_of(world, ROWS, int(reader.part_of(row)))
    whole = path.read_bytes()
    flip_row(path, world, row)
    with pytest.raises(StageError, match=f"step 3 could not be loaded: DamagedRowError: row {row} "):
        world.make(training("fail"), two_ranks())
    assert training("skip").fingerprint == training("fail").fingerprint
    with pytest.raises(InterruptedRunError, match="after step 3 of 4"):
        world.make(training("skip"), two_ranks(), trouble=ask_to_stop)
    path.write_bytes(whole)
    world.make(training("fail"), two_ranks())
    (told,) = world.checkpoints(training("fail")).committed()[-1].facts["skipped"]
    assert (told["step"], told["row"]) == (3, row)
    assert next(record.facts["step"] for record in world.checkpoints(training("fail")).committed()) == 2


UNFIT = [({"broken_row": 13}, "does not decode"), ({"turned_row": 13}, "were counted when it was packed")]


def unfit_training(policy: str, changes: dict):
    rows = make_rows.bind("rows", RowsRecipe(num_rows=24, **changes), LLM)
    recipe = RECIPE.model_copy(update={"on_damaged_row": policy})
    return train_prebuffer.bind("buffer", recipe, [rows], LLM)


@pytest.mark.parametrize("num_workers", [0, long(1)])
@pytest.mark.parametrize(("changes", "words"), UNFIT)
def test_a_picture_that_does_not_decode_or_fit_is_a_damaged_row_too(
    changes: dict, words: str, num_workers: int, tmp_path: Path
) -> None:
    world, step = SmallWorld.at(tmp_path), unfit_training("skip", changes)
    world.make(step, two_ranks(num_loader_workers=num_workers))
    (fact,) = world.recorded_facts(step, "skipped")
    assert fact["row"] == 13 and words in fact["said"] and len(fact["sample_ids"]) > 0
    (told,) = world.checkpoints(step).committed()[-1].facts["skipped"]
    assert (told["step"], told["row"], told["sample_ids"]) == (fact["step"], 13, fact["sample_ids"])
    assert len(notices(world)) == 1


@pytest.mark.parametrize(("changes", "words"), UNFIT)
def test_rebuilding_is_not_tried_where_it_would_make_the_same(changes: dict, words: str, tmp_path: Path) -> None:
    world = SmallWorld.at(tmp_path)
    with pytest.raises(StageError, match=f"UnfitRowError: row 13 .*{words}.*--set STEP.on_damaged_row=skip"):
        world.make(unfit_training("rebuild", changes), two_ranks())


def test_the_row_that_checkpoints_are_tried_on_may_be_unfit(tmp_path: Path) -> None:
    probe = RowOrder(num_rows=24, rows_per_step=8, seed=1).rows_of_step(0)[0]
    world, step = SmallWorld.at(tmp_path), unfit_training("skip", {"broken_row": probe})
    world.make(step, two_ranks())
    assert world.checkpoints(step).committed()[0].facts["probe_loss"] is None


def trained(world: SmallWorld, step) -> dict:
    from safetensors.torch import load_file

    return load_file(world.open(step).copy_to(world.scratch / "buffer") / "prebuffer.safetensors")


def largest_difference(one: dict, other: dict) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


def test_the_loss_is_that_of_the_rows_that_are_left(made: SmallWorld, world: SmallWorld, tmp_path: Path) -> None:
    """One rank with one pass a step, for which nothing is empty, comes to the same as two with four."""
    remove(path_of(world, ROWS, PART), world)
    shutil.copytree(world.store.folder, tmp_path / "other" / "store")
    other = SmallWorld.at(tmp_path / "other")
    world.make(training("skip"), two_ranks())
    other.make(training("skip"), GangLayout(micro_rows=8))
    mine, theirs, whole = (trained(*of) for of in ((world, SKIP), (other, SKIP), (made, training("fail"))))
    assert largest_difference(mine, theirs) < 2e-4 < 1e-3 < largest_difference(mine, whole)


def die_once_recorded(rank, step: int) -> None:
    """The attempt dies after it has recorded what a step lacks, before it has applied that step."""
    from stages.training import loop

    apply = loop.optimizer_step

    def die(at_step, *rest, **others):
        if at_step == step:
            raise OSError("dead")
        return apply(at_step, *rest, **others)

    loop.optimizer_step = die


def shown(world: SmallWorld, step, *options: str) -> str:
    """What `neo show` says of the artifact of a step."""
    site = world.scratch.with_name("site.toml")
    site.write_text(f'store = "{world.store.folder}"\n')
    open_store(world.store)
    command = ["-m", "pipelines.cli", "show", step.fingerprint[:12], "--site", str(site), *options]
    return subprocess.run([sys.executable, *command], check=True, capture_output=True, text=True, cwd=ROOT).stdout


def test_a_resume_leaves_out_the_same_though_the_row_is_whole_again(world: SmallWorld) -> None:
    path = path_of(world, ROWS, PART)
    whole = path.read_bytes()
    lost = first_seen(world, remove(path, world))
    last = lost[-1][0]
    with pytest.raises(StageError, match="dead"):
        world.make(training("skip"), two_ranks(), trouble=partial(die_once_recorded, step=last - 1))
    path.write_bytes(whole)
    world.make(SKIP, two_ranks())
    final = world.checkpoints(SKIP).committed()[-1].facts
    assert [(one["step"], one["row"]) for one in final["skipped"]] == lost
    assert json.loads(shown(world, SKIP, "--json"))["skipped"] == final["skipped"]
    said = shown(world, SKIP)
    assert f"step 4, {len(lost)} damaged rows left out" in said
    assert final["skipped"][0]["sample_ids"][0] in said.replace("\n", "")


def test_steps_of_damaged_rows_alone_are_refused(world: SmallWorld) -> None:
    """As where the store is not mounted."""
    for part in range(len(world.open(ROWS).phase("write"))):
        path_of(world, ROWS, part).unlink()
    with pytest.raises(StageError, match="step 1: all of its rows are damaged; look at the store"):
        world.make(training("skip"), two_ranks())


def cut_before_the_commit(rank, path: Path) -> None:
    """The tar of the probe row is cut short after the first step, before the first commit."""
    from stages.training.load_together import JointLoader

    load = JointLoader.load

    def loaded(joint, step):
        if step == 1 and rank.rank == 0:
            os.truncate(path, 100)
        return load(joint, step)

    JointLoader.load = loaded


@pytest.mark.parametrize("policy", ["rebuild", "skip"])
def test_the_row_that_checkpoints_are_tried_on_may_be_the_damaged_one(policy: str, world: SmallWorld) -> None:
    path = path_of(world, ROWS, part_of_probe(world))
    step = training(policy, num_steps=3)
    world.make(step, two_ranks(), trouble=partial(cut_before_the_commit, path=path))
    first = world.checkpoints(step).committed()[0]
    assert (first.facts["probe_loss"] is None) == (policy == "skip")
    assert (path.stat().st_size == 100) == (policy == "skip")
