"""Small models, random packed rows, and slow plain arithmetic to compare with."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import numpy as np
import torch
from torch import Tensor

from neo_model.config import NeoConfig
from neo_model.inputs.batch import Batch, Document, Weighting, pack
from neo_model.model import NeoModel

CONTEXT, START, END = 90, 91, 92


def tiny_config(**changes: object) -> NeoConfig:
    fields: dict[str, object] = {
        "hidden": 32, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "ffn": 48, "vocab_size": 96,
        "num_prebuffer_layers": 1, "num_layers": 3,
        "image_context_id": CONTEXT, "image_start_id": START, "image_end_id": END, "patch_hidden": 24,
    }  # fmt: skip
    return NeoConfig(**(fields | changes))  # type: ignore[arg-type]


def lively_model(config: NeoConfig, seed: int = 0, **options: object) -> NeoModel:
    """Weights large enough that every rule shows in the logits, H and W keys of the post-LLM included."""
    generator = torch.Generator().manual_seed(seed)
    model = NeoModel(config, **options)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in model.parameters():
            centre = 1.0 if parameter.dim() == 1 else 0.0
            parameter.copy_(centre + 0.2 * torch.randn(parameter.shape, generator=generator))
    return model


Piece = int | tuple[int, int]
"""So many words, or an image of (grid_h, grid_w) patches."""


def document(
    pieces: Sequence[Piece], rng: np.random.Generator, num_supervised: int = 3
) -> tuple[Document, list[np.ndarray]]:
    """Words and images in order; the last words are supervised."""
    token_ids: list[int] = []
    grids: list[tuple[int, int]] = []
    for piece in pieces:
        if isinstance(piece, tuple):
            token_ids += [START, *[CONTEXT] * (piece[0] * piece[1] // 4), END]
            grids.append(piece)
        else:
            token_ids += rng.integers(0, 80, piece).tolist()
    supervised = [False] * len(token_ids)
    supervised[-num_supervised:] = [True] * min(num_supervised, len(token_ids))
    patches = [rng.normal(size=(h * w, 768)).astype(np.float32) for h, w in grids]
    return Document(token_ids=token_ids, supervised=supervised, grids=grids), patches


def row(*documents: Sequence[Piece], seed: int = 0, weighting: Weighting = Weighting.SQUARE) -> Batch:
    rng = np.random.default_rng(seed)
    made = [document(pieces, rng) for pieces in documents]
    patches = [image for _, images in made for image in images]
    return pack([entry for entry, _ in made], patches, image_context_id=CONTEXT, weighting=weighting)


def may_see(batch: Batch, query: int, key: int) -> bool:
    """The rule of the mask, in words: the past of the same document, and all of the same image or masked text."""
    starts = batch.documents.tolist()
    whole = [*batch.image_spans.tolist(), *([] if batch.text_spans is None else batch.text_spans.tolist())]
    same_document = any(begin <= query < end and begin <= key < end for begin, end in itertools.pairwise(starts))
    same_whole = any(begin <= query < end and begin <= key < end for begin, end in whole)
    return same_document and (key <= query or same_whole)


def slow_attention(batch: Batch, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """A loop over queries and keys in float64; differentiable."""
    heads, groups, width = q.shape[1], k.shape[1], v.shape[2]
    rows = []
    for query in range(q.shape[0]):
        keys = [key for key in range(k.shape[0]) if may_see(batch, query, key)]
        of_head: list[Tensor] = []
        for head in range(heads):
            group = head * groups // heads
            scores = torch.stack([q[query, head].double() @ k[key, group].double() for key in keys]) / width**0.5
            shares = torch.softmax(scores, dim=0)
            mean = sum(share * v[key, group].double() for share, key in zip(shares, keys, strict=True))
            of_head.append(cast(Tensor, mean))
        rows.append(torch.stack(of_head))
    return torch.stack(rows)
