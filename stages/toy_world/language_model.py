"""A tiny plain Qwen3, trained by transformers' own class on one thread and saved in the layout of a model hub.

As in Qwen3, the embedding has spare rows behind those of the tokenizer, where a vision-language model puts its tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neo_model.inputs.conversation import END_OF_TEXT, TURN_END
from stages.contract import StageError

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3ForCausalLM

    from neo_model.inputs.conversation import EncodedDocument

IGNORED_LABEL = -100
"""The label that the loss of transformers ignores."""
ROW_MULTIPLE = 64
"""The number of embedding rows is a multiple of this."""
NUM_SPARE_ROWS = 32
"""Fewest embedding rows behind those of the tokenizer."""


@dataclass(frozen=True, kw_only=True)
class LlmSizes:
    """Sizes of a Qwen3."""

    hidden: int
    """Width of the residual stream."""
    num_layers: int
    num_heads: int
    """Query heads of a layer."""
    num_kv_heads: int
    """Key-value heads of a layer."""
    head_dim: int
    ffn: int
    """Inner width of the feed-forward network."""
    max_tokens: int
    """Longest sequence that the configuration promises, in tokens."""


@dataclass(frozen=True, kw_only=True)
class LlmSchedule:
    """The schedule of a training from scratch."""

    num_steps: int
    """Optimizer steps."""
    num_warmup_steps: int
    """Optimizer steps over which the learning rate rises linearly."""
    peak_learning_rate: float
    seed: int
    """Seed of the initial weights."""


def hub_config(sizes: LlmSizes, token_ids: dict[str, int]) -> dict[str, Any]:
    """`config.json` of a Qwen3 on a model hub, for a tokenizer with these token ids.

    The vocabulary is rounded up to a multiple of 64 with at least 32 spare rows: 538 tokens give 576 rows.
    """
    num_tokens = max(token_ids.values()) + 1
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "bos_token_id": token_ids[END_OF_TEXT],
        "eos_token_id": token_ids[TURN_END],
        "head_dim": sizes.head_dim,
        "hidden_act": "silu",
        "hidden_size": sizes.hidden,
        "initializer_range": 0.02,
        "intermediate_size": sizes.ffn,
        "max_position_embeddings": sizes.max_tokens,
        "max_window_layers": sizes.num_layers,
        "model_type": "qwen3",
        "num_attention_heads": sizes.num_heads,
        "num_hidden_layers": sizes.num_layers,
        "num_key_value_heads": sizes.num_kv_heads,
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
    config: dict[str, Any], steps: Iterable[Sequence[EncodedDocument]], schedule: LlmSchedule
) -> Qwen3ForCausalLM:
    """Train a Qwen3 from scratch, one optimizer step for each group of documents.

    The weights are bit-identical on every machine with the same torch. Raises `StageError` if the loss is not finite.
    """
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with _one_thread():
        torch.manual_seed(schedule.seed)
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
            optimizer.param_groups[0]["lr"] = _learning_rate(step, schedule)
            optimizer.step()
            optimizer.zero_grad()
    return model.eval()


def padded(documents: Sequence[EncodedDocument]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [B, L] and labels [B, L], padded on the right, which causal attention does not see."""
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
    """Write config.json, generation_config.json and model.safetensors, without a tensor for the tied output head."""
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


def _learning_rate(step: int, schedule: LlmSchedule) -> float:
    """Linear warm-up, then a cosine down to a tenth of the peak."""
    warm = min(1.0, (step + 1) / schedule.num_warmup_steps)
    # The cosine runs from 1 to -1, so the factor from 0.55 + 0.45 = 1 to 0.55 - 0.45 = 0.1.
    return schedule.peak_learning_rate * warm * (0.55 + 0.45 * math.cos(math.pi * step / schedule.num_steps))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread, so that sums are added in the same order on every machine."""
    import torch

    num_threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
        torch.set_rng_state(state)
