"""Sizes of published models, as facts: `config.json` of the Qwen3 models that NEO grows on, by name.

They answer what a model will be like before it is there. Imports neither torch nor numpy, because recipes read it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, get_args

from neo_model.config import NEO_2B, NEO_9B, NeoConfig

PublishedQwen3: TypeAlias = Literal["Qwen3-0.6B", "Qwen3-1.7B", "Qwen3-4B", "Qwen3-8B", "Qwen3-14B", "Qwen3-32B"]
"""Names of the dense Qwen3 models; each has the sizes of its `-Base` model too."""
PublishedNeo: TypeAlias = Literal["NEO-2B", "NEO-9B"]
"""Names of the published NEO sizes."""

SIZE_FIELDS: Final = (
    "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "intermediate_size", "vocab_size",
    "num_hidden_layers", "tie_word_embeddings",
)  # fmt: skip
"""Fields of `config.json` that decide the shapes of the tensors."""

_SIZES: Final[Mapping[str, tuple[int, int, int, int, int, bool]]] = {
    "Qwen3-0.6B": (1024, 28, 16, 8, 3072, True),
    "Qwen3-1.7B": (2048, 28, 16, 8, 6144, True),
    "Qwen3-4B": (2560, 36, 32, 8, 9728, True),
    "Qwen3-8B": (4096, 36, 32, 8, 12_288, False),
    "Qwen3-14B": (5120, 40, 40, 8, 17_408, False),
    "Qwen3-32B": (5120, 64, 64, 8, 25_600, False),
}
"""Width, layers, query heads, key and value heads, inner width of the feed-forward, and whether the head is tied."""


def _config(name: str) -> Mapping[str, Any]:
    hidden, num_layers, num_heads, num_kv_heads, ffn, tied = _SIZES[name]
    return {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "hidden_size": hidden,
        "num_hidden_layers": num_layers,
        "num_attention_heads": num_heads,
        "num_key_value_heads": num_kv_heads,
        "head_dim": 128,
        "intermediate_size": ffn,
        "vocab_size": 151_936,
        "tie_word_embeddings": tied,
        "rope_theta": 1_000_000,
        "rms_norm_eps": 1e-6,
        "hidden_act": "silu",
        "attention_bias": False,
    }


QWEN3_CONFIGS: Final[Mapping[str, Mapping[str, Any]]] = {name: _config(name) for name in get_args(PublishedQwen3)}
"""What decides shapes and arithmetic in `config.json` of each dense Qwen3, by name."""
NEO_CONFIGS: Final[Mapping[str, NeoConfig]] = {"NEO-2B": NEO_2B, "NEO-9B": NEO_9B}
"""The published NEO sizes, by name."""
