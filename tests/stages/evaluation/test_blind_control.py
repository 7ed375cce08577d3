"""The blind control: nobody is asked with an image of its own, and all images are seen as often as before."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from stages.evaluation.blind_control import Media, PosedQuestion, exchange_media, frame_order

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
    exchanged = exchange_media(questions)
    assert len(exchanged) == len(questions)
    for question, media in zip(questions, exchanged, strict=True):
        if media is None:
            continue
        images = media.image_ids
        assert media.clip_ids == ()
        assert len(images) == len(question.image_ids) > 0
        assert not set(images) & set(question.image_ids)
        assert images in {other.image_ids for other in questions if other.kind == question.kind}


@given(st.lists(st.integers(0, 8), min_size=1, max_size=40))
def test_with_one_image_each_everyone_gets_one_unless_one_image_has_the_majority(images: list[int]) -> None:
    questions = [asked(number, image) for number, image in enumerate(images)]
    exchanged = exchange_media(questions)
    most = max(Counter(images).values())
    if 2 * most <= len(images):
        assert Counter(exchanged) == Counter(question.media for question in questions)
    else:
        assert exchanged.count(None) == 2 * most - len(images)


def test_the_exchange_depends_on_the_questions_and_not_on_their_order() -> None:
    questions = [asked(number, number % 7, kind=("colour", "count")[number % 2]) for number in range(40)]
    given_to = dict(zip([q.sample_id for q in questions], exchange_media(questions), strict=True))
    backwards = questions[::-1]
    assert dict(zip([q.sample_id for q in backwards], exchange_media(backwards), strict=True)) == given_to


def test_a_lonely_question_and_one_without_images_have_no_control() -> None:
    assert exchange_media([asked(0, 1), asked(1), asked(2), asked(3, 2, kind="word")]) == [None] * 4


def test_clips_are_exchanged_as_images_are_and_only_for_as_many() -> None:
    def with_clips(number: int, images: int, *clips: int) -> PosedQuestion:
        ids = tuple(bytes([clip]) * 16 for clip in clips)
        posed = asked(number, *range(100 + 10 * number, 100 + 10 * number + images))
        return PosedQuestion(sample_id=posed.sample_id, image_ids=posed.image_ids, clip_ids=ids, kind="order")

    questions = [
        with_clips(0, 0, 1),
        with_clips(1, 0, 2),
        with_clips(2, 1, 3),
        with_clips(3, 1, 4),
        with_clips(4, 0, 5, 6),
    ]
    exchanged = exchange_media(questions)
    assert exchanged == [questions[1].media, questions[0].media, questions[3].media, questions[2].media, None]
    shared = [with_clips(5, 1, 7), with_clips(6, 1, 7)]
    assert exchange_media(shared) == [None, None], "another image, and the own clip"


def test_frames_are_shuffled_by_the_question_and_by_nothing_else() -> None:
    ids = [number.to_bytes(16, "big") for number in range(600)]
    orders = Counter(tuple(frame_order(one, 0, 3)) for one in ids)
    assert len(orders) == 6 and min(orders.values()) > 60, "each order is as likely as any other"
    assert [frame_order(one, 0, 3) for one in ids] == [frame_order(one, 0, 3) for one in ids]
    assert [frame_order(one, 0, 8) for one in ids] != [frame_order(one, 1, 8) for one in ids]
    assert frame_order(ids[0], 0, 1) == [0] and Media((), ()) == Media(())
