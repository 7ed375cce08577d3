"""Patches to visual tokens: two matrix products over ragged patches with a rotation between them.

Owns the vision part of the network under its released names, `vision_model.embeddings.*`. The stride of both
convolutions equals their kernel, so each is a linear map, and pictures of all sizes are embedded together.

N patches of 768 values, C channels, P = N / 4 tokens, H hidden width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neo_model.config import PATCH_PX, NeoConfig
from neo_model.inputs.pictures import IMAGENET_MEAN, IMAGENET_STD
from neo_model.rotary import rotate_patches


class FoldedConv(nn.Module):
    """A convolution whose stride equals its kernel, applied to patches laid out as rows."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, side, side))
        self.bias = nn.Parameter(torch.empty(out_channels))

    def forward(self, rows: Tensor, *, channels_last: bool) -> Tensor:
        """Rows [n, in_channels * side * side] -> [n, out_channels].

        Values of a row are laid out (channel, row, column), or (row, column, channel) if `channels_last`.
        """
        weight = self.weight.permute(0, 2, 3, 1) if channels_last else self.weight
        return F.linear(rows.to(weight.dtype), weight.flatten(1), self.bias)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """torch's rule for convolutions: weight and bias uniform within 1 / sqrt(fan-in)."""
        bound = self.weight[0].numel() ** -0.5
        self.weight.uniform_(-bound, bound)
        self.bias.uniform_(-bound, bound)


class PatchEmbedding(nn.Module):
    """Both convolutions and the rotation. Released name: `vision_model.embeddings`."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.patch_embedding = FoldedConv(3, config.patch_hidden, PATCH_PX)
        self.dense_embedding = FoldedConv(config.patch_hidden, config.hidden, 2)
        self._theta = config.theta_patch
        self._channels = config.patch_hidden

    def forward(self, patches: Tensor, columns_rows: Tensor) -> Tensor:
        """Patches [N, 768] and their (column, row) [N, 2], in merge order -> visual tokens [P, H].

        Raw uint8 patches are normalised first.
        """
        pixels = normalise_on_device(patches) if patches.dtype == torch.uint8 else patches
        features = F.gelu(self.patch_embedding(pixels, channels_last=False))
        rotated = rotate_patches(features, columns_rows, self._theta)
        tokens: Tensor = self.dense_embedding(rotated.view(-1, 4 * self._channels), channels_last=True)
        return tokens


class VisionModel(nn.Module):
    """The patch embedding, which is the whole vision model. Released name: `vision_model`."""

    def __init__(self, config: NeoConfig) -> None:
        super().__init__()
        self.embeddings = PatchEmbedding(config)

    def forward(self, patches: Tensor, columns_rows: Tensor) -> Tensor:
        tokens: Tensor = self.embeddings(patches, columns_rows)
        return tokens


def normalise_on_device(patches: Tensor) -> Tensor:
    """uint8 [N, 768] -> fp32 by the ImageNet statistics, as `inputs.pictures.normalise` does on the host."""
    mean, std = (
        torch.tensor(row, dtype=torch.float32).to(patches.device, non_blocking=True)[:, None]
        for row in (IMAGENET_MEAN, IMAGENET_STD)
    )
    values: Tensor = (patches.unflatten(1, (3, -1)).float() / 255 - mean) / std
    return values.flatten(1)
