"""Padded batches of token ids become packed rows and come back, with each picture beside its sequence."""

import pytest
import torch

from neo_model.hub.sequences import images_of, pack_sequences, repeated_images, times_of, visible_slots
from tests.neo_model.tiny import CONTEXT, END, START

IMAGE = [START, CONTEXT, CONTEXT, END]
IDS = torch.tensor([[0, 0, 5, *IMAGE, 6], [*IMAGE, 7, *IMAGE[:3]]])
MASK = torch.tensor([[0, 0, 1, 1, 1, 1, 1, 1], [1] * 8])
GRIDS = [(2, 4), (2, 4), (4, 2)]


def test_a_padded_batch_is_packed_without_its_padding() -> None:
    patches = torch.arange(24.0)[:, None].expand(24, 768).contiguous()
    batch, (rows, slots) = pack_sequences(IDS, MASK, patches, GRIDS, CONTEXT)
    assert batch.input_ids.tolist() == [5, *IMAGE, 6, *IMAGE, 7, *IMAGE[:3]]
    assert IDS[rows, slots].tolist() == batch.input_ids.tolist()
    assert batch.documents.tolist() == [0, 6, 14]
    assert batch.grids.tolist() == [list(grid) for grid in GRIDS]
    times = times_of(IDS, MASK, CONTEXT)
    assert times[rows, slots].tolist() == batch.positions[:, 0].tolist()


def test_images_that_do_not_fit_the_tokens_are_refused() -> None:
    assert images_of(IDS, CONTEXT) == [1, 2]
    with pytest.raises(ValueError, match="2 images are given for 3 runs of image tokens"):
        pack_sequences(IDS, MASK, torch.zeros(16, 768), GRIDS[:2], CONTEXT)
    with pytest.raises(ValueError, match="20 patches are given for grids of 24"):
        pack_sequences(IDS, MASK, torch.zeros(20, 768), GRIDS, CONTEXT)


def test_new_tokens_see_what_was_before_them_and_no_padding() -> None:
    visible = visible_slots(torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]]), num_new=2)
    assert visible.long().tolist() == [[[0, 1, 1, 0], [0, 1, 1, 1]], [[1, 1, 1, 0], [1, 1, 1, 1]]]


def test_a_repeated_sequence_keeps_its_own_pictures() -> None:
    patches, grids = torch.arange(24.0)[:, None], torch.tensor(GRIDS)
    repeated, shapes = repeated_images(patches, grids, [1, 2], num_times=2)
    first, rest = list(range(8)), list(range(8, 24))
    assert repeated.flatten().tolist() == [*first, *first, *rest, *rest]
    assert shapes.tolist() == [[2, 4]] * 2 + [[2, 4], [4, 2]] * 2
