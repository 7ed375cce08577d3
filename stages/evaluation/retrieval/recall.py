"""Recall of retrieval: whether the right captions of a picture are among the k nearest ones, and the other way round.

Owns the ranks and the metrics R@1, R@5 and R@10. A picture that has several captions is one question with several
right answers, as is a caption of several pictures; each is looked up among all distinct ones. Of equal similarity the
wrong one counts as nearer: a checkpoint that says the same of everything gets nothing right, nor one that says NaN.

A distinct pictures, B distinct captions, H width. Time grows with A B H, 10,000 of each at 2,048: 0.8 TFLOP; in memory
are blocks of at most `BLOCK_SCORES` similarities and the relation, 16 bytes a pair; the vectors lie in files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import comb
from typing import TYPE_CHECKING, Final

from stages.evaluation.intervals import mean_interval

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RANKS: Final = (1, 5, 10)
"""The k of recall at k."""
BLOCK_SCORES: Final = 2**24
"""Similarities that are held at once: 64 MiB."""
SIDES: Final = ("image_to_text", "text_to_image")
"""Which way is looked up: captions of a picture, and pictures of a caption."""


@dataclass(frozen=True)
class RetrievalSide:
    """Distinct vectors of one side, and which of the other side are right for each."""

    vectors: NDArray[np.float32]
    """[A, H], of length 1."""
    right: Sequence[NDArray[np.int64]]
    """The numbers of those of the other side that are right, for each of the A."""


def sides_of(
    pictures: NDArray[np.int64],
    captions: NDArray[np.int64],
    picture_vectors: NDArray[np.float32],
    caption_vectors: NDArray[np.float32],
) -> tuple[RetrievalSide, RetrievalSide]:
    """The pictures and the captions of n pairs, whose numbers are `pictures` [n] and `captions` [n], from 0 without a
    gap; vectors are those of the distinct ones."""
    return (
        RetrievalSide(picture_vectors, _right(pictures, captions)),
        RetrievalSide(caption_vectors, _right(captions, pictures)),
    )


def ranks(side: RetrievalSide, other: RetrievalSide) -> NDArray[np.int64]:
    """[A] place of the best right one among all of the other side, from 1; the right ones do not count against it."""
    import numpy as np

    found = np.empty(len(side.vectors), np.int64)
    size = max(1, BLOCK_SCORES // max(1, len(other.vectors)))
    for start in range(0, len(side.vectors), size):
        scores = side.vectors[start : start + size] @ other.vectors.T
        for number, line in enumerate(scores):
            right = side.right[start + number]
            best = line[right].max()
            # Not `>=`: where the best one, or another, is NaN, no comparison holds, and all of the others are nearer.
            found[start + number] = 1 + (~(line < best)).sum() - (~(line[right] < best)).sum()
    return found


def recalls(pictures: RetrievalSide, captions: RetrievalSide, *, trained: bool | None) -> dict[str, float]:
    """The metrics of retrieval.

    `image_to_text_r1`, its 95% interval `..._low` and `..._high`, and `chance_image_to_text_r1`, which a random order
    would have on average; the same for r5 and r10, and for `text_to_image`. `num_retrieval_pictures` and
    `num_retrieval_captions` are looked up. `trained_for_retrieval` is 1 where the checkpoint, or one that it was
    trained from, was trained with a contrastive loss, 0 where none was, and left out where `trained` is not known.
    """
    numbers: dict[str, float] = {
        "num_retrieval_pictures": len(pictures.vectors),
        "num_retrieval_captions": len(captions.vectors),
    }
    if trained is not None:
        numbers["trained_for_retrieval"] = int(trained)
    for name, side, other in zip(SIDES, (pictures, captions), (captions, pictures), strict=True):
        if not len(side.vectors):
            continue
        found = ranks(side, other)
        clusters = [int(right[0]) for right in side.right]  # those with one right answer are not independent
        for k in RANKS:
            hits = [float(rank <= k) for rank in found]
            low, high = mean_interval(hits, clusters)
            numbers[f"{name}_r{k}"] = sum(hits) / len(hits)
            numbers |= {f"{name}_r{k}_low": low, f"{name}_r{k}_high": high}
            numbers[f"chance_{name}_r{k}"] = _chance([len(right) for right in side.right], len(other.vectors), k)
    return numbers


def has_recalls(numbers: Mapping[str, float]) -> bool:
    """Whether an evaluation looked up pairs."""
    return f"{SIDES[0]}_r{RANKS[0]}" in numbers


def _right(these: NDArray[np.int64], those: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    import numpy as np

    order = np.argsort(these, kind="stable")
    edges = np.flatnonzero(np.diff(these[order])) + 1
    return [np.unique(those[rows]) for rows in np.split(order, edges)] if len(these) else []


def _chance(num_right: Sequence[int], num_candidates: int, k: int) -> float:
    """Mean probability that one of m right ones is among k of n that are drawn: 1 - C(n - m, k) / C(n, k)."""
    k = min(k, num_candidates)
    missed = {m: comb(num_candidates - m, k) / comb(num_candidates, k) for m in set(num_right)}
    return sum(1 - missed[m] for m in num_right) / len(num_right)
