"""Cards of the contact sheet: one answered question with the encoded images and frames that it was asked with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from neo_model.inputs.frame_sampling import interior_points
from stages.evaluation.answers import Answer
from stages.evaluation.metrics import MEASURED
from stages.evaluation.strips import DrawnFilm, Strip, StripCell, drawn_frames, film_strip
from stages.formats.clip_reader import ClipReader
from stages.formats.pairs import PairReader

MAX_SIDE_BY_SIDE: Final = 3
"""Images that a narrow card shows side by side; more are shown as a strip."""


@dataclass(frozen=True, kw_only=True)
class Card:
    """One answered question as it is drawn: its words, and its images as encoded bytes."""

    images: tuple[bytes, ...]
    """Images of the question, encoded."""
    films: tuple[DrawnFilm, ...] = ()
    """Clips of the question."""
    kind: str
    question: str
    answer: str
    truth: str
    correct: bool
    score: float | None = None
    """Score of an answer that is more or less right, from 0 to 1; None for one that is right or wrong."""
    blind_answer: str | None
    """Answer to the same words with other images and clips, or None where the blind control was not asked."""
    blind_images: tuple[bytes, ...] = ()
    """Images of the blind control and some frames of its clips, encoded."""
    shuffled_answer: str | None = None
    """Answer with the frames of the clips in another order, or None where it was not asked."""

    @property
    def strips(self) -> tuple[Strip, ...]:
        """What a wide card shows: many images as a strip, and a strip for each clip; none for a narrow card."""
        if not self.films and len(self.images) <= MAX_SIDE_BY_SIDE:
            return ()
        cells = tuple(StripCell(image, f"image {number}") for number, image in enumerate(self.images, 1))
        images = [Strip(f"{len(cells)} images" if len(cells) > 1 else "image", cells)] if cells else []
        numbers = range(1, len(self.films) + 1) if len(self.films) > 1 else (None,)
        return (*images, *(film_strip(film, number) for film, number in zip(self.films, numbers, strict=False)))


def answer_card(answer: Answer, pictures: PairReader, clips: ClipReader | None = None) -> Card:
    """The card of a scored answer; reads its images and frames. Raises `StoreError` where one is damaged."""
    blind_films = _films(answer.blind_clip_ids, (), clips)
    middles = [film.frames[len(film.frames) // 2] for film in blind_films if film.frames]
    return Card(
        images=tuple(pictures.image(image_id) for image_id in answer.image_ids),
        films=_films(answer.clip_ids, answer.num_frames, clips),
        kind=answer.kind,
        question=answer.question,
        answer=answer.answer or "",
        truth=answer.truth,
        correct=bool(answer.correct),
        score=answer.score if answer.scoring in MEASURED else None,
        blind_answer=answer.blind_answer,
        blind_images=(*(pictures.image(image_id) for image_id in answer.blind_image_ids), *middles),
        shuffled_answer=answer.shuffled_answer,
    )


def _films(clip_ids: Sequence[bytes], nums_shown: Sequence[int], clips: ClipReader | None) -> tuple[DrawnFilm, ...]:
    """The clips with those of their frames that are drawn; `nums_shown` says how many frames of each were shown."""
    films = []
    for number, clip_id in enumerate(clip_ids):
        assert clips is not None, "only questions that were read with clips have clip ids"
        clip = clips.clip(clip_id)
        num_shown = nums_shown[number] if number < len(nums_shown) else len(clip.frames)
        shown = interior_points(len(clip.frames), num_shown)
        drawn = [shown[place] for place in drawn_frames(len(shown))]
        films.append(
            DrawnFilm(
                frames=tuple(clips.frames.images_of([clip.frames[place] for place in drawn])),
                times=tuple(clip.frame_times[place] for place in drawn),
                duration_seconds=clip.duration_seconds,
                num_frames=len(shown),
            )
        )
    return tuple(films)
