"""Merge a pre-Buffer and a language model into one checkpoint, and take the pre-Buffer out of a checkpoint.

Works on tensors alone. Merging combines no weights: a checkpoint is one stack, and its parts are disjoint sets of
tensors (`partition`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from neo_model.config import NeoConfig
from neo_model.weights.partition import parameter_shapes, post_llm_keys, prebuffer_keys
from neo_model.weights.precision import unified
from neo_model.weights.qwen3 import from_qwen3, language_model_differences
from neo_model.weights.tensor_report import check_tensors


class MergeError(ValueError):
    """A pre-Buffer that is not there or does not fit a language model; the message lists every difference."""


def merge(prebuffer: Mapping[str, Tensor], base_llm: Mapping[str, Tensor], config: NeoConfig) -> dict[str, Tensor]:
    """All tensors of the checkpoint `config`, in the order of the model and in one precision, the wider of the two.

    `prebuffer` has NEO's names and exactly `prebuffer_keys(config)`, `base_llm` those of a plain Qwen3. The new
    height/width parameters come from the pre-Buffer, which trained them. Raises TensorMismatchError.
    """
    shapes = parameter_shapes(config)
    check_tensors(
        prebuffer, {name: shapes[name] for name in shapes if name in prebuffer_keys(config)}, what="the pre-Buffer"
    )
    inherited, kept = from_qwen3(base_llm, config), post_llm_keys(config)
    return unified({name: inherited[name] if name in kept else prebuffer[name] for name in shapes})


def take_prebuffer(checkpoint: Mapping[str, Tensor], config: NeoConfig) -> dict[str, Tensor]:
    """Patch embedding, pre-Buffer and height/width parameters of a whole checkpoint.

    Raises TensorMismatchError, and MergeError for a configuration without pre-Buffer layers: what would be returned
    then lacks the pre-Buffer's own layers.
    """
    if config.num_prebuffer_layers == 0:
        raise MergeError(
            "the checkpoint has a pre-Buffer of 0 layers, so there is none to take: its config.json counts all layers "
            "(num_prebuffer_layers 0, extra_num_layers in the file) as the language model's"
        )
    check_tensors(checkpoint, parameter_shapes(config), what="the checkpoint")
    wanted = prebuffer_keys(config)
    return {name: checkpoint[name] for name in parameter_shapes(config) if name in wanted}


def check_language_model(config: NeoConfig, qwen3: Mapping[str, Any]) -> None:
    """Raise MergeError unless the Qwen3 of this `config.json` has the widths, heads and rotation of `config`."""
    differences = language_model_differences(config, qwen3)
    if differences:
        raise MergeError("the pre-Buffer was made for another language model: " + "; ".join(differences))
