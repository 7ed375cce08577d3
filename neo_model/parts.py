"""Parts of a NEO model and linear maps of its layers, by the names that recipes use. Imports no torch.

`weights/partition.py` says which parameter belongs to which part; `lora.py` adapts linear maps.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

ModelPart: TypeAlias = Literal["vision", "prebuffer", "hw", "post_llm", "embedding", "head"]
"""`vision` is the patch embedding; `prebuffer` the pre-Buffer's layers; `hw` the height/width queries, keys and norms
of the post-LLM; `post_llm` all else in its layers, and the last norm; `embedding` the table of words, which is also the
output head of a tied model; `head` the output head of an untied one."""

LinearName: TypeAlias = Literal[
    "q_proj", "k_proj", "v_proj", "o_proj", "q_proj_hw", "k_proj_hw", "gate_proj", "up_proj", "down_proj"
]
"""A linear map of a layer, by its released name."""

MODEL_PARTS: Final[tuple[ModelPart, ...]] = get_args(ModelPart)
LINEAR_NAMES: Final[tuple[LinearName, ...]] = get_args(LinearName)
PREBUFFER_PARTS: Final[tuple[ModelPart, ...]] = ("vision", "prebuffer", "hw")
"""The parts that pre-Buffer pre-training trains, and a PreBuffer artifact holds."""
