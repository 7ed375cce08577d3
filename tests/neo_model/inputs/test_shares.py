"""Shares of a packed row: together they are the row, wherever they cut it."""

from dataclasses import fields

import numpy as np
import pytest

from neo_model.inputs.batch import Document, pack
from neo_model.inputs.shares import share_bounds, take_share

AT_TOKENS = ("input_ids", "positions", "targets", "weights", "patches", "patch_positions")
INDEXES = ("supervised_index", "context_index")


def row(num_documents: int, seed: int = 3):
    """Documents of 3 to 30 tokens, most of which begin with a picture."""
    rng = np.random.default_rng(seed)
    documents, patches = [], []
    for number in range(num_documents):
        grid = (int(rng.integers(1, 4)) * 2, int(rng.integers(1, 4)) * 2)
        picture = [51, *[50] * (grid[0] * grid[1] // 4), 52] if number % 4 else []
        words = rng.integers(0, 50, int(rng.integers(3, 20)))
        supervised = [*[False] * len(picture), *(rng.random(len(words)) < 0.5)]
        documents.append(Document(token_ids=[*picture, *words], supervised=supervised, grids=[grid] if picture else []))
        patches += [rng.integers(0, 256, (grid[0] * grid[1], 768), dtype=np.uint8)] if picture else []
    return pack(documents, patches, image_context_id=50)


def test_the_bounds_of_shares() -> None:
    assert share_bounds(10, 4) == [0, 2, 5, 7, 10]
    assert share_bounds(36_001, 8)[-1] == 36_001
    assert share_bounds(2, 4) == [0, 0, 1, 1, 2], "some have none"


@pytest.mark.parametrize("num_shares", [1, 2, 3, 5, 16])
@pytest.mark.parametrize("num_documents", [1, 12])
def test_all_shares_together_are_the_row(num_shares: int, num_documents: int) -> None:
    import torch

    whole = row(num_documents)
    shares = [take_share(whole, number, num_shares) for number in range(num_shares)]
    lengths = [share.num_tokens for share in shares]
    assert sum(lengths) == whole.num_tokens and max(lengths) - min(lengths) <= 1
    for name in AT_TOKENS:
        assert torch.cat([getattr(share, name) for share in shares]).equal(getattr(whole, name)), name
    for name in INDEXES:
        places = [getattr(share, name) + share.first_token for share in shares]
        assert torch.cat(places).equal(getattr(whole, name)), name
    for share in shares:
        assert share.patches.shape[0] == share.patch_positions.shape[0] == 4 * share.context_index.shape[0]
        assert share.row_tokens == whole.row_tokens == whole.num_tokens
        assert share.documents.equal(whole.documents) and share.image_spans.equal(whole.image_spans)
        assert share.text_spans is whole.text_spans and share.pairs is whole.pairs, "of the whole row, too"
    named = {*AT_TOKENS, *INDEXES, "documents", "image_spans", "text_spans", "pairs", "grids", "first_token"}
    assert named == {field.name for field in fields(whole)}, "every field of a batch is looked at here"


def test_a_share_keeps_nothing_of_the_row_in_memory() -> None:
    whole = row(12)
    share = take_share(whole, 1, 4)
    for name in (*AT_TOKENS, *INDEXES):
        tensor = getattr(share, name)
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size(), name
