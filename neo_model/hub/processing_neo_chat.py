"""Pictures and conversations to what a NEO model of transformers reads.

Owns `NEOChatProcessor`. Pictures are decoded, turned upright, converted and cut as in training; conversations are
encoded as in training, so that text that spells a special token stays text. Works with transformers 4.57 and 5. In an
exported folder this file stands beside the weights, with the modules that it imports.

N patches of 768 values, M images, B sequences, S slots of each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from transformers import BatchFeature, ProcessorMixin

from neo_model.hub.sequences import tokens_of
from neo_model.inputs.colours import to_rgb
from neo_model.inputs.conversation import (
    IMAGE_CONTEXT,
    IMAGE_END,
    IMAGE_PLACEHOLDER,
    IMAGE_START,
    TURN_END,
    TURN_START,
    encode_conversation,
    encode_prompt,
    special_ids,
)
from neo_model.inputs.pictures import open_pixels, to_patches

MAX_PIXELS_PX = 64_000_000
"""Largest picture that is decoded, in pixels."""


class NEOChatProcessor(ProcessorMixin):  # type: ignore[misc]
    """Makes `input_ids`, `attention_mask`, `pixel_values` [N, 768] and `grid_hw` [M, 2] of conversations or prompts."""

    attributes = ["tokenizer"]  # noqa: RUF012 # transformers' own form
    tokenizer_class = "AutoTokenizer"

    def __init__(
        self,
        tokenizer: Any = None,
        min_pixels: int = 65_536,
        max_pixels: int = 4_194_304,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        """Pictures are resized to a number of pixels from `min_pixels` to `max_pixels`, in multiples of 32 a side."""
        self.min_pixels = min_pixels
        self.max_pixels = max_pixels
        super().__init__(tokenizer, chat_template=chat_template)

    @property
    def model_input_names(self) -> list[str]:
        """What it makes for a model."""
        return ["input_ids", "attention_mask", "pixel_values", "grid_hw"]

    def patches(self, images: Sequence[Any]) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Patches [N, 768], normalised, and grids [M, 2] of pictures: paths, bytes, Pillow images, arrays [H, W, 3].

        Raises PictureError naming what is wrong with a file; None and None where there are no pictures.
        """
        cut = [to_patches(_pixels(image), self.min_pixels, self.max_pixels) for image in images]
        if not cut:
            return None, None
        grids = torch.tensor([grid for _, grid in cut])
        return torch.from_numpy(np.concatenate([patches for patches, _ in cut])), grids

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        return_tensors: str | None = "pt",
        **_: Any,
    ) -> BatchFeature:
        """Prompts as `apply_chat_template(..., tokenize=False)` writes them, special tokens included, and pictures.

        Each `<img><IMG_CONTEXT></img>` or `<image>` of the texts stands for the next picture. Raises ValueError where
        their numbers differ.
        """
        texts = [text] if isinstance(text, str) else [*(text or [])]
        flat = _flat(images)
        pixel_values, grids = self.patches(flat)
        counts = iter(tokens_of(grids))
        one = f"{IMAGE_START}{IMAGE_CONTEXT}{IMAGE_END}"
        pieces = [written.replace(IMAGE_PLACEHOLDER, one).split(one) for written in texts]
        num_places = sum(len(piece) - 1 for piece in pieces)
        if texts and num_places != len(flat):
            raise ValueError(f"{len(flat)} images are given for {num_places} places in the text")
        written = ["".join(_filled(piece, counts)) for piece in pieces]
        ids = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in written]
        return self._feature(ids, pixel_values, grids, return_tensors)

    def apply_chat_template(
        self,
        conversation: Sequence[Any],
        chat_template: str | None = None,
        *,
        add_generation_prompt: bool = False,
        tokenize: bool = False,
        return_dict: bool = False,
        return_tensors: str | None = "pt",
        **_: Any,
    ) -> Any:
        """A conversation, or several, as model inputs (`tokenize=True, return_dict=True`), ids, or text.

        The content of a message is text, or a list of `{"type": "text", "text": ...}` and `{"type": "image", "image":
        ...}` (or `url`, `path`: a local file). As model inputs it is encoded as in training. Text alone is a prompt for
        `__call__`.
        """
        if chat_template is not None:
            raise ValueError("NEO has one way to write a conversation; chat_template is not taken")
        several = bool(conversation) and not isinstance(conversation[0], Mapping)
        read = [_messages(one) for one in (conversation if several else [conversation])]
        if not tokenize:
            texts = [_written(messages, add_generation_prompt) for messages, _ in read]
            return texts if several else texts[0]
        pixel_values, grids = self.patches([image for _, images in read for image in images])
        counts = tokens_of(grids)
        encode, first, ids = encode_prompt if add_generation_prompt else encode_conversation, 0, []
        for messages, images in read:
            taken = counts[first : first + len(images)]
            ids.append(encode(self.tokenizer.backend_tokenizer, messages, taken).token_ids)
            first += len(images)
        feature = self._feature(ids, pixel_values, grids, return_tensors)
        return feature if return_dict else feature["input_ids"]

    def _feature(
        self,
        ids: Sequence[Sequence[int]],
        pixel_values: torch.Tensor | None,
        grids: torch.Tensor | None,
        return_tensors: str | None,
    ) -> BatchFeature:
        """Sequences padded on the left, as generation needs them."""
        pad_id, length = special_ids(self.tokenizer.backend_tokenizer).end_of_text, max(map(len, ids), default=0)
        padded = [[pad_id] * (length - len(one)) + [*one] for one in ids]
        masks = [[0] * (length - len(one)) + [1] * len(one) for one in ids]
        data: dict[str, Any] = {"input_ids": padded, "attention_mask": masks}
        if pixel_values is not None:
            data |= {"pixel_values": pixel_values, "grid_hw": grids}
        return BatchFeature(data, tensor_type=return_tensors)


