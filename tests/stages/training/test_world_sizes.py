"""One global stream, whoever reads it: any number of ranks and loader workers, changed at any step.

Real mixtures, packed to two lengths, read by 30 layouts in turn; each goes on where another one stopped. Of its ranks
one, by chance, reads with worker processes, the others with threads: a process costs a quarter of a second.
"""

import hashlib
import itertools
import random
from contextlib import ExitStack

import pytest

from stages.contract import GangLayout
from stages.formats.packed_rows.rows import RowReader
from stages.train_prebuffer import TrainPrebufferRecipe, untrained_model
from stages.training.loading.micro_batches import MicroBatch, StepLoader
from stages.training.loading.prefetch import prefetch
from stages.training.loading.step_rows import RowOrder
from tests.stages.training.loading.test_micro_batches import Seat
from tests.worlds.packed_world import LLM, rows_of
from tests.worlds.training_world import SmallWorld

WORLD_SIZES = (1, 2, 3, 4, 6, 8)
NUM_WORKERS = range(5)
ROWS = [rows_of(96), rows_of(128)]
ROWS_PER_STEP = 24
"""What all world sizes divide."""
UNTIL_STEP = 20
RECIPE = TrainPrebufferRecipe(
    num_steps=45,
    until_steps=(UNTIL_STEP,),
    rows_per_step=ROWS_PER_STEP,
    num_prebuffer_layers=1,
    patch_hidden=16,
    seed=3,
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("stream"))
    for step in ROWS:
        world.make(step)
    return world


@pytest.fixture(scope="module")
def loaders(world: SmallWorld) -> dict[int, list[StepLoader]]:
    """Of each world size, those of its ranks."""
    config = untrained_model(world.open(LLM).copy_to(world.scratch / "llm"), RECIPE).config
    rows = [world.open(step) for step in ROWS]
    return {
        size: [
            StepLoader.of(RECIPE, rows, Seat(rank, size, GangLayout(num_ranks=size)), config) for rank in range(size)
        ]
        for size in WORLD_SIZES
    }


def told(loaded: list[list[MicroBatch]]) -> dict[int, tuple]:
    """What all ranks of a step bring, by row: samples, sources, tokens, targets, and digests of all else."""
    found = {}
    for one in itertools.chain(*loaded):
        (row,), batch = one.rows, one.batch
        arrays = (batch.weights, batch.documents, batch.grids, batch.patches, batch.patch_positions, batch.positions)
        digest = hashlib.sha256(b"".join(array.numpy().tobytes() for array in arrays)).hexdigest()
        found[row] = one.sample_ids, one.sources, batch.input_ids.tolist(), batch.targets.tolist(), digest
    return found


@pytest.fixture(scope="module")
def stream(world: SmallWorld, loaders: dict[int, list[StepLoader]]) -> list[dict[int, tuple]]:
    """Every step as one rank without workers reads it, held against plain reading."""
    readers = [RowReader(world.open(step)) for step in ROWS]
    steps = []
    for step in range(RECIPE.num_steps):
        span, first = (0, 0) if step < UNTIL_STEP else (1, UNTIL_STEP)
        reader = readers[span]
        rows = RowOrder(num_rows=reader.num_rows, rows_per_step=ROWS_PER_STEP, seed=RECIPE.seed).rows_of_step(
            step - first
        )
        steps.append(told([loaders[1][0].load(step)]))
        assert steps[-1].keys() == set(rows)
        for row, (sample_ids, sources, tokens, *_) in steps[-1].items():
            plain = reader.read(row)
            assert sample_ids == tuple(sample_id.hex() for sample_id in plain.sample_ids)
            assert sources == tuple(plain.sources)
            assert tokens == plain.token_ids.tolist()
    return steps


def test_every_layout_reads_the_same_stream_and_goes_on_where_another_stopped(
    loaders: dict[int, list[StepLoader]], stream: list[dict[int, tuple]]
) -> None:
    layouts = list(itertools.product(WORLD_SIZES, NUM_WORKERS))
    chance = random.Random(7)
    chance.shuffle(layouts)
    step = 0
    for number, (world_size, num_workers) in enumerate(layouts):
        until = min(step + 1 + number % 2, RECIPE.num_steps)
        with ExitStack() as stack:
            steps, num_micro_batches = range(step, RECIPE.num_steps), ROWS_PER_STEP // world_size
            with_processes = chance.randrange(world_size)
            workers = [num_workers if rank == with_processes else 0 for rank in range(world_size)]
            ranks = [
                stack.enter_context(prefetch(loader, steps, num_micro_batches, mine, pytest.fail))
                for loader, mine in zip(loaders[world_size], workers, strict=True)
            ]
            for at in range(step, until):
                found = [next(rank) for rank in ranks]
                assert {len(one) for one in found} == {num_micro_batches}
                assert told(found) == stream[at], f"step {at} on {world_size} ranks with {num_workers} workers"
        step = until
    assert step == RECIPE.num_steps, "all layouts had their turn, and all steps were read"


def test_the_stream_mixes_passes_over_all_rows_and_changes_its_rows_midway(
    world: SmallWorld, stream: list[dict[int, tuple]]
) -> None:
    """That the test above sees what it is to see."""
    sources = {source for step in stream for _, sources, *_ in step.values() for source in sources}
    assert sources == {"pairs", "text", "chat"}
    for rows, steps in ((ROWS[0], stream[:UNTIL_STEP]), (ROWS[1], stream[UNTIL_STEP:])):
        num_rows = RowReader(world.open(rows)).num_rows
        assert len(world.open(rows).phase("write")) > 3
        assert len(steps) * ROWS_PER_STEP > 2 * num_rows
        assert {row for step in steps for row in step} == set(range(num_rows))
