"""LoRA: trainable products of two narrow matrices beside frozen linear maps (arXiv 2106.09685).

    y = x W^T + (alpha / r) (x A^T) B^T        W [out, in] frozen, A [r, in] and B [out, r] trained

Owns the adapted map, drawing A, and adding the product to W. A is uniform within 1 / sqrt(in), as in the authors' code
(loralib), and B is zero, so that an adapted model begins as the model that it adapts. There is no dropout: a step is a
function of its number. Names of parameters stay the released ones, with `lora_a` and `lora_b` beside `weight`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from neo_model.layer import Linear

LORA_A: Final = "lora_a"
LORA_B: Final = "lora_b"
WEIGHT: Final = "weight"


class AdaptedLinear(Linear):
    """A linear map without bias whose weight is frozen, and the adapter beside it."""

    def __init__(self, base: Linear, *, rank: int, alpha: float) -> None:
        """Shares the weight of `base`. The adapter is fp32, on the same device, and not drawn yet."""
        with torch.device("meta"):
            super().__init__(base.in_features, base.out_features)
        self.weight = base.weight.requires_grad_(False)
        device = base.weight.device
        self.lora_a = nn.Parameter(torch.zeros(rank, base.in_features, device=device))
        self.lora_b = nn.Parameter(torch.zeros(base.out_features, rank, device=device))
        self.rank = rank
        self._scale = alpha / rank

    def forward(self, x: Tensor) -> Tensor:
        narrow = F.linear(x, self.lora_a)
        return F.linear(x, self.weight) + self._scale * F.linear(narrow, self.lora_b)

    @torch.no_grad()
    def draw(self, seed: str) -> None:
        """Draw A, the same values on every rank and in every order of maps. Does nothing on the meta device."""
        if not self.lora_a.is_meta:
            generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8]) >> 1)
            bound = self.in_features**-0.5
            drawn = torch.empty(self.lora_a.shape).uniform_(-bound, bound, generator=generator)
            self.lora_a.copy_(drawn)


def add_adapters(model: nn.Module, names: Iterable[str], *, rank: int, alpha: float, seed: int) -> None:
    """Put an adapter beside each of the named linear maps of `model`, whose weights are frozen by this."""
    for name in sorted(names):
        parent, _, last = name.rpartition(".")
        base = model.get_submodule(name)
        assert isinstance(base, Linear) and not isinstance(base, AdaptedLinear), f"{name} cannot be adapted"
        adapted = AdaptedLinear(base, rank=rank, alpha=alpha)
        adapted.draw(f"{seed}/{name}")
        setattr(model.get_submodule(parent), last, adapted)


def merged(
    parameters: Iterable[tuple[str, Tensor]], originals: Mapping[str, Tensor], trained: Collection[str], scale: float
) -> Iterator[tuple[str, Tensor]]:
    """The plain weights of an adapted model, from names and values of its parameters in the order of the model.

    W + `scale` B A is summed in fp32 from the W of `originals`, then rounded to the precision of that W. Parameters in
    `trained` are rounded to the precision of their originals, and all others are the originals, bit for bit. Values are
    used one at a time, and may be gone afterwards.
    """
    plain: tuple[str, Tensor] | None = None
    narrow = torch.empty(0)
    for name, value in parameters:
        map_name, _, last = name.rpartition(".")
        if last == LORA_A:
            plain, narrow = None, _on_host(value)
        elif last == LORA_B:
            weight = originals[f"{map_name}.{WEIGHT}"]
            yield f"{map_name}.{WEIGHT}", (weight.float() + scale * (_on_host(value) @ narrow)).to(weight.dtype)
        else:
            if plain is not None:
                yield plain
            plain = name, _on_host(value).to(originals[name].dtype) if name in trained else originals[name]
    if plain is not None:
        yield plain


def _on_host(value: Tensor) -> Tensor:
    return value.detach().to("cpu", torch.float32, copy=True)
