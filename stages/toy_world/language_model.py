"""A tiny plain Qwen3: trained by transformers' own class on one thread, saved as a model hub serves one.

The embedding has spare rows behind the tokenizer's, as Qwen3's has, where a vision-language model puts its tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stages.contract import StageError

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ForCausalLM

    from neo_model.inputs.conversation import EncodedDocument
    from stages.toy_world.train_toy_llm import ToyLlmRecipe

IGNORED_LABEL = -100
"""The target that transformers does not ask about."""
ROW_MULTIPLE = 64
NUM_SPARE_ROWS = 32
END_OF_TEXT = "<|endoftext|>"
TURN_END = "<|im_end|>"


def hub_config(recipe: ToyLlmRecipe, token_ids: dict[str, int]) -> dict[str, Any]:
    """`config.json` as Qwen3's on a hub, for a tokenizer that knows `token_ids`."""
    num_tokens = max(token_ids.values()) + 1
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": token_ids[END_OF_TEXT],
        "eos_token_id": token_ids[TURN_END],
        "head_dim": recipe.head_dim,
        "hidden_act": "silu",
        "hidden_size": recipe.hidden,
        "initializer_range": 0.02,
        "intermediate_size": recipe.ffn,
        "max_position_embeddings": recipe.max_tokens,
        "max_window_layers": recipe.num_layers,
        "model_type": "qwen3",
        "num_attention_heads": recipe.num_heads,
        "num_hidden_layers": recipe.num_layers,
        "num_key_value_heads": recipe.num_kv_heads,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1_000_000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": math.ceil((num_tokens + NUM_SPARE_ROWS) / ROW_MULTIPLE) * ROW_MULTIPLE,
    }


def train_language_model(
    config: dict[str, Any], steps: Iterable[Sequence[EncodedDocument]], recipe: ToyLlmRecipe
) -> Qwen3ForCausalLM:
    """A Qwen3 from scratch, one optimizer step for each group of documents. Bit-equal wherever torch is the same.

    Raises `StageError` if the loss stops being finite.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with _one_thread():
        torch.manual_seed(recipe.seed)
        model = Qwen3ForCausalLM(Qwen3Config(**config)).train()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.01)
        for step, documents in enumerate(steps):
            token_ids, labels = padded(documents)
            loss = model(input_ids=token_ids, labels=labels, use_cache=False).loss
            if not torch.isfinite(loss):
                raise StageError(
                    f"the toy language model's loss is {loss.item()} at step {step}; lower peak_learning_rate"
                )
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = _learning_rate(step, recipe)
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def padded(documents: Sequence[EncodedDocument]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, L] and labels [B, L], filled up on the right, where causal attention does not look."""
    import torch

    length = max(len(document.token_ids) for document in documents)
    token_ids = torch.zeros(len(documents), length, dtype=torch.int64)
    labels = torch.full((len(documents), length), IGNORED_LABEL)
    for row, document in enumerate(documents):
        ids = torch.tensor(document.token_ids)
        token_ids[row, : len(ids)] = ids
        labels[row, : len(ids)] = ids.where(torch.tensor(document.supervised), torch.tensor(IGNORED_LABEL))
    return token_ids, labels


def save_language_model(model: Qwen3ForCausalLM, config: dict[str, Any], folder: Path) -> None:
    """Write config.json, generation_config.json and model.safetensors; the tied head has no tensor of its own."""
    from safetensors.torch import save_file

    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    generation = {
        "bos_token_id": config["bos_token_id"],
        "do_sample": False,
        "eos_token_id": [config["eos_token_id"], config["bos_token_id"]],
        "pad_token_id": config["bos_token_id"],
    }
    for name, content in (("config.json", config), ("generation_config.json", generation)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _learning_rate(step: int, recipe: ToyLlmRecipe) -> float:
    """Linear warm-up, then a cosine down to a tenth."""
    warm = min(1.0, (step + 1) / recipe.num_warmup_steps)
    return recipe.peak_learning_rate * warm * (0.55 + 0.45 * math.cos(math.pi * step / recipe.num_steps))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums come out the same whatever the machine."""
    import torch

    num_threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        torch.set_rng_state(state)
