"""By what two pairs are duplicates: the criteria, the keys that pairs have in common, the reasons of verdicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stages.formats.sample_table import SAMPLE_ID_BYTES, ItemReason, Verdict


class DuplicateReason(ItemReason):
    """Why a pair or a document was not kept: a closed list."""

    PICTURE_UNREADABLE = "picture_unreadable", Verdict.FAILED
    """The picture is as it was stored, and does not decode."""
    IN_BENCHMARK = "in_benchmark"
    """A benchmark has the picture, by its bytes, its URL or its looks, or a run of `min_shared_words` of the words."""
    DUPLICATE_URL = "duplicate_url"
    """A better pair has the same URL; scheme, fragment and letter case of the host do not count."""
    DUPLICATE_PICTURE = "duplicate_picture"
    """A better pair has a picture of the same bytes."""
    NEAR_DUPLICATE_PICTURE = "near_duplicate_picture"
    """The picture of a better pair differs in at most `max_near_bits` of the 64 bits of its perceptual hash."""
    DUPLICATE_CAPTION = "duplicate_caption"
    """`max_pairs_per_caption` better pairs have the same caption; letter case and white space do not count."""
    NEAR_DUPLICATE_CAPTION = "near_duplicate_caption"
    """The caption is as like that of a better pair as `min_caption_likeness` says, or more."""
    DUPLICATE_TEXT = "duplicate_text"
    """A longer or earlier document has the same text; letter case and white space do not count."""
    NEAR_DUPLICATE_TEXT = "near_duplicate_text"
    """The text is as like that of a longer or earlier document as `min_likeness` says, or more."""


@dataclass(frozen=True)
class Criterion:
    """One way in which pairs are duplicates: they have a key in common."""

    name: str
    """Name of the criterion, by which files and parts are called."""
    column: str
    """Column of the sketch whose values are keys; a null is no key."""
    reason: DuplicateReason
    """Reason of the pairs that are dropped by it."""
    num_kept: int = 1
    """Pairs with one key that stay: the best ones."""


REASONS: Final = (
    DuplicateReason.DUPLICATE_URL,
    DuplicateReason.DUPLICATE_PICTURE,
    DuplicateReason.NEAR_DUPLICATE_PICTURE,
    DuplicateReason.DUPLICATE_CAPTION,
    DuplicateReason.NEAR_DUPLICATE_CAPTION,
    DuplicateReason.DUPLICATE_TEXT,
    DuplicateReason.NEAR_DUPLICATE_TEXT,
)
"""Reasons of duplicates, surest first: of several that a pair has, the first is recorded."""
NEAR_PICTURE: Final = "near_picture"
"""Name of the criterion whose keys are perceptual hashes; equal ones are found by it, near ones by phase `near`."""
KEY_FIELDS: Final = [("key", "<u8"), ("rank", "<u8"), ("sample_id", f"V{SAMPLE_ID_BYTES}")]
"""Fields of a pair under a key: 32 bytes."""
FOUND_FIELDS: Final = [("row", "<u4"), ("reason", "u1"), ("of_rank", "<u8"), ("of_id", f"V{SAMPLE_ID_BYTES}")]
"""Fields of a duplicate: its row, the number of its reason in `REASONS`, and the better pair. 29 bytes."""
