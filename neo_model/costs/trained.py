"""How much of a model trains, read off the model: what the cost of a step depends on."""

from __future__ import annotations

from neo_model.costs.flops import Trained
from neo_model.layer import Linear
from neo_model.lora import AdaptedLinear
from neo_model.model import NeoModel
from neo_model.weights.partition import part_of_parameters


def trained_of(model: NeoModel) -> Trained:
    """What of `model` requires a gradient. Reads the widths of its maps, which ZeRO-3 leaves as they are."""
    parts = part_of_parameters(model)
    trains = {parts[name] for name, parameter in model.named_parameters() if parameter.requires_grad}
    lowest = next(
        (number for number, layer in enumerate(model.layers) if any(one.requires_grad for one in layer.parameters())),
        model.config.num_layers,
    )
    maps = [module for layer in model.layers for module in layer.modules() if isinstance(module, Linear)]
    adapted = [one for one in maps if isinstance(one, AdaptedLinear)]
    adapter_values = sum(one.rank * (one.in_features + one.out_features) for one in adapted)
    own_values = sum(one.in_features * one.out_features for one in maps if one.weight.requires_grad)
    return Trained(
        layer_values=own_values + adapter_values,
        adapter_values=adapter_values,
        num_layers=model.config.num_layers - (0 if trains & {"vision", "embedding"} else lowest),
        vision="vision" in trains,
        head=("embedding" if model.config.tied else "head") in trains,
    )
