"""What of a checkpoint a tuning trains: everything, named parts, the last layers, or adapters beside frozen maps.

Owns the recipe's fields for it, the choice by module, and its refusal where a model has not what is named. Frozen
parameters are not part of checkpoints and are handed on bit for bit; adapters are added to their weights at the end
(`neo_model/lora.py`), so that what comes out is a plain checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from neo_model.parts import LINEAR_NAMES, LinearName, ModelPart
from stages.contract import StageError
from stages.training.recipe import TrainRecipe

if TYPE_CHECKING:
    from torch import Tensor

    from neo_model.model import NeoModel


class PartialTrainRecipe(TrainRecipe):
    """Fields of a training that may train less than the whole model."""

    trained_parts: tuple[ModelPart, ...] | None = None
    """Parts of the model whose own weights train; all others are frozen. None: every part, or none where
    `lora_rank` is set, or the layers alone where `trained_top_layers` is."""
    trained_top_layers: int | None = Field(default=None, ge=1)
    """Only so many of the last layers train, by their own weights or by adapters; None: layers at any depth."""
    lora_rank: int | None = Field(default=None, ge=1, le=100_000)
    """Rank of the LoRA adapters beside frozen linear maps, which are added to their weights when training ends; None
    trains without adapters. A common rank is 16."""
    lora_alpha: float = Field(default=16.0, gt=0)
    """The product of an adapter counts `lora_alpha` / `lora_rank` times."""
    lora_targets: tuple[LinearName, ...] = LINEAR_NAMES
    """Linear maps of the layers that get an adapter, unless their own weight trains."""

    @model_validator(mode="after")
    def _check_parts(self) -> PartialTrainRecipe:
        for name in ("trained_parts", "lora_targets"):
            names = getattr(self, name) or ()
            if len(set(names)) < len(names):
                raise ValueError(f"{name} = {names} names one twice")
        if self.trained_parts == () and self.lora_rank is None:
            raise ValueError("trained_parts = () trains nothing; name parts, or set lora_rank")
        if self.lora_rank is not None and not self.lora_targets:
            raise ValueError(f"lora_rank = {self.lora_rank} and lora_targets = (): name the maps to adapt")
        return self

    @property
    def trains_all(self) -> bool:
        """Whether every parameter trains."""
        return self.trained_parts is None and self.trained_top_layers is None and self.lora_rank is None


def choose_trained(model: NeoModel, recipe: PartialTrainRecipe) -> None:
    """Require gradients of what `recipe` trains and of nothing else, and add its adapters.

    Also on the meta device. Raises `StageError` for more layers than the model has, an adapter wider than its map, and
    parts or targets of which nothing is left to train.
    """
    from neo_model.lora import add_adapters

    trained = _own_weights(model, recipe)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trained)
    if recipe.lora_rank is not None:
        names = _adapted(model, recipe, trained)
        add_adapters(model, names, rank=recipe.lora_rank, alpha=recipe.lora_alpha, seed=recipe.seed)


def merged_weights(
    parameters: Iterable[tuple[str, Tensor]],
    originals: Mapping[str, Tensor],
    model: NeoModel,
    recipe: PartialTrainRecipe,
) -> Iterator[tuple[str, Tensor]]:
    """The plain weights of `model` after training, frozen ones as in `originals`; see `neo_model.lora.merged`."""
    from neo_model.lora import merged
    from stages.training.weight_digests import trainable_names

    scale = recipe.lora_alpha / (recipe.lora_rank or 1)
    return merged(parameters, originals, trainable_names(model), scale)


def factors_of_parameters(model: NeoModel, factors: Mapping[ModelPart, float]) -> dict[str, float]:
    """Name of each trained parameter to the factor of its learning rate.

    Raises `StageError` where a factor is for a part of which nothing trains.
    """
    from neo_model.weights.partition import part_of_parameters
    from stages.training.weight_digests import trainable_names

    parts, trained = part_of_parameters(model), trainable_names(model)
    idle = sorted(factors.keys() - {parts[name] for name in trained})
    if idle:
        raise StageError(f"learning_rate_factors names {', '.join(idle)}, of which nothing trains")
    return {name: factors.get(part, 1.0) for name, part in parts.items() if name in trained}


def _own_weights(model: NeoModel, recipe: PartialTrainRecipe) -> frozenset[str]:
    """Names of the parameters that train themselves."""
    from neo_model.weights.partition import part_of_parameters

    parts = part_of_parameters(model)
    layers = _layers_of_parameters(model)
    top, wanted = recipe.trained_top_layers, recipe.trained_parts
    if top is not None and top > len(model.layers):
        raise StageError(f"trained_top_layers = {top}: the model has {len(model.layers)} layers")
    if wanted is None and recipe.lora_rank is not None:
        return frozenset()
    if wanted is None:
        named = set(parts) if top is None else set(layers)
    else:
        named = {name for name, part in parts.items() if part in wanted}
    found = frozenset(name for name in named if name not in layers or _is_in_top(layers[name], model, recipe))
    for part in wanted or ():
        if not any(parts[name] == part for name in found):
            tied = "the output head is the embedding table here" if part == "head" else "no parameter of it is left"
            raise StageError(f"trained_parts names {part!r}, of which nothing trains: {tied}")
    return found


def _adapted(model: NeoModel, recipe: PartialTrainRecipe, trained: frozenset[str]) -> list[str]:
    """Names of the linear maps that get an adapter."""
    from neo_model.layer import Linear

    assert recipe.lora_rank is not None
    names = []
    layers = _layers_of_parameters(model)
    for name, module in model.named_modules():
        weight = f"{name}.weight"
        if not isinstance(module, Linear) or name.rpartition(".")[2] not in recipe.lora_targets or weight in trained:
            continue
        if not _is_in_top(layers[weight], model, recipe):
            continue
        narrowest = min(module.in_features, module.out_features)
        if recipe.lora_rank > narrowest:
            raise StageError(f"lora_rank = {recipe.lora_rank} is more than {name} has, which is {narrowest} wide")
        names.append(name)
    if not names:
        raise StageError(
            f"lora_targets = {recipe.lora_targets}: the weights of all these maps train themselves; name other maps or "
            "fewer trained_parts"
        )
    return names


def _is_in_top(number: int, model: NeoModel, recipe: PartialTrainRecipe) -> bool:
    top = recipe.trained_top_layers
    return top is None or number >= len(model.layers) - top


def _layers_of_parameters(model: NeoModel) -> dict[str, int]:
    """Name of every parameter of a layer to the number of that layer, from the first of the stack."""
    numbers = {id(one): number for number, layer in enumerate(model.layers) for one in layer.parameters()}
    return {name: numbers[id(one)] for name, one in model.named_parameters() if id(one) in numbers}
