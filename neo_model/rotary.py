"""Rotary position embedding: T, H and W in the layers, column and row in the patch embedding.

Owns both channel layouts. In the layers, T has the head width D, H and W have D/2 each, and within a part of width n
channel i is paired with i + n/2. In the patch embedding neighbours are paired; the first half of the channels
rotates with the column, the second with the row.

L tokens, N patches, D head width, C channels.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class RotaryTables(NamedTuple):
    """Cosines and sines of a packed row, computed once and shared by all layers."""

    cos: Tensor
    """[L, 1, D]: D/2 angles of T, then D/4 of H and D/4 of W."""
    sin: Tensor
    """[L, 1, D], of the same angles."""


def rotary_tables(
    positions: Tensor, *, head_dim: int, theta_t: float, theta_hw: float, dtype: torch.dtype
) -> RotaryTables:
    """Rotary tables for positions [L, 3] (T, H, W); angles in fp32, tables in `dtype`."""
    t, h, w = positions.unbind(1)
    frequencies_t = _frequencies(head_dim, theta_t, positions.device)
    frequencies_hw = _frequencies(head_dim // 2, theta_hw, positions.device)
    angles = torch.cat([t[:, None] * frequencies_t, h[:, None] * frequencies_hw, w[:, None] * frequencies_hw], dim=1)
    return RotaryTables(angles.cos().unsqueeze(1).to(dtype), angles.sin().unsqueeze(1).to(dtype))


def rotate(t: Tensor, hw: Tensor, tables: RotaryTables) -> Tensor:
    """Rotate heads whose parts are t [L, heads, D] and hw [L, heads, 2, D/2]; returns [L, heads, 2 D].

    The channels of the result are the first halves of T, H, W, then the second halves of T, H, W. Queries and keys
    have the same permutation, so their dot products do not change, and one multiplication rotates all three parts.
    """
    first_t, second_t = t.unflatten(-1, (2, -1)).unbind(-2)
    first_hw, second_hw = hw.unflatten(-1, (2, -1)).unbind(-2)
    first = torch.cat([first_t, first_hw.flatten(-2)], dim=-1)
    second = torch.cat([second_t, second_hw.flatten(-2)], dim=-1)
    return torch.cat([first * tables.cos - second * tables.sin, second * tables.cos + first * tables.sin], dim=-1)


def rotate_patches(features: Tensor, columns_rows: Tensor, theta: float) -> Tensor:
    """Rotate patch features [N, C] by their (column, row) [N, 2], in fp32; keeps the dtype."""
    num_patches, channels = features.shape
    angles = columns_rows[:, :, None] * _frequencies(channels // 2, theta, features.device)
    cos, sin = angles.cos().flatten(1), angles.sin().flatten(1)
    even, odd = features.float().unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack((even * cos - odd * sin, odd * cos + even * sin), dim=-1)
    return rotated.view(num_patches, channels).to(features.dtype)


def hw_rows_from_t(projection: Tensor, head_dim: int) -> Tensor:
    """Weight of an H/W projection taken from that of a T projection, both [heads * D, hidden].

    T pairs channel i with i + D/2 and rotates the pair by theta ** (-2 i / D): low i, fast rotation. H and W are D/2
    wide and pair j with j + D/4, so each takes quarters 1 and 3 of T's rows: the fastest pairs, still whole.
    For D = 8 the rows of a head become 0 1 4 5 (H), 0 1 4 5 (W): T's pairs (0, 4) and (1, 5).
    """
    first, _, third, _ = projection.unflatten(0, (-1, 4, head_dim // 4)).unbind(1)
    part = torch.cat((first, third), dim=1)
    return torch.cat((part, part), dim=1).flatten(0, 1)


def _frequencies(width: int, theta: float, device: torch.device) -> Tensor:
    """[width / 2] fp32: theta ** (-2 i / width)."""
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    return 1.0 / theta**exponents
