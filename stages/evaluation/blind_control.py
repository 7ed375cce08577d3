"""The blind control: the same questions with other questions' images, to measure what the words alone give away.

Owns the exchange of images and clips, and the order of frames in the shuffled control. Each question gives its images
and clips to one other question of the same kind with as many of both, and receives those of one, so the blind questions
see the same as the sighted ones. The exchange is a pure function of the questions: image ids are digests, so sorting by
them is a shuffle that is the same everywhere.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from stages.formats.permutation import Shuffle


class Media(NamedTuple):
    """What a question is asked with."""

    image_ids: tuple[bytes, ...]
    """Sample ids of its images, in the order of their places."""
    clip_ids: tuple[bytes, ...] = ()
    """Sample ids of its clips, in the order of their places."""


@dataclass(frozen=True, kw_only=True)
class PosedQuestion:
    """The fields of a question that the exchange depends on."""

    sample_id: bytes
    image_ids: tuple[bytes, ...]
    clip_ids: tuple[bytes, ...] = ()
    kind: str

    @property
    def media(self) -> Media:
        """Its own images and clips."""
        return Media(self.image_ids, self.clip_ids)


def exchange_media(questions: Sequence[PosedQuestion]) -> list[Media | None]:
    """For each question the images and clips of its blind control, or None if it has none.

    No question gets an image or a clip of its own. Questions without either have no blind control.
    """
    groups: dict[tuple[str, int, int], list[int]] = defaultdict(list)
    for number, question in enumerate(questions):
        groups[question.kind, len(question.image_ids), len(question.clip_ids)].append(number)
    exchanged: list[Media | None] = [None] * len(questions)
    for (_, num_images, num_clips), members in groups.items():
        if num_images == num_clips == 0:
            continue
        for taker, giver in _rotated(questions, members):
            own, others = questions[taker].media, questions[giver].media
            if not set(own.image_ids) & set(others.image_ids) and not set(own.clip_ids) & set(others.clip_ids):
                exchanged[taker] = others
    return exchanged


def frame_order(sample_id: bytes, clip: int, num_frames: int) -> list[int]:
    """The order in which the frames of a question's clip, counted from 0, are shown in the shuffled control.

    A permutation keyed by the question's sample id. Each order is as likely as any other, the own one included, so that
    a model that looks at the order alone is right as often as by guessing.
    """
    import numpy as np

    shuffle = Shuffle(num_frames, f"frames {sample_id.hex()} {clip}")
    order: list[int] = shuffle.places(np.arange(num_frames)).tolist()
    return order


def _rotated(questions: Sequence[PosedQuestion], members: Sequence[int]) -> list[tuple[int, int]]:
    """Pairs (taker, giver) of question numbers.

    Members are sorted so that those with the same images are neighbours, and each takes from the member as many
    positions on as the longest such run. With images [a, a, b, c] the run is 2, so the takers see [b, c, a, a]. A
    question meets its own images only if one run is longer than all others together: [a, a, b] is rotated to [b, a, a].
    """
    ordered = sorted(members, key=lambda number: (questions[number].media, questions[number].sample_id))
    runs = Counter(questions[number].media for number in ordered)
    shift = max(runs.values())
    return [(taker, ordered[(position + shift) % len(ordered)]) for position, taker in enumerate(ordered)]
