"""Fits one sample to a length: how large its pictures and frames are, how many frames it has, whether its text is cut.

Owns the rule by which a sample that is too long gets smaller images, then fewer frames, and the closed list of reasons
why a drawn sample is not packed. Sizes come from sample tables: nothing is decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from neo_model.config import PATCH_PX, TOKEN_PX
from neo_model.inputs.conversation import ConversationError, EncodedDocument
from neo_model.inputs.frame_sampling import interior_points
from neo_model.inputs.pictures import PictureError, fit_size
from stages.formats.pairs import StoredImage
from stages.formats.sample_table import ItemReason
from stages.formats.samples import PlainText, Sample, ShownImage

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PATCHES_PER_TOKEN = (TOKEN_PX // PATCH_PX) ** 2
"""Patches of 16 px that one visual token of 32 px covers: 4."""
MIN_FRAME_PIXELS_PX = 4 * TOKEN_PX**2
"""Smallest frame of NEO-ov's evaluation on videos, in pixels: 4 tokens."""
MAX_FRAME_PIXELS_PX = 360 * 640
"""Largest frame of NEO-ov's evaluation on videos, in pixels: a film of 16:9 has 352 x 640 px, 220 tokens."""
MAX_FRAMES = 128
"""Most frames of a clip in NEO-ov's training."""


