"""A CLIP that says how well pictures fit their captions, and how much people like them.

Owns loading and computing. Similarity is the cosine between the embeddings of picture and caption, from -1 to 1. The
aesthetic score is a stack of linear layers on the embedding of the picture at length 1, as LAION trained it for the
marks that people gave, from 1 to 10; it must have been trained for this very CLIP.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stages.contract import StageError
from stages.pair_scores.clip_input import ClipInput

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer
    from torch import Tensor

MODEL_TYPE: Final = "clip"
_LAYER: Final = re.compile(r"(?:.*?(\d+)\.)?(weight|bias)")


@dataclass(frozen=True)
class LinearStack:
    """Linear layers one after the other, [in, out] each, on embeddings."""

    layers: tuple[tuple[Tensor, Tensor | None], ...]
    """Weight [out, in] and bias [out] of each layer."""

    def __call__(self, embeddings: Tensor) -> Tensor:
        """[n, in] to [n]."""
        from torch.nn.functional import linear

        for weight, bias in self.layers:
            embeddings = linear(embeddings, weight, bias)
        return embeddings[:, 0]


@dataclass(frozen=True)
class ClipScorer:
    """A loaded CLIP, with an aesthetic head or none."""

    model: Any
    """The network, of transformers."""
    tokenizer: Tokenizer
    """Cuts captions at the length that the network takes, and fills them up to one length."""
    input: ClipInput
    """How pictures are prepared."""
    head: LinearStack | None
    """Aesthetic head; None gives no aesthetic scores."""

    def scores(
        self, pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str]
    ) -> tuple[list[float], list[float] | None]:
        """Similarity and aesthetic score of n pictures [h, w, 3] with n captions, n at least 1."""
        import numpy as np
        import torch

        device = self.model.device
        pixels = torch.from_numpy(np.stack([self.input.prepare(picture) for picture in pictures])).to(device)
        encoded = self.tokenizer.encode_batch(list(captions))
        ids = torch.tensor([one.ids for one in encoded], device=device)
        mask = torch.tensor([one.attention_mask for one in encoded], device=device)
        with torch.inference_mode():
            seen = _unit(self.model.get_image_features(pixel_values=pixels))
            said = _unit(self.model.get_text_features(input_ids=ids, attention_mask=mask))
            similarity = (seen * said).sum(-1)
            liked = None if self.head is None else self.head(seen).tolist()
        return similarity.tolist(), liked


def _unit(features: Any) -> Tensor:
    """Embeddings at length 1; transformers 5 gives them inside an output, transformers 4 alone."""
    import torch

    given: Tensor = features if isinstance(features, torch.Tensor) else features.pooler_output
    embeddings = given.float()
    return torch.nn.functional.normalize(embeddings, dim=-1)


def check_clip(config: dict[str, Any], names: Sequence[str], source: str) -> None:
    """Raise `StageError` where a folder with this `config.json` and these files is no CLIP that can be loaded."""
    if config.get("model_type") != MODEL_TYPE:
        raise StageError(
            f"source {source!r} is a model of type {config.get('model_type')!r}; scores are made by a CLIP"
        )
    if "tokenizer.json" not in names:
        raise StageError(f"source {source!r} has no tokenizer.json; take a CLIP that was saved with a fast tokenizer")
    if not any(name.endswith(".safetensors") for name in names):
        raise StageError(f"source {source!r} has no *.safetensors; weights in pickles are never opened")


def load_clip(folder: Path, head: Path | None) -> ClipScorer:
    """Load a CLIP, and a head for it, onto the GPU if there is one. Raises `StageError`."""
    import torch
    from transformers import CLIPModel

    from neo_model.inputs.tokenizer_file import TokenizerError, read_tokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = CLIPModel.from_pretrained(folder, use_safetensors=True, local_files_only=True, dtype=torch.float32)
    model = loaded.eval().requires_grad_(False).to(device)
    try:
        tokenizer = read_tokenizer(folder / "tokenizer.json")
    except TokenizerError as error:
        raise StageError(f"the CLIP in {folder} cannot read text: {error}") from error
    tokenizer.enable_truncation(model.config.text_config.max_position_embeddings)
    end = model.config.text_config.eos_token_id
    # The padding is the last token again, as CLIP has it: the network looks at the first one.
    pad = tokenizer.encode("").ids[-1] if end in (None, 2) else end
    tokenizer.enable_padding(pad_id=pad, pad_token=tokenizer.id_to_token(pad))
    settings = folder / "preprocessor_config.json"
    described = json.loads(settings.read_text()) if settings.is_file() else {}
    stack = None if head is None else load_head(head, model.config.projection_dim, device)
    return ClipScorer(model, tokenizer, ClipInput.of(described, model.config.vision_config.image_size), stack)


def load_head(file: Path, num_dims: int, device: str) -> LinearStack:
    """The linear layers in a safetensors file, in the order of their numbers. Raises `StageError`."""
    from safetensors.torch import load_file

    layers: dict[int, dict[str, Tensor]] = {}
    for name, tensor in load_file(file, device=device).items():
        found = _LAYER.fullmatch(name)
        if found is None:
            raise StageError(f"{file.name} has a tensor {name!r}; a head has weights and biases of linear layers")
        layers.setdefault(int(found[1] or 0), {})[found[2]] = tensor.float()
    stack, width = [], num_dims
    for number in sorted(layers):
        weight = layers[number].get("weight")
        weight = weight[None] if weight is not None and weight.ndim == 1 and len(layers) == 1 else weight
        if weight is None or weight.ndim != 2 or weight.shape[1] != width:
            shape = None if weight is None else tuple(weight.shape)
            raise StageError(f"layer {number} of {file.name} has a weight of shape {shape}; it gets {width} numbers")
        stack.append((weight, layers[number].get("bias")))
        width = int(weight.shape[0])
    if width != 1:
        raise StageError(f"the last layer of {file.name} gives {width} numbers; an aesthetic head gives one")
    return LinearStack(tuple(stack))
