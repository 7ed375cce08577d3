"""The forms of a step's documents: the same on any ranks, and none where nobody asks for one."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from neo_model.inputs.batch import IGNORED, Weighting, pack
from stages.contract import GangLayout
from stages.training.loading.micro_batches import StepLoader, documents_of, patches_of
from stages.training.objectives.forms import Forms, pairs_of
from stages.training.objectives.masking import Masking
from stages.tune_end_to_end import TuneRecipe
from tests.stages.training.loading.test_micro_batches import Seat, config_of
from tests.stages.training.test_loop import ROWS
from tests.worlds.training_world import SmallWorld

RECIPE = TuneRecipe(num_steps=6, rows_per_step=8, precision="fp32", contrastive_weight=0.5, masked_share=0.3)
CONTEXT = 290
"""Of a picture in these rows."""
MASKING = Masking(mask_id=300, token_share=0.3, document_share=0.5, seed=0)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> SmallWorld:
    world = SmallWorld.at(tmp_path_factory.mktemp("forms"))
    world.make(ROWS)
    return world


def loader_of(world: SmallWorld, rank: int = 0, size: int = 1, recipe: TuneRecipe = RECIPE, **layout) -> StepLoader:
    seat = Seat(rank, size, GangLayout(num_ranks=size, **layout))
    return StepLoader.of(recipe, [world.open(ROWS)], seat, config_of(world), masking=MASKING)


def test_captions_stand_once_more_behind_the_rows(world: SmallWorld) -> None:
    (loaded,) = loader_of(world, micro_rows=8).load(2)
    batch, num_documents = loaded.batch, len(loaded.sample_ids)
    assert len(loaded.sources) == num_documents
    num_pairs = sum(source.startswith("pairs") for source in loaded.sources)
    assert len(batch.pairs.digests) == num_pairs == len(batch.documents) - 1 - num_documents
    assert int(batch.documents[-1] - batch.documents[num_documents]) == loaded.num_padding
    assert loaded.num_tokens == int(batch.documents[num_documents]), "what is read twice is counted once"
    ids = batch.input_ids
    for (start, end), (first, until) in zip(*batch.pairs.spans.chunk(2), strict=True):
        assert set(ids[start:end].tolist()) == {CONTEXT}
        caption = ids[first:until]
        shown = ids[end + 1 : end + 1 + len(caption)]
        assert ((shown == caption) | (shown == MASKING.mask_id)).all(), "the copy is not masked"


def test_a_share_of_the_documents_is_masked_and_told_apart_in_metrics(world: SmallWorld) -> None:
    loader, sources = loader_of(world), []
    for step in range(6):
        for one in loader.load(step):
            sources += one.sources
            assert (one.batch.input_ids == MASKING.mask_id).sum() == 0 or one.batch.text_spans is not None
    assert {*sources} == {"pairs", "pairs.masked", "text", "text.masked"}
    assert 0.35 < np.mean([source.endswith(".masked") for source in sources]) < 0.65


def test_every_layout_reads_the_same_stream(world: SmallWorld) -> None:
    def told(size: int, step: int) -> dict[int, tuple]:
        loaded = [one for rank in range(size) for one in loader_of(world, rank, size).load(step) if one.rows]
        return {
            one.rows[0]: (one.batch.input_ids.tolist(), one.batch.targets.tolist(), one.sources,
                          one.batch.pairs.digests.tolist())
            for one in loaded
        }  # fmt: skip

    for step in (0, 3):
        assert told(1, step) == told(2, step) == told(3, step)


def test_an_empty_micro_batch_has_no_pairs(world: SmallWorld) -> None:
    empty = [one for rank in range(3) for one in loader_of(world, rank, 3).load(0) if not one.rows]
    assert empty and all(len(one.batch.pairs.digests) == 0 and one.num_tokens == 0 for one in empty)


def test_what_is_examined_is_read_as_it_is(world: SmallWorld) -> None:
    probe = loader_of(world).probe()
    assert probe.pairs is None and probe.text_spans is None and not (probe.input_ids == MASKING.mask_id).any()


def test_by_default_a_row_is_read_as_it_always_was(world: SmallWorld) -> None:
    """The very tensors that packing its documents gives."""
    plain = TuneRecipe(num_steps=6, rows_per_step=8, precision="fp32")
    loader = replace(loader_of(world, recipe=plain), forms=Forms.of(plain, None))
    (loaded, *_) = loader.load(1)
    row = loader.packed[0].reader.read(loaded.rows[0])
    documents = list(documents_of(row, loader.packed[0], CONTEXT))
    patches = list(patches_of(row, loader.packed[0]))
    expected = pack(documents, patches, image_context_id=CONTEXT, weighting=Weighting.SQUARE)
    for name in ("input_ids", "targets", "weights", "documents", "positions"):
        assert torch.equal(getattr(loaded.batch, name), getattr(expected, name)), name
    assert loaded.batch.pairs is None and loaded.batch.text_spans is None and loaded.num_padding == 0
    assert (loaded.batch.targets != IGNORED).any()


def test_equal_pictures_and_equal_captions_have_equal_digests(world: SmallWorld) -> None:
    loader = loader_of(world)
    row = next(row for row in map(loader.packed[0].reader.read, range(24)) if len(row.images))
    documents = list(documents_of(row, loader.packed[0], CONTEXT))
    first, *_ = pairs_of(documents, row.images)
    again, *_ = pairs_of(documents, [b"another", *row.images[1:]])
    assert (first.digests[0] != again.digests[0]) and first.digests[1] == again.digests[1]
