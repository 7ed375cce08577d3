"""What an endpoint is asked about a picture, and what in its answer is the caption.

Owns the body of a request and the reading of an answer, in the form of OpenAI's chat completions, which vLLM, SGLang,
llama.cpp and most providers serve. Knows nothing of connections.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from dataclasses import asdict, dataclass
from typing import Any, Final

from neo_model.inputs.pictures import open_picture
from stages.captioning.reasons import CaptionReason
from stages.origins.clean_text import TextEncodingError, clean_text

CAPTION_PLACE: Final = "{caption}"
"""Where in a prompt the caption stands that the pair has so far."""
MAX_DECODED_PX: Final = 100_000_000
"""Largest picture that is decoded, in pixels."""


@dataclass(frozen=True)
class Asking:
    """How pictures are asked about: all that decides the answer but the picture."""

    model: str
    """Name of the model at the endpoint."""
    prompt: str
    """Words beside the picture; `{caption}` in them is the caption that the pair has so far."""
    max_new_tokens: int
    """Longest answer, in tokens."""
    temperature: float
    """Temperature of sampling; 0 takes the most likely token."""
    seed: int
    """Seed of sampling, for endpoints that take one."""
    max_side_px: int
    """Longest side of the picture that is sent, in pixels."""
    jpeg_quality: int
    """Quality of the JPEG that is sent, from 1 to 100."""

    def words(self, caption: str) -> str:
        """The prompt of a pair with this caption."""
        return self.prompt.replace(CAPTION_PLACE, caption)

    def key(self, picture_sha256: bytes, words: str) -> bytes:
        """Names an answer: a digest of the picture's, of the words and of all else that decides it."""
        named = json.dumps([picture_sha256.hex(), words, asdict(self) | {"prompt": ""}], sort_keys=True)
        return hashlib.sha256(named.encode()).digest()

    def body(self, picture: bytes, words: str) -> dict[str, Any]:
        """The request about a picture, as JSON. Raises `PictureError` where it cannot be decoded."""
        url = f"data:image/jpeg;base64,{base64.b64encode(self._jpeg(picture)).decode()}"
        content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": words}]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self.max_new_tokens,
            "temperature": self.temperature,
            "seed": self.seed,
        }

    def _jpeg(self, picture: bytes) -> bytes:
        image = open_picture(picture, max_pixels_px=MAX_DECODED_PX)
        image.thumbnail((self.max_side_px, self.max_side_px))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=self.jpeg_quality)
        return file.getvalue()


def read_answer(data: bytes, *, keep_cut: bool) -> str | CaptionReason:
    """The caption in an answer, cleaned as all text is; or why there is none."""
    try:
        choice = json.loads(data)["choices"][0]
        message, end = choice["message"], choice.get("finish_reason")
        content, is_refusal = message["content"], bool(message.get("refusal"))
    except (ValueError, LookupError, TypeError, AttributeError):
        return CaptionReason.ANSWER_UNREADABLE
    if is_refusal or end == "content_filter":
        return CaptionReason.REFUSED
    if content is not None and not isinstance(content, str):
        return CaptionReason.ANSWER_UNREADABLE
    try:
        caption = clean_text(content or "")
    except TextEncodingError:
        return CaptionReason.ANSWER_UNREADABLE
    if not caption:
        return CaptionReason.CAPTION_EMPTY
    return CaptionReason.CAPTION_CUT if end == "length" and not keep_cut else caption
