"""Loading from an object store that is slow, stands still or fails: hidden up to two steps, and nothing is lost.

A real S3 server behind a proxy that holds requests back for as long as the test wants: nothing depends on time.
"""

import threading

import pytest

from stages.artifacts.kinds import Rows
from stages.contract import GangLayout
from stages.formats.packed_rows.row_map import map_key, mapped_rows
from stages.formats.packed_rows.rows import RowReader
from stages.store.store import Store
from stages.train_prebuffer import TrainPrebufferRecipe, untrained_model
from stages.training.loading.micro_batches import StepLoader
from stages.training.loading.prefetch import STEPS_AHEAD, prefetch
from stages.training.loading.workers import NUM_ROW_READERS
from tests.fault_proxy import Fault, FaultProxy
from tests.stages.training.loading.test_micro_batches import Seat
from tests.worlds.packed_world import LLM, rows_of
from tests.worlds.training_world import SmallWorld

ROWS = rows_of(128)
RECIPE = TrainPrebufferRecipe(num_steps=12, rows_per_step=8, num_prebuffer_layers=1, patch_hidden=16)
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("slow"))
    world.make(ROWS)
    return world


@pytest.fixture
def loaders(world: SmallWorld, bucket: str, proxy: FaultProxy) -> tuple[StepLoader, StepLoader]:
    """Of the same rows: in a folder, and behind the proxy."""
    here, there = world.open(ROWS), Store(bucket)
    for part in here.phase("write"):
        for entry in part.files:
            there.upload(world.store.folder / entry.key, entry.key)
    config = untrained_model(world.open(LLM).copy_to(world.scratch / "llm"), RECIPE).config
    mapped_rows(here)
    there.upload(world.store.folder / map_key(here), map_key(here))
    both = (here, Rows(there, here.manifest))
    return tuple(StepLoader.of(RECIPE, [rows], Seat(0, 1, GangLayout()), config) for rows in both)


def same(one: list, other: list) -> bool:
    return [(each.rows, each.sample_ids) for each in one] == [(each.rows, each.sample_ids) for each in other] and all(
        mine.batch.patches.equal(theirs.batch.patches) for mine, theirs in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("num_workers", [0, 1])
def test_rows_are_read_side_by_side_and_no_more_than_that(
    num_workers: int, loaders: tuple[StepLoader, StepLoader], proxy: FaultProxy
) -> None:
    """None of the first answers comes before so many rows are asked for; one after another, they never would be."""
    local, remote = loaders
    together, num_seen = threading.Barrier(NUM_ROW_READERS, timeout=PATIENCE_SECONDS), []

    def hold(method: str, path: str) -> None:
        if method == "GET" and path.endswith("rows.tar"):
            num_seen.append(path)
            if len(num_seen) <= NUM_ROW_READERS:
                together.wait()

    proxy.watch = hold
    with prefetch(remote, range(2), 8, num_workers, pytest.fail) as loaded:
        assert same(next(loaded), local.load(0))
    assert not together.broken


def test_indexes_are_read_side_by_side_and_once(loaders: tuple[StepLoader, StepLoader], proxy: FaultProxy) -> None:
    local, remote = loaders
    reader = RowReader(remote.packed[0].reader.rows)
    num_parts = len(reader.rows.phase("write"))
    together = threading.Barrier(num_parts, timeout=PATIENCE_SECONDS)
    proxy.watch = lambda method, path: together.wait() if path.endswith("index.parquet") else None
    found: list[list] = []
    threads = [threading.Thread(target=lambda: found.append(reader.works(range(reader.num_rows)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [local.packed[0].reader.works(range(reader.num_rows))] * 3
    assert not together.broken
    assert proxy.num_seen("GET", "index.parquet") == num_parts


def test_a_store_that_stands_still_is_felt_only_after_the_steps_that_are_ahead(
    loaders: tuple[StepLoader, StepLoader], proxy: FaultProxy
) -> None:
    local, remote = loaders
    answers, held = threading.Event(), threading.Event()
    answers.set()

    def stand_still(method: str, path: str) -> None:
        if not answers.is_set():
            held.set()
            answers.wait(PATIENCE_SECONDS)

    proxy.watch = stand_still
    with prefetch(remote, range(12), 8, 0, pytest.fail) as loaded:
        for step in range(3):
            assert same(next(loaded), local.load(step))
        wait_until_loaded(loaded)
        answers.clear()
        for step in range(3, 3 + STEPS_AHEAD):
            assert same(next(loaded), local.load(step)), "it was there"
        assert held.wait(PATIENCE_SECONDS)
        late: list = []
        waiting = threading.Thread(target=lambda: late.extend(next(loaded)))
        waiting.start()
        assert not late
        answers.set()
        waiting.join()
        assert same(late, local.load(3 + STEPS_AHEAD))


def wait_until_loaded(loaded) -> None:
    for answer in list(loaded._hands._answers.values()):
        answer.result()


def test_answers_that_are_lost_are_asked_for_again(loaders: tuple[StepLoader, StepLoader], proxy: FaultProxy) -> None:
    local, remote = loaders
    for fault in (Fault.BROKEN, Fault.SLOW_DOWN, Fault.DROPPED, Fault.CUT):
        proxy.ask(fault, "GET", "rows.tar", times=2)
    with prefetch(remote, range(3), 8, 0, pytest.fail) as loaded:
        for step in range(3):
            assert same(next(loaded), local.load(step))
