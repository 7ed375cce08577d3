"""The blind control: the same questions with other questions' images, to measure what the words alone give away.

Owns the exchange of images. Each question gives its images to one other question of the same kind with as many
images, and receives those of one, so the blind questions see the same images as the sighted ones. The exchange is a
pure function of the questions: image ids are digests, so sorting by them is a shuffle that is the same everywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PosedQuestion:
    """The fields of a question that the exchange depends on."""

    sample_id: bytes
    image_ids: tuple[bytes, ...]
    kind: str


def exchange_images(questions: Sequence[PosedQuestion]) -> list[tuple[bytes, ...] | None]:
    """For each question the image ids of its blind control, or None if it has none.

    No question gets an image of its own. Questions without images have no blind control.
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
    """Pairs (taker, giver) of question numbers.

    Members are sorted so that those with the same images are neighbours, and each takes from the member as many
    positions on as the longest such run. With images [a, a, b, c] the run is 2, so the takers see [b, c, a, a]. A
    question meets its own images only if one run is longer than all others together: [a, a, b] is rotated to [b, a, a].
    """
    ordered = sorted(members, key=lambda number: (questions[number].image_ids, questions[number].sample_id))
    runs = Counter(questions[number].image_ids for number in ordered)
    shift = max(runs.values())
    return [(taker, ordered[(position + shift) % len(ordered)]) for position, taker in enumerate(ordered)]
