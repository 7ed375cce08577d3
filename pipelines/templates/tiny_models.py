"""Model folders with random weights, in the forms of published ones and small enough to train on a laptop.

They stand in a new project where a user will name a published model: everything runs, and nothing is learned.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tokenizers import Tokenizer

MAX_PIECES: Final = 400
"""Pieces that the tokenizer learns at most, the 256 bytes among them."""
ROW_MULTIPLE: Final = 64
HIDDEN: Final = 64
NUM_LLM_LAYERS: Final = 2
HEADS: Final = {"num_heads": 4, "num_kv_heads": 2, "head_dim": 16}
FFN: Final = 128


def write_tiny_llm(folder: Path, texts: Iterable[str]) -> None:
    """Write a Qwen3 folder, as a model hub serves it. Raises `FileExistsError` where the folder is there."""
    import torch
    from safetensors.torch import save_file

    from stages.toy_world.language_model import LlmSizes, hub_config
    from stages.toy_world.tokenizer import save_tokenizer, train_tokenizer

    folder.mkdir(parents=True)
    tokenizer = train_tokenizer(texts, MAX_PIECES)
    save_tokenizer(tokenizer, folder, max_tokens=4096)
    sizes = LlmSizes(hidden=HIDDEN, num_layers=NUM_LLM_LAYERS, ffn=FFN, max_tokens=4096, **HEADS)
    config = hub_config(sizes, tokenizer.get_vocab(with_added_tokens=True))
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    generator = torch.Generator().manual_seed(0)
    shapes = _qwen3_shapes(config["vocab_size"])
    tensors = {
        name: torch.ones(shape) if len(shape) == 1 else torch.randn(shape, generator=generator) * 0.02
        for name, shape in shapes.items()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def write_tiny_checkpoint(folder: Path, texts: Iterable[str]) -> None:
    """Write a NEO folder in the layout of the released checkpoints, of one pre-Buffer layer and two others."""
    import torch

    from neo_model.config import NeoConfig
    from neo_model.inputs.conversation import add_special_tokens, special_ids
    from neo_model.model import NeoModel
    from neo_model.weights.released import tokenizer_sidecars, write_released
    from stages.toy_world.tokenizer import train_tokenizer

    tokenizer = train_tokenizer(texts, MAX_PIECES)
    add_special_tokens(tokenizer)
    ids = special_ids(tokenizer)
    config = NeoConfig(
        hidden=HIDDEN,
        ffn=FFN,
        vocab_size=_rows_of(tokenizer),
        num_prebuffer_layers=1,
        num_layers=NUM_LLM_LAYERS + 1,
        image_start_id=ids.image_start,
        image_context_id=ids.image_context,
        image_end_id=ids.image_end,
        patch_hidden=HIDDEN,
        tied=True,
        **HEADS,
    )
    torch.manual_seed(0)
    model = NeoModel(config)
    tensors = {name: parameter.detach() for name, parameter in model.named_parameters()}
    write_released(folder, config, tensors, tokenizer_sidecars(tokenizer))


def _rows_of(tokenizer: Tokenizer) -> int:
    """Embedding rows for a tokenizer: as many as it has tokens, rounded up."""
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values())
    return math.ceil((largest + 1) / ROW_MULTIPLE) * ROW_MULTIPLE


def _qwen3_shapes(vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a tied Qwen3."""
    width, kv_width = HEADS["num_heads"] * HEADS["head_dim"], HEADS["num_kv_heads"] * HEADS["head_dim"]
    layer: dict[str, tuple[int, ...]] = {
        "input_layernorm": (HIDDEN,),
        "post_attention_layernorm": (HIDDEN,),
        "self_attn.q_proj": (width, HIDDEN),
        "self_attn.k_proj": (kv_width, HIDDEN),
        "self_attn.v_proj": (kv_width, HIDDEN),
        "self_attn.o_proj": (HIDDEN, width),
        "self_attn.q_norm": (HEADS["head_dim"],),
        "self_attn.k_norm": (HEADS["head_dim"],),
        "mlp.gate_proj": (FFN, HIDDEN),
        "mlp.up_proj": (FFN, HIDDEN),
        "mlp.down_proj": (HIDDEN, FFN),
    }
    layers = {
        f"model.layers.{number}.{name}.weight": shape
        for number in range(NUM_LLM_LAYERS)
        for name, shape in layer.items()
    }
    return {"model.embed_tokens.weight": (vocab_size, HIDDEN), **layers, "model.norm.weight": (HIDDEN,)}
