"""What stands for a picture never sees the caption, and what stands for a caption never sees the picture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from neo_model.inputs.batch import Batch, Document, pack
from neo_model.inputs.pairs import caption_alone, caption_of, with_pairs
from tests.neo_model.tiny import CONTEXT, END, START, lively_model, tiny_config

GRIDS = [(4, 4), (2, 6)]


def pair(grid: tuple[int, int], words: list[int]) -> Document:
    head = [START, *[CONTEXT] * (grid[0] * grid[1] // 4), END]
    supervised = [False] * len(head) + [True] * len(words)
    return Document(token_ids=[*head, *words], supervised=supervised, grids=[grid])


def row_of(captions: list[list[int]], seed: int = 0) -> Batch:
    """A pair, a text and another pair, then both captions alone."""
    rng = np.random.default_rng(seed)
    pairs = [pair(grid, words) for grid, words in zip(GRIDS, captions, strict=True)]
    text = Document(token_ids=[3, 4, 5], supervised=[False, True, True])
    alone = [caption_alone(caption_of(one)) for one in pairs]
    patches = [rng.normal(size=(h * w, 768)).astype(np.float32) for h, w in GRIDS]
    batch = pack([pairs[0], text, pairs[1], *alone], patches, image_context_id=CONTEXT)
    return with_pairs(batch, [0, 2], [(1, 2), (3, 4)])


CAPTIONS = [[7, 8, 9, 10], [11, 12]]


def test_the_spans_are_those_of_the_pictures_and_of_the_captions_alone() -> None:
    batch = row_of(CAPTIONS)
    assert batch.pairs is not None
    tokens = batch.input_ids.tolist()
    spans = [tokens[start:end] for start, end in batch.pairs.spans.tolist()]
    assert spans == [[CONTEXT] * 4, [CONTEXT] * 3, *CAPTIONS]
    assert batch.pairs.digests.tolist() == [[1, 2], [3, 4]]
    assert batch.weights[int(batch.documents[3]) :].sum() == 0, "nothing is learned twice"


def test_a_picture_does_not_see_its_caption_nor_the_caption_its_picture() -> None:
    model = lively_model(tiny_config())
    with torch.no_grad():
        before = model.pooled(row_of(CAPTIONS))
        other_words = model.pooled(row_of([[20, 21, 22, 23], [24, 25]]))
        other_pictures = model.pooled(row_of(CAPTIONS, seed=1))
    assert torch.equal(before[:2], other_words[:2]) and not torch.equal(before[2:], other_words[2:])
    assert torch.equal(before[2:], other_pictures[2:]) and not torch.equal(before[:2], other_pictures[:2])


def test_pooled_states_are_the_means_of_a_picture_alone_and_a_caption_alone() -> None:
    """What an evaluation computes of either alone is what was trained."""
    model, batch = lively_model(tiny_config()), row_of(CAPTIONS)
    rng = np.random.default_rng(0)
    patches = [rng.normal(size=(h * w, 768)).astype(np.float32) for h, w in GRIDS]
    found = model(batch)
    assert found.pooled is not None and model(replace(batch, pairs=None)).pooled is None
    with torch.no_grad():
        for number, (grid, words) in enumerate(zip(GRIDS, CAPTIONS, strict=True)):
            head = pair(grid, [])
            picture = pack([head], [patches[number]], image_context_id=CONTEXT)
            words_alone = pack([caption_alone(words)], [], image_context_id=CONTEXT)
            expected = model.final_states(picture)[1:-1].mean(0), model.final_states(words_alone).mean(0)
            torch.testing.assert_close(found.pooled[number], expected[0], atol=2e-6, rtol=1e-5)
            torch.testing.assert_close(found.pooled[2 + number], expected[1], atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "document",
    [
        Document(token_ids=[1, 2, 3], supervised=[False, True, True]),
        replace(pair((2, 2), [5, 6]), supervised=[False, False, False, False, True]),
        replace(pair((2, 2), []), supervised=[False, False, False]),
        Document(
            token_ids=[START, CONTEXT, END, START, CONTEXT, END, 5],
            supervised=[False] * 6 + [True],
            grids=[(2, 2), (2, 2)],
        ),
        Document(token_ids=[9, START, CONTEXT, END, 5], supervised=[False] * 4 + [True], grids=[(2, 2)]),
    ],
    ids=["text", "question", "no caption", "two pictures", "text before"],
)
def test_other_documents_are_no_pairs(document: Document) -> None:
    assert caption_of(document) is None


def test_a_row_without_pairs_pools_nothing() -> None:
    batch = with_pairs(
        pack([Document(token_ids=[1, 2], supervised=[False, True])], [], image_context_id=CONTEXT), [], []
    )
    with torch.no_grad():
        assert lively_model(tiny_config()).pooled(batch).shape == (0, 32)


def test_a_document_that_begins_otherwise_is_refused() -> None:
    text = Document(token_ids=[1, 2], supervised=[False, True])
    with pytest.raises(ValueError, match="does not begin with its picture"):
        with_pairs(pack([text, pair((2, 2), [5]), caption_alone([5])], [np.zeros((4, 768), np.float32)],
                        image_context_id=CONTEXT), [0], [(1, 2)])  # fmt: skip
