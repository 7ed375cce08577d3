"""Digests of weights before and after training: which parameters moved, and that no frozen one did.

Owns the digests of whole parameters, taken before the first step and after the last. Ranks hold the same weights, so
each digests a share of them: of 10 billion parameters on 128 ranks 160 MB of bf16, where each rank alone would copy
20 GB from its GPU and digest them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from stages.contract import StageError
from stages.training.collectives import gather_values


@dataclass(frozen=True)
class WeightDigests:
    """sha256 of each parameter's bytes by name, trained and frozen ones apart."""

    trained: Mapping[str, str]
    frozen: Mapping[str, str]

    @property
    def of_frozen(self) -> str:
        """One sha256 over the names and digests of all frozen parameters."""
        lines = "".join(f"{name} {value}\n" for name, value in sorted(self.frozen.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    def compare(self, after: WeightDigests) -> dict[str, Any]:
        """The facts that the last checkpoint records. Raises `StageError` where a frozen parameter changed."""
        changed = [name for name, value in self.frozen.items() if after.frozen[name] != value]
        if changed:
            raise StageError(f"{len(changed)} frozen parameters changed in training, the first is {changed[0]}")
        unmoved = sorted(name for name, value in self.trained.items() if after.trained[name] == value)
        return {
            "num_frozen_tensors": len(self.frozen),
            "frozen_digest": self.of_frozen,
            "num_trained_tensors": len(self.trained),
            "unmoved": unmoved,
        }


def trainable_names(model: nn.Module) -> frozenset[str]:
    """Names of the parameters that require a gradient."""
    return frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)


def weight_digests(
    parameters: Iterable[tuple[str, Tensor]], trainable: frozenset[str], rank: int, num_ranks: int
) -> WeightDigests:
    """The digests of whole parameters, given one at a time. Collective.

    Each goes to the rank that has digested the fewest values so far, the first of equals: on every rank the same.
    """
    num_digested = [0] * num_ranks
    mine: dict[str, str] = {}
    for name, value in parameters:
        digester = num_digested.index(min(num_digested))
        num_digested[digester] += value.numel()
        if digester == rank:
            mine[name] = sha256_of_tensor(value)
    digests: dict[str, str] = {}
    for of_rank in gather_values(mine) if num_ranks > 1 else [mine]:
        digests |= of_rank
    return WeightDigests(
        trained={name: value for name, value in digests.items() if name in trainable},
        frozen={name: value for name, value in digests.items() if name not in trainable},
    )


def sha256_of_tensor(value: Tensor) -> str:
    """sha256 of a tensor's bytes in memory order, 64 hex digits."""
    flat = value.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().data).hexdigest()
