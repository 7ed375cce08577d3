"""Documents to one packed row of tensors.

Owns `Document` (one document, numpy) and `Batch` (one packed row, torch). The model takes packed 1-D input only: a
micro-batch of several rows is one longer row. All that depends on the layout of documents and images is computed
here, on the host: a forward pass never synchronises with the device.

L tokens, D documents, M images, N patches, P context tokens, S supervised positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neo_model.config import PATCH_VALUES
from neo_model.inputs.positions import check_images, image_spans, merge_order, patch_positions, thw_positions

if TYPE_CHECKING:
    from neo_model.inputs.pairs import Pairs

IGNORED: Final = -100
"""Target of a position without supervision, as in torch's cross-entropy."""

_HOST_FIELDS: Final = frozenset({"documents", "image_spans", "grids", "first_token", "text_spans", "pairs"})
"""Fields that `Batch.to` leaves on the host, where masks and segments are built from them."""


class Weighting(StrEnum):
    """Weight of each supervised token of a document that has n of them."""

    TOKEN = "token"
    """Weight 1: all tokens count equally."""
    SAMPLE = "sample"
    """Weight 1 / n: all documents count equally."""
    SQUARE = "square"
    """Weight 1 / sqrt(n), the released default."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """One document before packing."""

    token_ids: Sequence[int] | NDArray[Any]
    """[l] token ids."""
    supervised: Sequence[bool] | NDArray[Any]
    """[l] whether this token is a target of the loss; the first token of a document never is."""
    grids: Sequence[tuple[int, int]] = ()
    """(grid_h, grid_w) in patches of each image, in order."""
    shown_ids: Sequence[int] | NDArray[Any] | None = None
    """[l] what the model reads in place of `token_ids`, which are predicted; None where it reads these."""
    seen_whole: Sequence[tuple[int, int]] = ()
    """Runs of text whose tokens see each other both ways, as those of an image do: start and end, in order."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One packed row, or a rank's share of one (`shares.py`), which has L of its tokens.

    `to` moves all tensors but `documents`, `image_spans`, `grids`, `text_spans` and those of `pairs`, which stay on the
    host and are the whole row's.
    """

    input_ids: Tensor
    """[L] int64 token ids."""
    positions: Tensor
    """[L, 3] int64, (T, H, W)."""
    targets: Tensor
    """[L] int64, already shifted: the next token if it is supervised, else -100."""
    weights: Tensor
    """[L] fp32 weight of the target; 0 without a target."""
    supervised_index: Tensor
    """[S] int64 positions that have a target."""
    documents: Tensor
    """[D+1] int64 cumulative starts, from 0 to the length of the row, on the host."""
    image_spans: Tensor
    """[M, 2] int64 start and end of each image's context tokens, on the host."""
    grids: Tensor
    """[M, 2] int64 (grid_h, grid_w) in patches, on the host. A dummy image adds a last grid without a span."""
    context_index: Tensor
    """[P] int64 positions of the context tokens, in the order of the patches."""
    patches: Tensor
    """[N, 768] normalised floats, or raw uint8; the four patches of a token are neighbours."""
    patch_positions: Tensor
    """[N, 2] int64, (column, row) on the picture's grid."""
    first_token: int = 0
    """Place in the row of the first of these tokens: above 0 in a share that is not the first."""
    text_spans: Tensor | None = None
    """[W, 2] int64 start and end of runs of text that are seen whole, on the host; None where there are none."""
    pairs: Pairs | None = None
    """Which tokens stand for a picture and for its caption, where these are compared; on the host."""

    @property
    def whole_spans(self) -> Tensor:
        """[M + W, 2] int64 start and end of what is seen whole: images and runs of text, in order, on the host."""
        if self.text_spans is None:
            return self.image_spans
        spans = torch.cat((self.image_spans, self.text_spans))
        return spans[spans[:, 0].argsort()]

    @property
    def num_tokens(self) -> int:
        """Tokens L that are here: all of the row's, or those of a share."""
        return self.input_ids.shape[0]

    @property
    def row_tokens(self) -> int:
        """Tokens of the whole row."""
        return int(self.documents[-1])

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Batch:
        """Move to `device`; normalised patches become `dtype`."""
        moved = {
            field.name: getattr(self, field.name).to(device, non_blocking=True)
            for field in fields(self)
            if field.name not in _HOST_FIELDS
        }
        if dtype is not None and moved["patches"].is_floating_point():
            moved["patches"] = moved["patches"].to(dtype)
        return replace(self, **moved)

    def pinned(self) -> Batch:
        """A copy in locked host memory, from which `to` copies while the device computes. Needs CUDA."""
        locked = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in _HOST_FIELDS}
        return replace(self, **{name: tensor.pin_memory() for name, tensor in locked.items()})


