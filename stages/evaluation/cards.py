"""Cards of the contact sheet: one answered question with the encoded images that it was asked with."""

from __future__ import annotations

from dataclasses import dataclass

from stages.evaluation.answers import Answer
from stages.formats.pairs import PairReader


@dataclass(frozen=True, kw_only=True)
class Card:
    """One answered question as it is drawn: its words, and its images as encoded bytes."""

    images: tuple[bytes, ...]
    """Images of the question, encoded."""
    kind: str
    question: str
    answer: str
    truth: str
    correct: bool
    blind_answer: str | None
    """Answer to the same words with other images, or None where the blind control was not asked."""
    blind_images: tuple[bytes, ...] = ()
    """Images of the blind control, encoded."""


def answer_card(answer: Answer, pictures: PairReader) -> Card:
    """The card of a scored answer; reads its images. Raises `StoreError` where one is damaged."""
    return Card(
        images=tuple(pictures.image(image_id) for image_id in answer.image_ids),
        kind=answer.kind,
        question=answer.question,
        answer=answer.answer or "",
        truth=answer.truth,
        correct=bool(answer.correct),
        blind_answer=answer.blind_answer,
        blind_images=tuple(pictures.image(image_id) for image_id in answer.blind_image_ids),
    )
