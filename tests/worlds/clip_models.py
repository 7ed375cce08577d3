"""A random CLIP of a size that takes no time, as a folder like those of model hubs, and heads for it."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.worlds.mixture_world import WORDS

NUM_DIMS = 24
SIDE_PX = 32
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


def write_clip(folder: Path, *, seed: int = 0, **settings: Any) -> Path:
    """A folder with config.json, model.safetensors, tokenizer.json and preprocessor_config.json."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import CLIPConfig, CLIPModel

    vocabulary = {
        word: number for number, word in enumerate(["<unk>", *WORDS, *map(str, range(60)), "shows", BEGIN, END])
    }
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(BEGIN, vocabulary[BEGIN]), (END, vocabulary[END])]
    tokenizer.post_processor = processors.TemplateProcessing(single=f"{BEGIN} $A {END}", special_tokens=ends)
    text = {
        "vocab_size": len(vocabulary), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "max_position_embeddings": 12, "bos_token_id": vocabulary[BEGIN],
        "eos_token_id": vocabulary[END], "pad_token_id": vocabulary[END],
    }  # fmt: skip
    vision = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
        "image_size": SIDE_PX, "patch_size": 8,
    }  # fmt: skip
    torch.manual_seed(seed)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=NUM_DIMS))
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    described = {"size": {"shortest_edge": SIDE_PX}, "crop_size": {"height": SIDE_PX, "width": SIDE_PX}, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(described))
    return folder


def write_head(file: Path, sizes: tuple[int, ...] = (NUM_DIMS, 8, 1), *, seed: int = 0) -> Path:
    """Linear layers of these sizes, named as in LAION's head: `layers.0.weight`, `layers.2.weight`."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(seed)
    tensors = {}
    for number, (width, height) in enumerate(pairwise(sizes)):
        tensors[f"layers.{2 * number}.weight"] = torch.randn(height, width)
        tensors[f"layers.{2 * number}.bias"] = torch.randn(height)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return file
