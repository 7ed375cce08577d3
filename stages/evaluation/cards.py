"""How an answer is shown."""

from __future__ import annotations

from stages.evaluation.answers import Answer
from stages.evaluation.contact_sheet import Card
from stages.evaluation.questions import Question
from stages.formats.pairs import PairReader


def urls_of(pictures: PairReader, question: Question) -> list[str | None]:
    """Where the images of a question came from; None for one that is not among the pictures."""
    found: list[str | None] = []
    for image_id in question.image_ids:
        try:
            found.append(pictures.pair(image_id).url)
        except KeyError:
            found.append(None)
    return found


def card_of(answer: Answer, pictures: PairReader) -> Card:
    """How an answer is shown."""
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