class UnfitReason(ItemReason):
    """Why a drawn sample is not packed: a closed list."""

    TOO_LONG = "too_long"
    """Longer than allowed, even with its images as small as allowed and one frame of each clip."""
    TOO_ELONGATED = "too_elongated"
    """One side of a picture is more than 200 times the other."""
    MALFORMED = "malformed"
    """It cannot be rendered: it has more or fewer placeholders than pictures or clips, or a role is unknown."""
    UNDECODABLE = "undecodable"
    """The packets of a clip cannot be decoded."""
    NOTHING_SUPERVISED = "nothing_supervised"
    """It has no supervised token."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a document may be, how large its pictures and frames, and how many its frames."""

    max_tokens: int
    """Longest document, in tokens."""
    min_pixels_px: int
    """Smallest picture after resizing, in pixels."""
    max_pixels_px: int
    """Largest picture after resizing, in pixels."""
    min_frame_pixels_px: int = MIN_FRAME_PIXELS_PX
    """Smallest frame of a clip after resizing, in pixels."""
    max_frame_pixels_px: int = MAX_FRAME_PIXELS_PX
    """Largest frame of a clip after resizing, in pixels."""
    max_frames: int = MAX_FRAMES
    """Most frames of one clip."""
    pictures_share_pixels: bool = False
    """Whether n > 1 pictures of a sample may have max(2 * max_pixels_px / n, min_pixels_px) each."""

    def of_pictures(self, num_pictures: int) -> tuple[int, int]:
        """Smallest and largest picture of a sample with so many, in pixels.

        Two pictures that share have as much each as one alone; eight a quarter of it.
        """
        if not self.pictures_share_pixels or num_pictures < 2:
            return self.min_pixels_px, self.max_pixels_px
        return self.min_pixels_px, max(2 * self.max_pixels_px // num_pictures, self.min_pixels_px)

    def of_images(self, sample: Sample) -> list[tuple[int, int]]:
        """Smallest and largest image of each kind that a sample has, in pixels."""
        kinds = (bool(sample.pictures), self.of_pictures(len(sample.pictures))), (bool(sample.clips), self.of_frames)
        return [limit for is_there, limit in kinds if is_there]

    @property
    def of_frames(self) -> tuple[int, int]:
        """Smallest and largest frame, in pixels."""
        return self.min_frame_pixels_px, self.max_frame_pixels_px


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A sample as documents that fit: one, or the pieces of a long text."""

    documents: tuple[EncodedDocument, ...]
    """The sample itself, or the pieces of a text that was cut."""
    images: tuple[StoredImage, ...]
    """[P] its pictures and the frames that were taken, in the order in which the text refers to them; a sample with
    images is one document."""
    grids: tuple[tuple[int, int], ...]
    """[P] (height, width) of each in patches of 16 px."""
    max_pixels_px: int
    """Largest picture that was allowed: the limit, or less where the sample was too long with it."""
    max_frame_pixels_px: int
    """Largest frame that was allowed: the limit, or less where the sample was too long with it."""
    num_frames: int
    """Frames that were taken of all its clips."""
    num_stored_frames: int
    """Frames that its clips have."""
    has_fewer_pixels: bool
    """Whether its pictures or frames were made smaller because it was too long."""
    num_tokens_wanted: int
    """Length of the sample with images as large and frames as many as the limits allow, in tokens; more than
    `documents` hold where it has fewer."""


class UnfitError(ValueError):
    """A sample cannot be packed."""

    def __init__(self, reason: UnfitReason) -> None:
        super().__init__(reason.value)
        self.reason = reason


def fit(sample: Sample, tokenizer: Tokenizer, limits: Limits) -> Fitted:
    """Tokenise a sample within its limits. Raises `UnfitError` where that is impossible.

    A clip with more frames than allowed gives as many at interior points of equal distance. A sample with images that
    is too long then has all of them measured again under the largest smaller limit of pixels with which it fits. Where
    none is small enough, its clips give fewer frames, again at interior points: as many as fit with the smallest, and
    these as large as fit. The text tells the number, rate and times of the frames that were taken. Plain text that is
    too long is cut into pieces of equal length.
    """
    try:
        wanted = rendered = _render(_with_most_frames(sample, limits.max_frames), tokenizer, limits)
        if wanted.num_tokens > limits.max_tokens and wanted.grids:
            rendered = _shrink(wanted, tokenizer, limits)
    except PictureError as error:
        raise UnfitError(UnfitReason.TOO_ELONGATED) from error
    except ConversationError as error:
        raise UnfitError(UnfitReason.MALFORMED) from error
    document = rendered.document
    documents = _pieces(document, limits.max_tokens) if isinstance(sample, PlainText) else (document,)
    if any(len(piece.token_ids) > limits.max_tokens for piece in documents):
        raise UnfitError(UnfitReason.TOO_LONG)
    if not any(any(piece.supervised) for piece in documents):
        raise UnfitError(UnfitReason.NOTHING_SUPERVISED)
    return Fitted(
        documents=documents,
        images=tuple(shown.image for shown in rendered.images),
        grids=rendered.grids,
        max_pixels_px=_capped(limits.of_pictures(len(sample.pictures)), rendered.cap_px)[1],
        max_frame_pixels_px=_capped(limits.of_frames, rendered.cap_px)[1],
        num_frames=rendered.sample.num_frames,
        num_stored_frames=sample.num_frames,
        has_fewer_pixels=any(_capped(limit, rendered.cap_px) != limit for limit in limits.of_images(sample)),
        num_tokens_wanted=wanted.num_tokens,
    )


@dataclass(frozen=True)
class _Rendered:
    """A sample tokenised with its images under one cap of pixels; it may be too long."""

    sample: Sample
    cap_px: int | None
    """Cap on pictures and frames below their limits, in pixels; None is no cap."""
    images: tuple[ShownImage, ...]
    grids: tuple[tuple[int, int], ...]
    document: EncodedDocument

    @property
    def num_tokens(self) -> int:
        return len(self.document.token_ids)

    @property
    def num_text_tokens(self) -> int:
        return self.num_tokens - sum(_token_counts(self.grids))


def _render(sample: Sample, tokenizer: Tokenizer, limits: Limits, cap_px: int | None = None) -> _Rendered:
    images = sample.images
    grids = _grids(images, len(sample.pictures), limits, cap_px)
    return _Rendered(sample, cap_px, images, grids, sample.encode(tokenizer, _token_counts(grids)))


def _shrink(whole: _Rendered, tokenizer: Tokenizer, limits: Limits) -> _Rendered:
    """A sample that is too long with fewer pixels, or with fewer frames too. Raises `UnfitError` if it never fits."""
    cap_px = _largest_cap(whole, limits)
    if cap_px is None:
        whole = _fewest_pixels(whole, tokenizer, limits)
        cap_px = _largest_cap(whole, limits) or whole.cap_px
    return _render(whole.sample, tokenizer, limits, cap_px)


def _fewest_pixels(whole: _Rendered, tokenizer: Tokenizer, limits: Limits) -> _Rendered:
    """The sample with its smallest images and as many frames of each clip as then fit, found by bisection."""
    cap_px = _caps_tokens(whole.sample, limits)[0] * TOKEN_PX**2
    fits, above = 0, max((len(clip.frames) for clip in whole.sample.clips), default=0)
    fitting = None
    while fits < above - 1:
        middle = (fits + above) // 2
        fewer = _render(_with_most_frames(whole.sample, middle), tokenizer, limits, cap_px)
        if fewer.num_tokens <= limits.max_tokens:
            fits, fitting = middle, fewer
        else:
            above = middle
    if fitting is None:
        raise UnfitError(UnfitReason.TOO_LONG)
    return fitting


def _with_most_frames(sample: Sample, max_frames: int) -> Sample:
    """The sample with at most so many frames of each clip: those of a longer one at interior points."""
    if all(len(clip.frames) <= max_frames for clip in sample.clips):
        return sample
    return sample.with_frames([interior_points(len(clip.frames), max_frames) for clip in sample.clips])


def _grids(
    images: Sequence[ShownImage], num_pictures: int, limits: Limits, cap_px: int | None
) -> tuple[tuple[int, int], ...]:
    of_pictures, of_frames = _capped(limits.of_pictures(num_pictures), cap_px), _capped(limits.of_frames, cap_px)
    sizes = (
        fit_size(shown.width_px, shown.height_px, *(of_frames if shown.image.is_frame else of_pictures))
        for shown in images
    )
    return tuple((height_px // PATCH_PX, width_px // PATCH_PX) for width_px, height_px in sizes)


def _capped(limit: tuple[int, int], cap_px: int | None) -> tuple[int, int]:
    """Smallest and largest image under a cap, which does not go below the smallest."""
    smallest, largest = limit
    return smallest, largest if cap_px is None else max(smallest, min(largest, cap_px))


def _token_counts(grids: Sequence[tuple[int, int]]) -> list[int]:
    return [height * width // PATCHES_PER_TOKEN for height, width in grids]


def _caps_tokens(sample: Sample, limits: Limits) -> tuple[int, int]:
    """The smallest cap that makes a difference, and the first that is above all limits, in tokens of an image."""
    smallest, largest = zip(*limits.of_images(sample), strict=True)
    return -(-min(smallest) // TOKEN_PX**2), max(largest) // TOKEN_PX**2 + 1


def _largest_cap(whole: _Rendered, limits: Limits) -> int | None:
    """The largest cap, in whole tokens of an image, under which the sample fits; None where there is none.

    Found by bisection: fewer pixels make fewer tokens, except for rounding, for which the caller checks the length.

    A square picture of 10 x 10 tokens that may take 50: the search from 4 to 100 tokens ends at 49, a picture of 7 x 7.
    """
    room_tokens = limits.max_tokens - whole.num_text_tokens
    sample = whole.sample

    def num_tokens(cap_tokens: int) -> int:
        return sum(_token_counts(_grids(whole.images, len(sample.pictures), limits, cap_tokens * TOKEN_PX**2)))

    fits, above = _caps_tokens(sample, limits)
    if fits >= above or num_tokens(fits) > room_tokens:
        return None
    while fits < above - 1:
        middle = (fits + above) // 2
        fits, above = (middle, above) if num_tokens(middle) <= room_tokens else (fits, middle)
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
