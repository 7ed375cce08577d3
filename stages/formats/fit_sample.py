"""Fits one sample to a length: decides how large its pictures are, whether its text is cut, and whether it is packed.

Owns the rule by which a sample that is too long gets smaller pictures, and the closed list of reasons why a drawn
sample is not packed. Picture sizes come from the sample table: no picture is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from neo_model.config import PATCH_PX, TOKEN_PX
from neo_model.inputs.conversation import ConversationError, EncodedDocument
from neo_model.inputs.pictures import PictureError, fit_size
from stages.formats.sample_table import ItemReason
from stages.formats.samples import PlainText, Sample

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PATCHES_PER_TOKEN = (TOKEN_PX // PATCH_PX) ** 2
"""Patches of 16 px that one visual token of 32 px covers: 4."""


class UnfitReason(ItemReason):
    """Why a drawn sample is not packed: a closed list."""

    TOO_LONG = "too_long"
    """Longer than allowed, even with its pictures as small as allowed."""
    TOO_ELONGATED = "too_elongated"
    """One side of a picture is more than 200 times the other."""
    MALFORMED = "malformed"
    """It cannot be rendered: it has more or fewer placeholders than pictures, or a role is unknown."""
    NOTHING_SUPERVISED = "nothing_supervised"
    """It has no supervised token."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a document may be and how large its pictures."""

    max_tokens: int
    """Longest document, in tokens."""
    min_pixels_px: int
    """Smallest picture after resizing, in pixels."""
    max_pixels_px: int
    """Largest picture after resizing, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A sample as documents that fit: one, or the pieces of a long text."""

    documents: tuple[EncodedDocument, ...]
    """The sample itself, or the pieces of a text that was cut."""
    grids: tuple[tuple[int, int], ...]
    """(height, width) of each picture in patches of 16 px; a sample with pictures is one document."""
    max_pixels_px: int
    """Largest picture that was allowed: the limit, or less where the sample was too long with it."""
    num_tokens_wanted: int
    """Length of the sample with pictures as large as the limit allows, in tokens; more than `documents` hold where
    pictures were made smaller."""


class UnfitError(ValueError):
    """A sample cannot be packed."""

    def __init__(self, reason: UnfitReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def fit(sample: Sample, tokenizer: Tokenizer, limits: Limits) -> Fitted:
    """Tokenise a sample within its limits. Raises `UnfitError` where that is impossible.

    A sample with pictures that is too long has all of them measured again under the largest smaller limit of pixels
    with which it fits. Plain text that is too long is cut into pieces of equal length.
    """
    try:
        grids = _grids(sample, limits.min_pixels_px, limits.max_pixels_px)
        document = sample.encode(tokenizer, _token_counts(grids))
        max_pixels_px, num_tokens_wanted = limits.max_pixels_px, len(document.token_ids)
        if len(document.token_ids) > limits.max_tokens and grids:
            num_text_tokens = len(document.token_ids) - sum(_token_counts(grids))
            max_pixels_px = _smaller_limit(sample, limits, limits.max_tokens - num_text_tokens)
            grids = _grids(sample, limits.min_pixels_px, max_pixels_px)
            document = sample.encode(tokenizer, _token_counts(grids))
    except PictureError as error:
        raise UnfitError(UnfitReason.TOO_ELONGATED) from error
    except ConversationError as error:
        raise UnfitError(UnfitReason.MALFORMED) from error
    documents = _pieces(document, limits.max_tokens) if isinstance(sample, PlainText) else (document,)
    if any(len(piece.token_ids) > limits.max_tokens for piece in documents):
        raise UnfitError(UnfitReason.TOO_LONG)
    if not any(any(piece.supervised) for piece in documents):
        raise UnfitError(UnfitReason.NOTHING_SUPERVISED)
    return Fitted(documents=documents, grids=grids, max_pixels_px=max_pixels_px, num_tokens_wanted=num_tokens_wanted)


def _grids(sample: Sample, min_pixels_px: int, max_pixels_px: int) -> tuple[tuple[int, int], ...]:
    sizes = (fit_size(pair.width_px, pair.height_px, min_pixels_px, max_pixels_px) for pair in sample.pictures)
    return tuple((height_px // PATCH_PX, width_px // PATCH_PX) for width_px, height_px in sizes)


def _token_counts(grids: Sequence[tuple[int, int]]) -> list[int]:
    return [height * width // PATCHES_PER_TOKEN for height, width in grids]


def _smaller_limit(sample: Sample, limits: Limits, room_tokens: int) -> int:
    """The largest limit of pixels, in whole tokens, under which the pictures take at most `room_tokens`.

    Found by bisection: fewer pixels make fewer tokens, except for rounding, for which the caller checks the length.
    Raises `UnfitError` where even the smallest pictures allowed take more.

    A square picture of 10 x 10 tokens that may take 50: the search from 4 to 100 tokens ends at 49, a picture of 7 x 7.
    """

    def num_tokens(max_pixels_px: int) -> int:
        return sum(_token_counts(_grids(sample, limits.min_pixels_px, max_pixels_px)))

    fits, above = -(-limits.min_pixels_px // TOKEN_PX**2), limits.max_pixels_px // TOKEN_PX**2 + 1
    if fits >= above or num_tokens(fits * TOKEN_PX**2) > room_tokens:
        raise UnfitError(UnfitReason.TOO_LONG)
    while fits < above - 1:
        middle = (fits + above) // 2
        fits, above = (middle, above) if num_tokens(middle * TOKEN_PX**2) <= room_tokens else (fits, middle)
    return fits * TOKEN_PX**2


def _pieces(document: EncodedDocument, max_tokens: int) -> tuple[EncodedDocument, ...]:
    """A text in as few equal pieces as fit; the first token of a piece is not supervised, as nothing precedes it.

    10 tokens in pieces of at most 4 are 3 pieces, cut at 0, 3, 6 and 10."""
    num_tokens = len(document.token_ids)
    num_pieces = -(-num_tokens // max_tokens)
    if num_pieces <= 1:
        return (document,)
    edges = [num_tokens * number // num_pieces for number in range(num_pieces + 1)]
    return tuple(
        EncodedDocument(
            token_ids=document.token_ids[start:end],
            supervised=[False, *document.supervised[start + 1 : end]],
            image_starts=[],
        )
        for start, end in pairwise(edges)
    )
