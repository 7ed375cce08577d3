"""The weights that a language model gains before the first step, one tensor at a time: drawn, or copied from its own.

Owns their values: those that `NeoModel(config)` draws after `torch.manual_seed(seed)`, bit for bit, and those of the
height and width maps, one deviation from the released conversion among them (`hw_weights`). Nothing else is held: of a
9B model drawn as a whole, 57 GB would be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import torch
from torch import Tensor, nn

from neo_model.config import NeoConfig
from neo_model.layer import Linear, RMSNorm
from neo_model.model import NeoModel, VocabularyTable
from neo_model.patch_embedding import FoldedConv
from neo_model.rotary import hw_rows_from_t
from neo_model.weights.partition import parameter_shapes, prebuffer_keys

SKIPPED_AT_ONCE: Final = 2**22
"""Random numbers that are drawn and dropped at a time: a multiple of 16, the block in which torch draws."""
LAYERS: Final = "language_model.model.layers."
"""Begins the names of the parameters of layers."""


def new_shapes(config: NeoConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of each new weight, in the order of the model."""
    names = prebuffer_keys(config)
    return {name: shape for name, shape in parameter_shapes(config).items() if name in names}


def drawn_weights(config: NeoConfig, seed: int) -> Iterator[tuple[str, Tensor]]:
    """Name and value in fp32 of patch embedding and pre-Buffer, in the order of the model.

    Torch's own random numbers are left as they were, also between two values.
    """
    with torch.device("meta"):
        model = NeoModel(config)
    last = f"{LAYERS}{config.num_prebuffer_layers}"
    random = _random_after_construction(model, seed)
    for prefix, module in model.named_modules():
        if prefix == last or prefix.startswith(f"{last}."):
            return
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(random)
            values = dict(_drawn(prefix, module))
            random = torch.get_rng_state()
        yield from values.items()


def hw_weights(config: NeoConfig, language_model: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Name and value of the height and width weights of the post-LLM, in the precision of its T weights.

    `language_model` has NEO's names. Queries and keys are copies of T queries and T keys; the norms of the keys have a
    gain of zero, so the language model computes what it did, the gradients of the keys stay bounded, and height and
    width grow with the gains, at the pace of the learning rate.

    The released conversion sets these keys to zero in front of their RMSNorm, whose slope there is 1 / sqrt(eps) =
    1,000: their first gradients dominate the clip by global norm, and since a norm ignores scale, one optimizer step
    brings the keys to full size and disturbs the language model. Names, shapes and the function computed are the same.
    """
    for number in range(config.num_prebuffer_layers, config.num_layers):
        attention = f"{LAYERS}{number}.self_attn."
        queries, keys = (language_model[f"{attention}{name}_proj.weight"] for name in "qk")
        yield f"{attention}q_proj_hw.weight", hw_rows_from_t(queries, config.head_dim)
        yield f"{attention}k_proj_hw.weight", hw_rows_from_t(keys, config.head_dim)
        for axis in "hw":
            yield f"{attention}q_norm_{axis}.weight", queries.new_ones(config.head_dim // 2)
            yield f"{attention}k_norm_{axis}.weight", queries.new_zeros(config.head_dim // 2)


def hw_dtypes(config: NeoConfig, language_model: Mapping[str, Tensor]) -> dict[str, torch.dtype]:
    """Name and precision of what `hw_weights` gives, without making it."""
    on_meta = {name: tensor.to("meta") for name, tensor in language_model.items() if ".self_attn." in name}
    return {name: value.dtype for name, value in hw_weights(config, on_meta)}


def _random_after_construction(model: NeoModel, seed: int) -> Tensor:
    """The state of torch's random numbers after `NeoModel(config)` has made its modules and not yet drawn their values.

    Making a linear map draws its weights a first time: those numbers are drawn here too, and dropped.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in model.modules():
            if isinstance(module, Linear):
                _skip_normal(module.weight.numel())
        return torch.get_rng_state()


def _drawn(prefix: str, module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """The values of one module; the word embedding, which the language model brings, is passed over."""
    if isinstance(module, VocabularyTable):
        _skip_normal(module.weight.numel())
    elif isinstance(module, Linear | RMSNorm | FoldedConv):
        module.to_empty(device="cpu").reset_parameters()
        for name, parameter in module.named_parameters():
            yield f"{prefix}.{name}", parameter.detach()
        module.to("meta")


def _skip_normal(num_values: int) -> None:
    """Draw and drop what one tensor of so many normal values takes of the random numbers.

    The last piece is not smaller than a block: below 16 values torch draws in another way.
    """
    while num_values >= 2 * SKIPPED_AT_ONCE:
        torch.empty(SKIPPED_AT_ONCE).normal_()
        num_values -= SKIPPED_AT_ONCE
    torch.empty(num_values).normal_()