def pack(
    documents: Sequence[Document],
    patches: Sequence[NDArray[Any]],
    *,
    image_context_id: int,
    weighting: Weighting = Weighting.SQUARE,
) -> Batch:
    """Pack documents into one row, end to end.

    `patches` holds one array [n, 768] for each image, row-major over its grid, float32 normalised or uint8 raw, in
    the order of the documents. The last token of a document has no target: for documents [5, 6, 7] and [8, 9], all
    supervised, targets are 6 7 -100 9 -100. Raises ImageMismatchError if images, grids and context tokens disagree.
    """
    token_ids = np.concatenate([np.asarray(document.token_ids, np.int64) for document in documents])
    starts = np.cumsum([0, *(len(document.token_ids) for document in documents)], dtype=np.int64)
    targets, weights = _targets(documents, token_ids, starts, Weighting(weighting))
    grids = [(int(grid_h), int(grid_w)) for document in documents for grid_h, grid_w in document.grids]
    spans = image_spans(token_ids, image_context_id)
    check_images(spans, grids)
    shown = [one.token_ids if one.shown_ids is None else one.shown_ids for one in documents]
    batch = assemble(
        token_ids=np.concatenate([np.asarray(one, np.int64) for one in shown]),
        targets=targets,
        weights=weights,
        starts=starts,
        spans=spans,
        grids=grids,
        patches=patches,
    )
    whole = [
        (start + first, start + end)
        for document, start in zip(documents, starts.tolist(), strict=False)
        for first, end in document.seen_whole
    ]
    return replace(batch, text_spans=torch.tensor(whole, dtype=torch.int64)) if whole else batch


def assemble(
    *,
    token_ids: NDArray[np.int64],
    targets: NDArray[np.int64],
    weights: NDArray[np.float32],
    starts: NDArray[np.int64],
    spans: NDArray[np.int64],
    grids: Sequence[tuple[int, int]],
    patches: Sequence[NDArray[Any]],
) -> Batch:
    """A Batch from shifted targets [L], weights [L], document starts [D+1], image spans [M, 2] and their images.

    Raises ValueError if patches do not fit their grids or mix raw with normalised values.
    """
    _check_patches(grids, patches)
    grid_array = np.array(grids, np.int64).reshape(-1, 2)
    orders = [merge_order(*grid) for grid in grids]
    merged = [np.asarray(image)[order] for image, order in zip(patches, orders, strict=True)]
    columns_rows = [patch_positions(*grid) for grid in grids]
    context = [np.arange(start, end) for start, end in spans]
    return Batch(
        input_ids=torch.from_numpy(token_ids),
        positions=torch.from_numpy(thw_positions(len(token_ids), starts, spans, grid_array)),
        targets=torch.from_numpy(targets),
        weights=torch.from_numpy(weights),
        supervised_index=torch.from_numpy(np.flatnonzero(targets != IGNORED)),
        documents=torch.from_numpy(starts),
        image_spans=torch.from_numpy(spans),
        grids=torch.from_numpy(grid_array),
        context_index=torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *context])),
        patches=torch.from_numpy(np.concatenate(merged) if merged else np.zeros((0, PATCH_VALUES), np.float32)),
        patch_positions=torch.from_numpy(np.concatenate([np.zeros((0, 2), np.int64), *columns_rows])),
    )


def ensure_image(batch: Batch) -> Batch:
    """Append a zero picture of 2 x 2 patches to a batch without pictures, for ZeRO: all ranks must reduce the same
    gradients, those of the patch embedding included.

    The dummy picture has no context token, so its visual token is dropped. The patch embedding gets a gradient of
    exactly zero, and nothing else changes.
    """
    if batch.patches.shape[0] > 0:
        return batch
    device = batch.patches.device
    return replace(
        batch,
        grids=torch.tensor([[2, 2]], dtype=torch.int64),
        patches=torch.zeros(4, PATCH_VALUES, dtype=batch.patches.dtype, device=device),
        patch_positions=torch.from_numpy(patch_positions(2, 2)).to(device),
    )


def _targets(
    documents: Sequence[Document], token_ids: NDArray[np.int64], starts: NDArray[np.int64], weighting: Weighting
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Shifted targets [L] and their weights [L] fp32."""
    targets = np.full(len(token_ids), IGNORED, np.int64)
    weights = np.zeros(len(token_ids), np.float32)
    powers = {Weighting.TOKEN: 0.0, Weighting.SQUARE: -0.5, Weighting.SAMPLE: -1.0}
    for document, start, end in zip(documents, starts[:-1], starts[1:], strict=True):
        supervised = np.asarray(document.supervised, bool)
        if len(supervised) != end - start:
            raise ValueError(f"a document of {end - start} tokens has {len(supervised)} supervision marks")
        positions = np.flatnonzero(supervised[1:]) + start
        targets[positions] = token_ids[positions + 1]
        weights[positions] = max(len(positions), 1) ** powers[weighting]
    return targets, weights


def _check_patches(grids: Sequence[tuple[int, int]], patches: Sequence[NDArray[Any]]) -> None:
    if len(grids) != len(patches):
        raise ValueError(f"{len(patches)} arrays of patches for {len(grids)} images")
    for number, (grid, image) in enumerate(zip(grids, patches, strict=True)):
        if image.shape != (grid[0] * grid[1], PATCH_VALUES):
            raise ValueError(f"image {number} has patches {image.shape} for a grid of {grid[0]} x {grid[1]}")
        if image.dtype != patches[0].dtype:
            first = patches[0].dtype
            raise ValueError(f"image {number} has {image.dtype} patches beside {first}: raw and normalised mixed")
