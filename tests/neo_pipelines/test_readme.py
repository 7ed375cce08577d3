"""The door for Python: the README's example runs as written, and what it gives is what training reads."""

import re
from pathlib import Path

import pytest
import torch

import neo_pipelines as neo
from cluster.local import make
from pipelines.exits import BadCommandError, RefusedError
from stages.contract import GangLayout, StageError
from stages.formats.pairs import PairReader
from stages.store.refs import set_ref
from stages.store.store import Store
from stages.training.exposure import seen_rows
from stages.training.loading.micro_batches import StepLoader
from tests.pipelines.toy_pipeline import trained
from tests.stages.training.loading.test_micro_batches import RECIPE, ROWS, Seat, config_of
from tests.worlds.mixture_world import TEXTS
from tests.worlds.packed_world import CHATS, KEPT, rows_of
from tests.worlds.training_world import SmallWorld

README = Path(__file__).parents[2] / "neo_pipelines" / "README.md"
STEPS = {"kept": KEPT, "rows": rows_of(256), "chats": CHATS, "texts": TEXTS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with a store in which each step has its name."""
    folder = tmp_path_factory.mktemp("door")
    store = Store(folder / "neo-store")
    for name, step in STEPS.items():
        artifact = make(step, store)
        set_ref(store, f"pairs/{name}", {"stage": artifact.stage, "fingerprint": artifact.fingerprint})
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("loader"))
    world.make(ROWS)
    return world


@pytest.fixture
def store(folder) -> neo.OpenedStore:
    return neo.open_store(folder / "neo-store")


def test_the_example_of_the_readme_runs_as_it_is_written(folder, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.S)
    monkeypatch.chdir(folder)
    exec(compile(code, str(README), "exec"), {})
    said = capsys.readouterr().out
    assert "Made(KeptPairs filter_pairs/" in said and "'kept': " in said and "<img></img>" in said


def test_a_store_lists_what_it_holds_and_says_what_it_does_not(store, tmp_path):
    assert list(store.names()) == sorted(f"pairs/{name}" for name in STEPS)
    assert "pairs/kept" in store and "pairs/none" not in store
    assert store["pairs/rows"].inputs["draw"].kind == "Draw"
    with pytest.raises(BadCommandError, match="nothing in .* is called 'pairs/none'"):
        store["pairs/none"]
    with pytest.raises(RefusedError, match="there is no store at"):
        neo.open_store(tmp_path / "nowhere")
    with pytest.raises(BadCommandError, match="holds no samples; .*KeptPairs"):
        next(store["pairs/rows"].samples())
    with pytest.raises(BadCommandError, match="holds no packed rows"):
        store["pairs/kept"].row(0)


def test_samples_of_each_kind_are_text_and_pictures(store):
    pairs = PairReader(store["pairs/kept"].artifact)
    samples = list(store["pairs/kept"].samples())
    assert [(one.sample_id, one.text) for one in samples] == [(pair.sample_id.hex(), pair.caption) for pair in pairs]
    first = next(iter(pairs))
    assert samples[0].pictures()[0].size == (first.width_px, first.height_px)
    assert all(one.num_images == 0 and one.pictures() == [] for one in store["pairs/texts"].samples())
    chats = list(store["pairs/chats"].samples())
    assert sorted({one.num_images for one in chats}) == [0, 2]
    assert all(len(one.pictures()) == one.num_images for one in chats)


def test_a_row_tells_its_documents_with_their_own_pictures(store):
    rows = store["pairs/rows"]
    captions = {one.sample_id: one.text for one in store["pairs/kept"].samples()}
    told = list(rows.rows())
    assert len(told) == rows.num_rows and sum(len(row.pictures()) for row in told) > 0
    for document in (document for row in told for document in row.documents):
        assert document.text.count("<img></img>") == len(document.encoded) == len(document.grids)
        if document.source == "pairs":
            assert captions[document.sample_id] in document.text and captions[document.sample_id] in document.supervised


def test_a_step_is_the_batch_that_training_loads(world):
    """By the loader of a single rank with room for the whole step."""
    recipe = RECIPE.model_copy(update={"loss_weighting": "square"})
    seat = Seat(0, 1, GangLayout(micro_rows=recipe.rows_per_step))
    (loaded,) = StepLoader.of(recipe, [world.open(ROWS)], seat, config_of(world)).load(1)
    made = neo.Made(world.open(ROWS))
    step = made.step(2, rows_per_step=recipe.rows_per_step, seed=recipe.seed)
    assert sorted(loaded.rows) == sorted(step.row_numbers)
    batch = made.batch(loaded.rows)
    assert torch.equal(batch.input_ids, loaded.batch.input_ids) and torch.equal(batch.patches, loaded.batch.patches)
    assert torch.equal(batch.targets, loaded.batch.targets) and torch.equal(batch.weights, loaded.batch.weights)
    with pytest.raises(StageError, match="was not trained on rows"):
        made.step(1)
    with pytest.raises(StageError, match="counted from 1"):
        made.step(0, rows_per_step=2)


def test_a_step_of_a_training_is_the_one_that_it_took(tmp_path):
    made = neo.Made(make(trained(), Store(tmp_path)))
    taken = [row for number in range(1, 7) for row in made.step(number).row_numbers]
    times = seen_rows(made.artifact)[0].times
    assert [taken.count(row) for row in range(len(times))] == times.tolist()
    assert made.step(6).batch().num_tokens == sum(made.inputs["rows.0"].row(row).num_tokens for row in taken[-4:])
    with pytest.raises(StageError, match="took the steps 1 to 6; 7 is not among them"):
        made.step(7)


def test_a_copy_is_the_folder_that_loads(store, tmp_path):
    llm = store["pairs/rows"].inputs["llm"]
    assert (llm.copy_to(tmp_path / "llm") / "config.json").is_file()
    assert {file.path for file in llm.files()} >= {"config.json", "tokenizer.json"}
