"""A padded batch of token ids as transformers has it, and the packed row that the network reads.

Owns where each token of [B, S] goes, its positions in time, and which pictures belong to which sequence.

B sequences, S slots of each, n new tokens of each, M images, N patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from neo_model.inputs.batch import Batch, Document, pack
from neo_model.inputs.positions import image_spans


def images_of(token_ids: Tensor, image_context_id: int) -> list[int]:
    """Number of images in each sequence of token ids [B, S]."""
    return [len(image_spans(row, image_context_id)) for row in token_ids.cpu().numpy()]


def tokens_of(grids: Tensor | None) -> list[int]:
    """Number of tokens of each image of grids [M, 2] in patches, four of which make one; [] of None."""
    return [] if grids is None else [int(height) * int(width) // 4 for height, width in grids.tolist()]


def pack_sequences(
    token_ids: Tensor, attention_mask: Tensor, patches: Tensor | None, grids: Sequence[tuple[int, int]], context_id: int
) -> tuple[Batch, tuple[Tensor, Tensor]]:
    """The packed row of a batch, on the host, and the cells (sequence, slot) of its tokens.

    `token_ids` and `attention_mask` [B, S]; patches [N, 768], normalised. Raises ImageMismatchError where images and
    context tokens disagree, ValueError where patches and grids do.
    """
    mask = attention_mask.cpu().numpy().astype(bool)
    rows, slots = np.nonzero(mask)
    counts = images_of(token_ids.masked_fill(attention_mask == 0, -1), context_id)
    if sum(counts) != len(grids):
        raise ValueError(f"{len(grids)} images are given for {sum(counts)} runs of image tokens")
    documents: list[Document] = []
    first = 0
    for row, count in zip(token_ids.cpu().numpy(), counts, strict=True):
        ids = row[mask[len(documents)]]
        supervised = np.zeros(len(ids), bool)
        documents.append(Document(token_ids=ids, supervised=supervised, grids=grids[first : first + count]))
        first += count
    pieces = [] if patches is None else [piece.numpy() for piece in _pieces(patches, grids)]
    batch = pack(documents, pieces, image_context_id=context_id)
    return batch, (torch.from_numpy(rows), torch.from_numpy(slots))


def times_of(token_ids: Tensor, attention_mask: Tensor, image_context_id: int) -> Tensor:
    """[B, S] position in time of each token: the tokens of an image share one.

    >>> times_of(torch.tensor([[0, 7, 8, 9, 9, 4]]), torch.tensor([[0, 1, 1, 1, 1, 1]]), 9).tolist()
    [[-1, 0, 1, 2, 2, 3]]
    """
    is_context = (token_ids == image_context_id) & (attention_mask != 0)
    continues = torch.zeros_like(is_context)
    continues[:, 1:] = is_context[:, 1:] & is_context[:, :-1]
    return ((attention_mask != 0) & ~continues).long().cumsum(1) - 1


def visible_slots(attention_mask: Tensor, num_new: int) -> Tensor:
    """bool [B, n, S]: what the last n tokens see, of the slots [B, S] that the mask names: all up to themselves."""
    num_slots = attention_mask.shape[1]
    slots = torch.arange(num_slots, device=attention_mask.device)
    queries = slots[num_slots - num_new :]
    return (attention_mask != 0)[:, None] & (slots[None, None, :] <= queries[None, :, None])


def repeated_images(patches: Tensor, grids: Tensor, images: Sequence[int], num_times: int) -> tuple[Tensor, Tensor]:
    """Patches [N, 768] and grids [M, 2] where each sequence, with its images, follows itself `num_times` in all."""
    pieces, shapes = [], []
    each, first = _pieces(patches, grids.tolist()), 0
    for count in images:
        pieces += list(each[first : first + count]) * num_times
        shapes += [grids[first : first + count]] * num_times
        first += count
    return torch.cat([patches[:0], *pieces]), torch.cat([grids[:0], *shapes])


def _pieces(patches: Tensor, grids: Sequence[Sequence[int]]) -> tuple[Tensor, ...]:
    sizes = [int(grid_h) * int(grid_w) for grid_h, grid_w in grids]
    if sum(sizes) != patches.shape[0]:
        raise ValueError(f"{patches.shape[0]} patches are given for grids of {sum(sizes)}")
    pieces: tuple[Tensor, ...] = patches.split(sizes)
    return pieces
