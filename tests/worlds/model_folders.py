"""Model folders as people have them: a Qwen3 or a NEO in every published form, of a size that takes no time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from neo_model.config import NeoConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from torch import Tensor

Head = Literal["absent", "equal", "different"]
"""The output head of a folder: not stored, stored as a copy of the table, stored with other values."""
Form = Literal["train_kit", "hub", "internvl"]
"""Which kit wrote `config.json` of a NEO folder."""

README = """---
license: apache-2.0
language:
- en
---
# A model
"""
CHAT_TEMPLATE = "{% for message in messages %}{{ message.content }}{% endfor %}"
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
VOCAB_SIZE = 320


def qwen3_json(**changes: Any) -> dict[str, Any]:
    """`config.json` of a small Qwen3, as transformers 4 writes it; None among the changes leaves a field out."""
    config = {
        "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "hidden_size": 32, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "intermediate_size": 48, "vocab_size": VOCAB_SIZE,
        "num_hidden_layers": 2, "tie_word_embeddings": True, "rope_theta": 1e6, "rope_scaling": None,
        "attention_bias": False, "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 4096,
        "sliding_window": None, "use_sliding_window": False, "torch_dtype": "bfloat16",
    }  # fmt: skip
    return {name: value for name, value in (config | changes).items() if value is not None or name not in changes}


def of_transformers_5(config: Mapping[str, Any]) -> dict[str, Any]:
    """The same configuration as transformers 5 writes it."""
    renamed = {k: v for k, v in config.items() if k not in ("rope_theta", "rope_scaling", "torch_dtype")}
    layers = ["full_attention"] * config["num_hidden_layers"]
    rope = {"rope_theta": config["rope_theta"], "rope_type": "default"}
    return renamed | {"rope_parameters": rope, "layer_types": layers, "dtype": "bfloat16"}


def write_qwen3(
    folder: Path,
    *,
    config: Mapping[str, Any] | None = None,
    head: Head = "absent",
    dtype: str = "bfloat16",
    num_shards: int = 1,
    seed: int = 0,
) -> dict[str, Tensor]:
    """Write a folder as a hub serves it; returns its tensors."""
    from neo_model.weights.qwen3 import qwen3_shapes

    config = dict(config or qwen3_json())
    wanted = NeoConfig.from_qwen3(
        qwen3_json(vocab_size=config["vocab_size"], tie_word_embeddings=True),
        num_prebuffer_layers=0, image_start_id=1, image_context_id=2, image_end_id=3,
    )  # fmt: skip
    tensors = with_head(random_tensors(qwen3_shapes(wanted), dtype, seed), EMBEDDING, HEAD, head)
    write_settings(folder, config)
    write_weights(folder, tensors, num_shards)
    return tensors


def neo_config(*, tied: bool = True, **changes: Any) -> NeoConfig:
    """A small NEO on the small Qwen3, whose image tokens are those of `write_tokenizer`."""
    fields: dict[str, Any] = {
        "hidden": 32, "num_heads": 4, "num_kv_heads": 2, "head_dim": 16, "ffn": 48, "vocab_size": VOCAB_SIZE,
        "num_prebuffer_layers": 1, "num_layers": 3, "image_context_id": 290, "image_start_id": 291,
        "image_end_id": 292, "patch_hidden": 24, "tied": tied, "min_pixels_px": 1024,
    }  # fmt: skip
    return NeoConfig(**(fields | changes))


def neo_json(config: NeoConfig, form: Form) -> dict[str, Any]:
    """`config.json` of a NEO folder in one of the published forms."""
    written = config.to_released()
    if form == "train_kit":
        return written
    for name in ("img_context_token_id", "img_start_token_id", "img_end_token_id"):
        del written[name]
    del written["llm_config"]["extra_num_layers"]
    written["vision_config"] |= {"llm_hidden_size": [config.hidden], "downsample_ratio": [0.5]}
    written |= {"auto_map": {"AutoModel": "modeling_neo_chat.NEOChatModel"}, "template": "neo1_0"}
    if form == "internvl":
        written |= {"model_type": "internvl_chat", "architectures": ["InternVLChatModel"]}
        written["auto_map"] = {"AutoConfig": "configuration_internvl_chat.InternVLChatConfig"}
    return written


def write_neo(
    folder: Path,
    *,
    config: NeoConfig | None = None,
    form: Form = "train_kit",
    head: Head = "absent",
    changes: Mapping[str, Any] | None = None,
    dtype: str = "bfloat16",
    num_shards: int = 1,
) -> dict[str, Tensor]:
    """Write a NEO folder in a published form; returns its tensors. An untied one has a head that differs."""
    from neo_model.weights.partition import parameter_shapes
    from neo_model.weights.released import EMBEDDING as NEO_EMBEDDING
    from neo_model.weights.released import HEAD as NEO_HEAD

    config = config or neo_config()
    tensors = random_tensors(parameter_shapes(config), dtype)
    if config.tied:
        tensors = with_head(tensors, NEO_EMBEDDING, NEO_HEAD, head)
    write_settings(folder, neo_json(config, form) | dict(changes or {}))
    (folder / "modeling_neo_chat.py").write_text("raise SystemExit('code of a model folder was run')\n")
    write_weights(folder, tensors, num_shards)
    return tensors


def write_look_alike(folder: Path) -> None:
    """A SenseNova-U1 in small: NEO's label, heads split inside, one norm for height and width."""
    config = neo_config()
    from neo_model.weights.partition import parameter_shapes

    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in parameter_shapes(config).items():
        if name.endswith(("q_norm.weight", "k_norm.weight")):
            shapes[name] = (config.head_dim // 2,)
            shapes[name.replace("_norm.", "_norm_hw.")] = (config.head_dim // 2,)
        elif not name.endswith(("_h.weight", "_w.weight", "_hw.weight")):
            shapes[name] = shape
    write_settings(folder, neo_json(config, "hub"))
    write_weights(folder, random_tensors(shapes, "bfloat16"), 1)


def random_tensors(shapes: Mapping[str, tuple[int, ...]], dtype: str, seed: int = 0) -> dict[str, Tensor]:
    """Tensors of these shapes, the same for the same seed."""
    import torch

    chance = torch.Generator().manual_seed(seed)
    return {
        name: (0.1 * torch.randn(shape, generator=chance) + (len(shape) == 1)).to(getattr(torch, dtype))
        for name, shape in shapes.items()
    }


def with_head(tensors: dict[str, Tensor], table: str, name: str, head: Head) -> dict[str, Tensor]:
    """The tensors with an output head beside the embedding table."""
    if head == "absent":
        return tensors
    return tensors | {name: tensors[table].clone() if head == "equal" else tensors[table] + 1}


def write_settings(folder: Path, config: Mapping[str, Any]) -> None:
    """Everything of a folder but its weights: settings, tokenizer, licence, chat template."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "generation_config.json").write_text('{"eos_token_id": 3, "temperature": 0.6}')
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "Qwen2Tokenizer"}))
    (folder / "README.md").write_text(README)
    (folder / "LICENSE").write_text("Apache License, Version 2.0\n")
    tokenizer().save(str(folder / "tokenizer.json"))


def write_weights(folder: Path, tensors: Mapping[str, Tensor], num_shards: int) -> None:
    """`model.safetensors`, or shards of about equal numbers of tensors with their index."""
    from safetensors.torch import save_file

    if num_shards == 1:
        save_file(dict(tensors), folder / "model.safetensors", {"format": "pt"})
        return
    names = list(tensors)
    weight_map: dict[str, str] = {}
    for number in range(num_shards):
        file = f"model-{number + 1:05d}-of-{num_shards:05d}.safetensors"
        chosen = names[number * len(names) // num_shards : (number + 1) * len(names) // num_shards]
        save_file({name: tensors[name] for name in chosen}, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(chosen, file)
    index = {"metadata": {"total_size": sum(one.nbytes for one in tensors.values())}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def tokenizer(num_pieces: int = 290) -> Tokenizer:
    """A byte-level tokenizer with `num_pieces` pieces, then NEO's special tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    from neo_model.inputs.conversation import add_special_tokens

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=num_pieces,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=["<|endoftext|>"],
        show_progress=False,
    )
    made.train_from_iterator(
        ["a red square on the green disc of the left"] * 20 + ["one two three blue right"] * 20, trainer
    )
    add_special_tokens(made)
    return made
