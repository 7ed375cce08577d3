"""NEO and NEO-ov for VLMEvalKit. Copy to `vlmeval/vlm/neo.py`; the README beside this file says what else to add."""

from __future__ import annotations

from typing import Any

import torch

from .base import BaseModel


class NEO(BaseModel):
    """A released NEO folder, or one that `neo export` wrote, asked through the code that it brings."""

    INSTALL_REQ = False
    INTERLEAVE = True
    allowed_types = ("text", "image")

    def __init__(
        self, model_path: str, *, dtype: str = "bfloat16", device: str | None = None, system_message: str | None = None,
        **generation: Any,
    ) -> None:  # fmt: skip
        """Load the folder or hub repository. `generation` goes to `generate` of transformers: greedy by default."""
        from transformers import AutoModel, AutoProcessor, AutoTokenizer

        super().__init__()
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.tokenizer = AutoTokenizer.from_pretrained(model_path, trust_remote_code=True)
        self.processor = AutoProcessor.from_pretrained(model_path, trust_remote_code=True)
        model = AutoModel.from_pretrained(model_path, trust_remote_code=True, dtype=getattr(torch, dtype))
        self.model = model.to(device).eval()
        if system_message is not None:
            self.model.system_message = system_message
        self.generation = {"max_new_tokens": 1024, "do_sample": False, **generation}

    def generate_inner(self, message: list[dict[str, str]], dataset: str | None = None) -> str:  # noqa: ARG002
        """The answer to one message: its pictures, in their order, then its text."""
        paths = [part["value"] for part in message if part["type"] == "image"]
        text = "\n".join(part["value"] for part in message if part["type"] == "text")
        patches, grids = self.processor.patches(paths)
        device = self.model.device
        return self.model.chat(
            self.tokenizer,
            pixel_values=None if patches is None else patches.to(device, self.model.dtype),
            grid_hw=None if grids is None else grids.to(device),
            question=_places(len(paths)) + text.replace("<image>", "image"),
            generation_config=self.generation,
        )


def _places(num_pictures: int) -> str:
    """Where the pictures stand: one before the text; several on lines with numbers, as the authors ask."""
    if num_pictures == 1:
        return "<image>\n"
    return "".join(f"Image-{number}: <image>\n" for number in range(1, num_pictures + 1))
