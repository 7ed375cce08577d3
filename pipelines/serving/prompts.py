"""From a request to a prompt: its pictures opened and cut into patches, its length held to the limit.

Owns what a picture of a request may be: a `data:` URI with base64. An address is refused: a server that opens what a
client names would read its own network for it. Sizes are read from headers and the length is known before a pixel is
decoded. Runs in a thread, not on the event loop; nothing here keeps memory beyond one request.

n pictures share pixels as in training: each has at most max(2 * max / n, min).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.serving.chat_request import MAX_ANSWERS, ChatRequest
from pipelines.serving.errors import ProtocolError, refused
from pipelines.serving.messages import RequestedPicture
from stages.formats.fit_sample import Limits

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from neo_model.config import NeoConfig
    from neo_model.generate import Prompt

MAX_PICTURE_PX: Final = 50_000_000
"""Largest picture that is decoded, in pixels: some 20 bytes each, so 1 GB."""
LOW_DETAIL_PX: Final = 512 * 512
"""Largest picture of low detail after resizing, in pixels."""
MAX_TOKEN_CHARS: Final = 128
"""Characters that a token may stand for: text with more of them than tokens are allowed is not tokenised at all."""


@dataclass(frozen=True, kw_only=True)
class RequestLimits:
    """How large a request may be."""

    max_tokens: int
    """Longest prompt and answer together, in tokens, those of pictures included."""
    max_new_tokens: int
    """Longest answer, in tokens."""
    max_pictures: int
    """Most pictures of a conversation."""
    max_body_bytes: int
    """Largest body, in bytes."""
    max_cache_tokens: int
    """Tokens that the cache holds for all answers together: `n` answers to a request must fit."""
    max_answers: int = MAX_ANSWERS
    """Most answers to one request: no more than are made side by side."""


@dataclass(frozen=True, kw_only=True)
class PreparedRequest:
    """A request that can be answered."""

    prompt: Prompt
    max_new_tokens: int


def prepare(request: ChatRequest, tokenizer: Tokenizer, config: NeoConfig, limits: RequestLimits) -> PreparedRequest:
    """Raises ProtocolError for a request that is too long, or a picture that is none."""
    from neo_model.generate import Prompt
    from neo_model.inputs.conversation import encode_prompt
    from neo_model.inputs.pictures import PictureError, num_image_tokens, open_pixels, picture_facts, to_uint8_patches

    asked = [picture for message in request.messages for picture in message.pictures]
    if len(asked) > limits.max_pictures:
        raise refused(f"{len(asked)} pictures: at most {limits.max_pictures} of one conversation", "messages")
    num_chars = sum(len(message.content) for message in request.messages)
    if num_chars > limits.max_tokens * MAX_TOKEN_CHARS:
        raise _too_long(f"{num_chars:,} characters", limits)
    ranges = _pixel_ranges(asked, config)
    files = [_file_of(picture) for picture in asked]
    counts, images = [], []
    for picture, data, pixels in zip(asked, files, ranges, strict=True):
        try:
            facts = picture_facts(data)
            counts.append(num_image_tokens(facts.width_px, facts.height_px, *pixels))
        except PictureError as error:
            raise _unreadable(picture, error) from error
    token_ids = encode_prompt(tokenizer, [message.rendered() for message in request.messages], counts).token_ids
    max_new_tokens = _answer_length(request, len(token_ids), limits)
    for picture, data, pixels in zip(asked, files, ranges, strict=True):
        try:
            images.append(to_uint8_patches(open_pixels(data, max_pixels_px=MAX_PICTURE_PX, colour="srgb"), *pixels))
        except PictureError as error:
            raise _unreadable(picture, error) from error
    patches, grids = [patches for patches, _ in images], [grid for _, grid in images]
    return PreparedRequest(
        prompt=Prompt(token_ids=token_ids, patches=patches, grids=grids), max_new_tokens=max_new_tokens
    )


def _pixel_ranges(asked: Sequence[RequestedPicture], config: NeoConfig) -> list[tuple[int, int]]:
    """Smallest and largest size of each picture, in pixels."""
    limits = Limits(
        max_tokens=0,
        min_pixels_px=config.min_pixels_px,
        max_pixels_px=config.max_pixels_px,
        pictures_share_pixels=True,
    )
    least, most = limits.of_pictures(len(asked))
    return [(least, max(least, min(most, LOW_DETAIL_PX)) if picture.is_low else most) for picture in asked]


def _file_of(picture: RequestedPicture) -> bytes:
    """The bytes of a `data:` URI."""
    scheme, _, rest = picture.url.partition(":")
    if scheme.lower() != "data":
        raise refused(
            f"{picture.url[:60]!r} is no data: URI: this server opens no addresses; send the picture itself, as "
            "data:image/jpeg;base64,...",
            picture.param,
            "invalid_image_url",
        )
    described, _, encoded = rest.partition(",")
    if not described.lower().endswith(";base64"):
        raise refused(
            f"data:{described[:60]} is not in base64: send data:image/jpeg;base64,...",
            picture.param,
            "invalid_image_url",
        )
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refused(f"the picture is no base64: {error}", picture.param, "invalid_base64_image") from error


def _answer_length(request: ChatRequest, num_tokens: int, limits: RequestLimits) -> int:
    room = limits.max_tokens - num_tokens
    wanted = request.max_new_tokens
    if wanted is not None and wanted > limits.max_new_tokens:
        raise refused(f"max_tokens {wanted:,}: an answer has at most {limits.max_new_tokens:,}", "max_tokens")
    if room < (wanted or 1):
        answer = f" and {wanted:,} of the answer" if wanted else ""
        raise _too_long(f"{num_tokens:,} tokens of the messages{answer}", limits)
    longest = wanted or min(limits.max_new_tokens, room)
    needed = request.num_answers * (num_tokens + longest)
    if needed > limits.max_cache_tokens:
        raise refused(
            f"n {request.num_answers}: so many answers of up to {longest:,} tokens after {num_tokens:,} need "
            f"a cache of {needed:,} tokens, this one has {limits.max_cache_tokens:,}: lower n or max_tokens",
            "n",
        )
    return longest


def _too_long(what: str, limits: RequestLimits) -> ProtocolError:
    return refused(
        f"{what}: at most {limits.max_tokens:,} tokens in all. Send fewer or smaller pictures, or fewer messages",
        "messages",
        "context_length_exceeded",
    )


def _unreadable(picture: RequestedPicture, error: Exception) -> ProtocolError:
    return refused(f"the picture cannot be read: {error}", picture.param, "image_parse_error")
