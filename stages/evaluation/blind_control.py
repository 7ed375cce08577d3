"""The blind control: ask the same questions with other questions' images, to see what the words alone give away.

Owns who gets whose images. Each question gives its images away once and takes those of one other question of the
same kind with as many images, so the blind questions see the same images as the sighted ones. A pure function of the
questions: image ids are digests, so ordering by them is a shuffle that comes out the same everywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PosedQuestion:
    """What the exchange needs to know of a question."""

    sample_id: bytes
    image_ids: tuple[bytes, ...]
    kind: str


def exchange_images(questions: Sequence[PosedQuestion]) -> list[tuple[bytes, ...] | None]:
    """For each question the images it is asked with in the blind control, or None where there is no other image.

    No question gets an image that is its own. Questions without images have no blind control.
    """
    groups: dict[tuple[str, int], list[int]] = defaultdict(list)
    for number, question in enumerate(questions):
        groups[question.kind, len(question.image_ids)].append(number)
    exchanged: list[tuple[bytes, ...] | None] = [None] * len(questions)
    for (_, num_images), members in groups.items():
        if num_images == 0:
            continue
        for taker, giver in _rotated(questions, members):
            if not set(questions[taker].image_ids) & set(questions[giver].image_ids):
                exchanged[taker] = questions[giver].image_ids
    return exchanged


def _rotated(questions: Sequence[PosedQuestion], members: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs (taker, giver): all members in a row, those with the same images side by side, moved on by the length of
    the longest such run. So nobody meets its own images unless one run is longer than all others together."""
    row = sorted(members, key=lambda number: (questions[number].image_ids, questions[number].sample_id))
    runs = Counter(questions[number].image_ids for number in row)
    shift = max(runs.values())
    return [(taker, row[(place + shift) % len(row)]) for place, taker in enumerate(row)]
