"""Rows as micro-batches: every document in its place, pictures on their grids, ahead of time and in order."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from neo_model.config import NeoConfig
from stages.contract import GangLayout
from stages.formats.packed_rows.rows import RowReader
from stages.train_prebuffer import untrained_model
from stages.training.loading.micro_batches import StepLoader, UnfitRowError
from stages.training.loading.step_rows import RowOrder
from tests.stages.training.test_loop import LLM, RECIPE, ROWS
from tests.worlds.training_world import SmallWorld


@dataclass
class Seat:
    """What the loader wants to know of a rank."""

    rank: int
    world_size: int
    layout: GangLayout


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("loader"))
    world.make(ROWS)
    return world


def config_of(world: SmallWorld) -> NeoConfig:
    return untrained_model(world.open(LLM).copy_to(world.scratch / "llm"), RECIPE).config


def loader_of(world: SmallWorld, rank: int = 0, micro_rows: int = 2, **changes) -> StepLoader:
    seat = Seat(rank, 2, GangLayout(num_ranks=2, micro_rows=micro_rows))
    return StepLoader.of(RECIPE.model_copy(update=changes), [world.open(ROWS)], seat, config_of(world))


def test_the_ranks_together_load_the_rows_of_the_step(world: SmallWorld) -> None:
    loaded = [one for rank in range(2) for one in loader_of(world, rank).load(3)]
    rows = [row for one in loaded for row in one.rows]
    assert sorted(rows) == sorted(RowOrder(num_rows=24, rows_per_step=8, seed=0).rows_of_step(3))


def test_the_ranks_bring_rows_that_cost_alike(world: SmallWorld) -> None:
    """Rows with pictures cost several times those without; dealt out as they come, ranks wait for one another."""
    loader = loader_of(world)
    imbalances = [loader.load(step)[0].imbalance for step in range(6)]
    assert 0 <= max(imbalances) < 0.15
    rows, reader = RowReader(world.open(ROWS)), loader.packed[0].reader
    assert reader.work(1).num_tokens == len(rows.read(1).token_ids)
    assert reader.work(1).num_patches == sum(int(h * w) for h, w in rows.read(1).image_grids)


def test_a_micro_batch_without_rows_weighs_nothing(world: SmallWorld) -> None:
    seats = [Seat(rank, 3, GangLayout(num_ranks=3)) for rank in range(3)]
    ranks = [StepLoader.of(RECIPE, [world.open(ROWS)], seat, config_of(world)) for seat in seats]
    loaded = [one for rank in ranks for one in rank.load(0)]
    (empty,) = [one for one in loaded if not one.rows]
    assert len(loaded) == 9 and (empty.weight, empty.num_tokens, empty.sample_ids) == (0.0, 0, ())
    assert empty.batch.grids.tolist() == [[2, 2]], "it runs the same modules as the others"


@pytest.mark.parametrize("micro_rows", [1, 2])
def test_a_micro_batch_holds_its_rows_end_to_end(micro_rows: int, world: SmallWorld) -> None:
    reader = RowReader(world.open(ROWS))
    for one in loader_of(world, micro_rows=micro_rows).load(0):
        rows = [reader.read(number) for number in one.rows]
        batch = one.batch
        assert batch.input_ids.tolist() == [token for row in rows for token in row.token_ids.tolist()]
        lengths = [length for row in rows for length in np.diff(row.document_offsets).tolist()]
        assert batch.documents.diff().tolist() == lengths
        assert one.sample_ids == tuple(sample_id.hex() for row in rows for sample_id in row.sample_ids)
        assert len(one.sources) == len(one.sample_ids) == len(lengths)
        assert batch.grids.tolist() == [grid for row in rows for grid in row.image_grids.tolist()] or not any(
            row.images for row in rows
        )
        assert one.weight == pytest.approx(float(batch.weights.sum()), rel=1e-6)


def test_text_alone_gets_a_picture_of_nothing(world: SmallWorld) -> None:
    """So that every rank runs, and reduces the gradients of, the patch embedding."""
    loaded = [one for step in range(3) for one in loader_of(world, micro_rows=1).load(step)]
    alone = [one.batch for one in loaded if not one.batch.context_index.numel()]
    assert 0 < len(alone) < len(loaded)
    assert all(batch.grids.tolist() == [[2, 2]] and not batch.patches.any() for batch in alone)


@pytest.mark.parametrize("weighting", ["token", "sample", "square"])
def test_the_recipe_says_how_much_a_token_weighs(weighting: str, world: SmallWorld) -> None:
    batch = loader_of(world, loss_weighting=weighting).load(0)[0].batch
    for start, end in zip(batch.documents[:-1], batch.documents[1:], strict=True):
        weights = batch.weights[start:end]
        num = int((weights > 0).sum())
        assert float(weights.sum()) == pytest.approx({"token": num, "sample": 1, "square": num**0.5}[weighting])


def test_pictures_without_a_place_among_the_tokens_are_damage(world: SmallWorld) -> None:
    loader = loader_of(world, on_damaged_row="skip")
    fetched = loader.fetch(0, 0)
    with_picture = next(row for row in fetched.rows if row.images)
    odd = replace(with_picture, token_ids=np.zeros_like(with_picture.token_ids))
    skipped = loader.decode(replace(fetched, rows=(odd,)))
    assert skipped.rows == () and "runs of image tokens for" in skipped.skipped[0].reason
    with pytest.raises(UnfitRowError, match=f"row {odd.number} .*on_damaged_row=skip"):
        loader.decode(replace(fetched, rows=(odd,), step=None))
