"""Pictures with their captions in packed rows, and each caption once more without its picture, for retrieval.

Owns what is a pair, and which final states stand for its picture and for its caption: the mean over the picture's
context tokens, and the mean over a copy of the caption that is a document of its own. A picture begins its document and
attention looks back alone, so its states do not see the caption and need no copy; the copy does not see the picture.

Q pairs, n tokens that are pooled, H hidden width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neo_model.inputs.batch import Batch, Document
from neo_model.inputs.shares import PATCHES_OF_A_TOKEN


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """The pairs of a packed row. Stays on the host."""

    spans: Tensor
    """[2Q, 2] int64 first token and one past the last: of the Q pictures, then of the Q captions."""
    digests: Tensor
    """[Q, 2] int64 digests of the picture's bytes and of the caption's tokens: equal ones are no negatives."""

    def pooled(self, states: Tensor) -> Tensor:
        """Final states [L, H] of the row -> [2Q, H] fp32 means over the spans: pictures, then captions."""
        lengths = self.spans[:, 1] - self.spans[:, 0]
        owner = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
        starts = lengths.cumsum(0) - lengths
        index = torch.arange(len(owner)) - starts[owner] + self.spans[:, 0][owner]
        owner, index, lengths = (one.to(states.device, non_blocking=True) for one in (owner, index, lengths))
        sums = torch.zeros(len(lengths), states.shape[1], dtype=torch.promote_types(states.dtype, torch.float32))
        sums = sums.to(states.device).index_add(0, owner, states[index].to(sums.dtype))
        return sums / lengths[:, None]


def caption_of(document: Document) -> NDArray[np.int64] | None:
    """The caption's tokens [c], the end of text among them, where a document is a pair; else None.

    A pair is one picture at the beginning, then nothing but supervised text: `<img>`, its context tokens, `</img>`, the
    caption. Conversations, clips, plain texts and captions of several pictures are none.
    """
    if len(document.grids) != 1:
        return None
    grid_h, grid_w = document.grids[0]
    num_before = grid_h * grid_w // PATCHES_OF_A_TOKEN + 2  # `<img>` and `</img>`
    supervised = np.asarray(document.supervised, bool)
    if len(supervised) <= num_before or supervised[:num_before].any() or not supervised[num_before:].all():
        return None
    return np.asarray(document.token_ids, np.int64)[num_before:]


def caption_alone(token_ids: Sequence[int] | NDArray[np.int64]) -> Document:
    """A caption as a document without its picture, of which nothing is learned as text."""
    return Document(token_ids=token_ids, supervised=np.zeros(len(token_ids), bool))


def with_pairs(batch: Batch, documents: Sequence[int], digests: Sequence[tuple[int, int]]) -> Batch:
    """A row that ends with the Q captions, in the order of `documents`, as one whose pairs are known.

    `documents` are the Q numbers of the pairs' own documents. A row of a pair, a text and another pair, packed with the
    two captions behind them, has `documents` 0 and 2.
    """
    num_pairs = len(documents)
    starts = batch.documents
    captions = torch.stack((starts[len(starts) - 1 - num_pairs : -1], starts[len(starts) - num_pairs :]), dim=1)
    firsts = starts[torch.tensor(documents, dtype=torch.int64)] + 1  # behind `<img>`
    pictures = batch.image_spans[torch.searchsorted(batch.image_spans[:, 0].contiguous(), firsts)]
    if not torch.equal(pictures[:, 0], firsts):
        raise ValueError("a pair's document does not begin with its picture")
    spans = torch.cat((pictures, captions))
    known = torch.tensor(digests, dtype=torch.int64).reshape(num_pairs, 2)
    return replace(batch, pairs=Pairs(spans=spans, digests=known))
