"""Pairs as two vectors each, by a checkpoint: one of the picture alone, one of the caption alone.

Owns a part of phase `embed`. The vectors are the pooled states that a contrastive loss compares in training
(`neo_model/inputs/pairs.py`), of length 1. Every checkpoint has them, whatever it was trained for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stages.artifacts.kinds import KeptPairs, RawPairs
from stages.benchmarks.benchmark import PixelRange
from stages.contract import Part, PartDraft, PartTask
from stages.evaluation.media import MAX_DECODED_PX
from stages.formats.pairs import Pair, PairReader
from stages.formats.sample_table import ItemReason, Verdict, balance_of, sample_id_type, verdict_columns, write_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tokenizers import Tokenizer

    from neo_model.inputs.batch import Document
    from neo_model.model import NeoModel

VECTORS_FILE: Final = "vectors.parquet"
"""A row for each pair of a part: its vectors, or why it has none."""
TOKENS_TOGETHER: Final = 16_384
"""Tokens of pairs that pass through the network together, at most, but one pair at least."""


class PairTrouble(ItemReason):
    """Why a pair cannot be looked up: a closed list."""

    IMAGE_UNUSABLE = "image_unusable", Verdict.FAILED
    """The picture does not decode, or is 200 times as long as wide."""
    NO_CAPTION = "no_caption", Verdict.FAILED
    """The caption is empty."""
    TOO_LONG = "too_long", Verdict.FAILED
    """The picture and its caption have more tokens than a prompt may."""
    NOT_FINITE = "not_finite", Verdict.FAILED
    """The network's vector of the picture or of the caption has NaN or infinity, which is near nothing."""


class EmbedTask(PartTask):
    """The task of a part of phase `embed`: rows of the kept pairs of one of their parts."""

    of_part: str
    start: int
    stop: int


class ReadPair(NamedTuple):
    """A pair as the network reads it."""

    document: Document
    patches: NDArray[np.uint8]


@dataclass(frozen=True)
class PairVectors:
    """Makes vectors of pairs with a loaded checkpoint."""

    model: NeoModel
    tokenizer: Tokenizer
    pairs: PairReader
    pixels: PixelRange
    """Pixels of a picture after resizing."""
    max_tokens: int
    """Longest picture with its caption, in tokens."""

    def read(self, pair: Pair) -> ReadPair | PairTrouble:
        """A pair as a document, or why it is none."""
        from neo_model.inputs.batch import Document
        from neo_model.inputs.conversation import encode_caption
        from neo_model.inputs.pictures import PictureError, open_pixels, to_uint8_patches

        if not pair.caption.strip():
            return PairTrouble.NO_CAPTION
        try:
            pixels = open_pixels(self.pairs.image_of(pair.image), max_pixels_px=MAX_DECODED_PX)
            patches, grid = to_uint8_patches(pixels, *self.pixels)
        except PictureError:
            return PairTrouble.IMAGE_UNUSABLE
        encoded = encode_caption(self.tokenizer, pair.caption, [grid[0] * grid[1] // 4])
        if len(encoded.token_ids) > self.max_tokens:
            return PairTrouble.TOO_LONG
        return ReadPair(Document(token_ids=encoded.token_ids, supervised=encoded.supervised, grids=[grid]), patches)

    def vectors(self, pairs: Sequence[ReadPair]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Vectors [n, H] of the pictures and of the captions, each of length 1."""
        import torch
        from torch.nn import functional as F

        from neo_model.inputs.batch import ensure_image, pack
        from neo_model.inputs.pairs import caption_alone, caption_of, with_pairs

        documents = [one.document for one in pairs]
        captions = [caption_alone(caption) for one in documents if (caption := caption_of(one)) is not None]
        packed = pack(
            [*documents, *captions], [one.patches for one in pairs], image_context_id=self.model.config.image_context_id
        )
        batch = with_pairs(ensure_image(packed), range(len(pairs)), [(0, 0)] * len(pairs))
        weight = next(self.model.parameters())
        with torch.inference_mode():
            pooled = F.normalize(self.model.pooled(batch.to(weight.device, weight.dtype)), dim=1)
        pictures, texts = pooled.float().cpu().chunk(2)
        return pictures.numpy(), texts.numpy()


def embed_pairs(draft: PartDraft, task: EmbedTask, vectors: PairVectors) -> None:
    """Write the vectors of one slice of the kept pairs."""
    import pyarrow as pa

    chosen = list(islice(vectors.pairs.pairs_of(task.of_part), task.start, task.stop))
    reasons: list[PairTrouble | None] = []
    sides: tuple[list[Any], list[Any]] = ([], [])
    for group in _together((pair, vectors.read(pair)) for pair in chosen):
        readable = [one for one in group if isinstance(one, ReadPair)]
        made = iter(zip(*vectors.vectors(readable), strict=True)) if readable else iter(())
        for one in group:
            found = one if isinstance(one, PairTrouble) else _checked(*next(made))
            reasons.append(found if isinstance(found, PairTrouble) else None)
            for side, vector in zip(sides, (None, None) if isinstance(found, PairTrouble) else found, strict=True):
                side.append(vector)
        draft.progress(len(reasons))
    of_vectors = pa.list_(pa.float32())
    table = pa.table(
        {
            "sample_id": pa.array([pair.sample_id for pair in chosen], sample_id_type()),
            "picture": pa.array([pair.image.sha256 for pair in chosen], pa.binary(32)),
            "caption": pa.array([caption_digest(pair.caption) for pair in chosen], pa.binary(32)),
            "picture_vector": pa.array(sides[0], of_vectors),
            "caption_vector": pa.array(sides[1], of_vectors),
            **verdict_columns(reasons),
        }
    )
    write_table(table, draft.path(VECTORS_FILE))
    draft.count(balance_of(table))


def embed_parts(pairs: KeptPairs | RawPairs, num_pairs: int, size: int) -> list[Part]:
    """The first `num_pairs` kept pairs in table order, at most `size` in a part."""
    parts: list[Part] = []
    left = num_pairs
    for one in PairReader(pairs).parts_to_judge:
        kept = min(one.num_items or 0, left)
        left -= kept
        for start in range(0, kept, size):
            stop = min(start + size, kept)
            task = EmbedTask(of_part=one.name, start=start, stop=stop)
            parts.append(Part(name=f"{len(parts):05d}", task=task.dump(), num_items=stop - start))
    return parts


def caption_digest(caption: str) -> bytes:
    """What tells captions apart: sha256 of the text without blanks around it."""
    return hashlib.sha256(caption.strip().encode("utf-8", "surrogatepass")).digest()


def _checked(
    picture: NDArray[np.float32], caption: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32]] | PairTrouble:
    """The vectors [H] of a pair, or why they cannot be compared with others."""
    import numpy as np

    is_finite = np.isfinite(picture).all() and np.isfinite(caption).all()
    return (picture, caption) if is_finite else PairTrouble.NOT_FINITE


def _together(read: Iterable[tuple[Pair, ReadPair | PairTrouble]]) -> Iterator[list[ReadPair | PairTrouble]]:
    """Pairs in groups of at most `TOKENS_TOGETHER`, one at least in each."""
    group: list[ReadPair | PairTrouble] = []
    num_tokens = 0
    for _, one in read:
        length = len(one.document.token_ids) if isinstance(one, ReadPair) else 0
        if group and num_tokens + length > TOKENS_TOGETHER:
            yield group
            group, num_tokens = [], 0
        group.append(one)
        num_tokens += length
    if group:
        yield group
