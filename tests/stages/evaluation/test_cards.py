"""A card shows an answer as the table has it, with the images of the question and of its blind control."""

from typing import Any

from stages.evaluation.answers import Answer
from stages.evaluation.cards import answer_card

ANSWER = Answer(
    sample_id=b"s" * 16,
    image_ids=[b"a" * 16, b"b" * 16],
    image_urls=["http://a/1", None],
    kind="colour",
    question="Which?",
    truth="red",
    answer=None,
    correct=False,
    blind_image_ids=[b"c" * 16],
    blind_answer="blue",
    blind_correct=False,
    verdict="kept",
    reason=None,
)


class Pictures:
    """Every image is its own id."""

    def image(self, sample_id: bytes) -> bytes:
        return sample_id


def test_a_card_has_the_images_of_both_questions_and_no_answer_is_an_empty_one() -> None:
    pictures: Any = Pictures()
    card = answer_card(ANSWER, pictures)
    assert (card.images, card.blind_images) == ((b"a" * 16, b"b" * 16), (b"c" * 16,))
    assert (card.answer, card.truth, card.correct, card.blind_answer) == ("", "red", False, "blue")
