"""The blind control: nobody is asked with an image of its own, and all images are seen as often as before."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.evaluation.blind_control import PosedQuestion, exchange_images

IDS = st.integers(0, 30).map(lambda number: number.to_bytes(16, "big"))
QUESTIONS = st.lists(
    st.builds(
        lambda images, kind, sample_id: PosedQuestion(sample_id=sample_id, image_ids=tuple(images), kind=kind),
        images=st.lists(IDS, max_size=2, unique=True),
        kind=st.sampled_from(["colour", "count", "word"]),
        sample_id=st.binary(min_size=16, max_size=16),
    ),
    max_size=60,
)


def asked(number: int, *images: int, kind: str = "colour") -> PosedQuestion:
    image_ids = tuple(bytes([image]) * 16 for image in images)
    return PosedQuestion(sample_id=number.to_bytes(16, "big"), image_ids=image_ids, kind=kind)


@given(QUESTIONS)
def test_no_question_keeps_an_image_and_none_leaves_its_kind(questions: list[PosedQuestion]) -> None:
    exchanged = exchange_images(questions)
    assert len(exchanged) == len(questions)
    for question, images in zip(questions, exchanged, strict=True):
        if images is None:
            continue
        assert len(images) == len(question.image_ids) > 0
        assert not set(images) & set(question.image_ids)
        assert images in {other.image_ids for other in questions if other.kind == question.kind}


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_with_one_image_each_everyone_gets_one_unless_one_image_has_the_majority(images: list[int]) -> None:
    questions = [asked(number, image) for number, image in enumerate(images)]
    exchanged = exchange_images(questions)
    most = max(Counter(images).values())
    if 2 * most <= len(images):
        assert Counter(exchanged) == Counter(question.image_ids for question in questions)
    else:
        assert exchanged.count(None) == 2 * most - len(images)


def test_the_exchange_depends_on_the_questions_and_not_on_their_order() -> None:
    questions = [asked(number, number % 7, kind=("colour", "count")[number % 2]) for number in range(40)]
    given_to = dict(zip([q.sample_id for q in questions], exchange_images(questions), strict=True))
    backwards = questions[::-1]
    assert dict(zip([q.sample_id for q in backwards], exchange_images(backwards), strict=True)) == given_to


def test_a_lonely_question_and_one_without_images_have_no_control() -> None:
    assert exchange_images([asked(0, 1), asked(1), asked(2), asked(3, 2, kind="word")]) == [None] * 4
