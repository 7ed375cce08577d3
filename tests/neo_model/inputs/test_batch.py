"""Targets, weights and images of packed rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neo_model.inputs.batch import IGNORED, Document, Weighting, ensure_image, pack
from neo_model.inputs.positions import ImageMismatchError
from tests.neo_model.tiny import CONTEXT, END, START, row


def text(ids: list[int], supervised: list[bool]) -> Document:
    return Document(token_ids=ids, supervised=supervised)


def test_targets_are_shifted_once_and_never_cross_documents() -> None:
    batch = pack([text([1, 2, 3], [True, False, True]), text([4, 5], [True, True])], [], image_context_id=CONTEXT)
    assert batch.targets.tolist() == [IGNORED, 3, IGNORED, 5, IGNORED]
    assert batch.supervised_index.tolist() == [1, 3]
    assert batch.documents.tolist() == [0, 3, 5]


@pytest.mark.parametrize(("weighting", "weight"), [("token", 1.0), ("sample", 0.25), ("square", 0.5)])
def test_weights_of_a_document_with_four_supervised_tokens(weighting: str, weight: float) -> None:
    documents = [text([1, 2, 3, 4, 5], [False, True, True, True, True]), text([6, 7], [False, True])]
    batch = pack(documents, [], image_context_id=CONTEXT, weighting=Weighting(weighting))
    assert batch.weights.tolist() == [weight] * 4 + [0.0, 1.0, 0.0]


def test_only_tokens_that_are_asked_for_share_the_weight() -> None:
    """The first token of a document follows nothing, so a mark on it adds none."""
    batch = pack([text([1, 2, 3], [True, True, True])], [], image_context_id=CONTEXT, weighting=Weighting.SAMPLE)
    assert batch.weights.tolist() == [0.5, 0.5, 0.0]


def test_a_document_without_supervision_weighs_nothing() -> None:
    batch = pack([text([1, 2], [False, False])], [], image_context_id=CONTEXT)
    assert batch.weights.sum() == 0
    assert batch.supervised_index.shape == (0,)


def test_images_need_their_tokens_and_their_patches() -> None:
    image = np.zeros((8, 768), np.float32)
    document = Document(token_ids=[START, CONTEXT, CONTEXT, END], supervised=[False] * 4, grids=[(2, 4)])
    assert pack([document], [image], image_context_id=CONTEXT).image_spans.tolist() == [[1, 3]]
    with pytest.raises(ImageMismatchError, match="1 runs of image tokens for 0 images"):
        pack([text([START, CONTEXT, END], [False] * 3)], [], image_context_id=CONTEXT)
    with pytest.raises(ValueError, match="0 arrays of patches for 1 images"):
        pack([document], [], image_context_id=CONTEXT)
    with pytest.raises(ValueError, match=r"patches \(4, 768\) for a grid of 2 x 4"):
        pack([document], [image[:4]], image_context_id=CONTEXT)
    with pytest.raises(ValueError, match="raw and normalised mixed"):
        pack([document, document], [image, image.astype(np.uint8)], image_context_id=CONTEXT)


def test_a_document_and_its_marks_have_one_length() -> None:
    with pytest.raises(ValueError, match="a document of 3 tokens has 2 supervision marks"):
        pack([text([1, 2, 3], [True, False])], [], image_context_id=CONTEXT)


def test_packing_keeps_what_it_was_given() -> None:
    ids, marks = [1, 2, 3], [False, True, True]
    pack([text(ids, marks)], [], image_context_id=CONTEXT)
    assert (ids, marks) == ([1, 2, 3], [False, True, True])


def test_ensure_image_only_helps_rows_without_one() -> None:
    with_image, without = row([2, (2, 2), 3]), row([4])
    assert ensure_image(with_image) is with_image
    helped = ensure_image(without)
    assert helped.patches.shape == (4, 768)
    assert helped.image_spans.shape == (0, 2)
    assert helped.context_index.shape == (0,)


def test_moving_changes_the_precision_of_pixels_only() -> None:
    moved = row([2, (2, 2), 3]).to("cpu", torch.bfloat16)
    assert moved.patches.dtype == torch.bfloat16
    assert moved.weights.dtype == torch.float32
    assert moved.positions.dtype == torch.int64