def _pixels(image: Any) -> np.ndarray[Any, Any]:
    """8-bit RGB [H, W, 3], upright."""
    if isinstance(image, str | Path):
        path = Path(str(image).removeprefix("file://"))
        if not path.is_file():
            raise ValueError(
                f"{image} is no file here; pictures are given as local files, bytes, Pillow images or arrays"
            )
        image = path.read_bytes()
    if isinstance(image, bytes):
        return open_pixels(image, max_pixels_px=MAX_PIXELS_PX, colour="srgb")
    if isinstance(image, torch.Tensor):
        image = image.cpu().numpy()
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    upright = ImageOps.exif_transpose(image)
    return np.asarray(to_rgb(upright, upright.info.get("icc_profile")))


def _flat(images: Any) -> list[Any]:
    """One picture, a list, or a list of lists for several prompts."""
    if images is None:
        return []
    if not isinstance(images, list | tuple):
        return [images]
    return [one for some in images for one in _flat(some)]


def _filled(pieces: Sequence[str], counts: Any) -> list[str]:
    """The pieces of a prompt with the next pictures between them, each with its number of tokens."""
    filled = [pieces[0]]
    for piece in pieces[1:]:
        filled += [IMAGE_START, IMAGE_CONTEXT * next(counts), IMAGE_END, piece]
    return filled


def _messages(conversation: Sequence[Mapping[str, Any]]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Messages whose content is text, each with the `<image>` that are pictures, and the pictures."""
    messages, images = [], []
    for message in conversation:
        content, tags, text = message["content"], [], ""
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "image":
                tags.append(text.count(IMAGE_PLACEHOLDER))
                text += IMAGE_PLACEHOLDER
                images.append(next(part[key] for key in ("image", "path", "url") if key in part))
            elif part["type"] == "text":
                text += part["text"]
            else:
                raise ValueError(f"a part of type {part['type']!r}: NEO reads text and image")
        messages.append({"role": message["role"], "content": text, "image_tags": tags})
    return messages, images


def _written(messages: Sequence[Mapping[str, Any]], add_generation_prompt: bool) -> str:
    """ChatML, with `<img><IMG_CONTEXT></img>` for each picture."""
    written = ""
    for message in messages:
        content, first = "", message["content"].split(IMAGE_PLACEHOLDER)
        for number, piece in enumerate(first):
            is_picture = number - 1 in message["image_tags"]
            between = f"{IMAGE_START}{IMAGE_CONTEXT}{IMAGE_END}" if is_picture else IMAGE_PLACEHOLDER
            content += piece if not number else between + piece
        written += f"{TURN_START}{message['role']}\n{content}{TURN_END}\n"
    return written + (f"{TURN_START}assistant\n" if add_generation_prompt else "")
