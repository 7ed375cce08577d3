"""A card shows an answer as the table has it, with the images and films of the question and of its blind control."""

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from stages.evaluation.answers import Answer
from stages.evaluation.cards import Card, answer_card
from stages.evaluation.strips import MAX_DRAWN, DrawnFilm

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


class Clips:
    """Clips of as many frames as the first byte of their id says; a frame is its number as text."""

    frames = SimpleNamespace(images_of=lambda numbers: [str(number).encode() for number in numbers])

    def clip(self, clip_id: bytes) -> Any:
        times = tuple(float(number) for number in range(clip_id[0]))
        return SimpleNamespace(frames=range(clip_id[0]), frame_times=times, duration_seconds=float(clip_id[0]))


def asked(**changes: Any) -> Answer:
    """An answer to a question about clips."""
    return replace(ANSWER, image_ids=[], **changes)


def test_a_card_has_the_frames_that_the_model_was_shown_with_their_times() -> None:
    clips: Any = Clips()
    pictures: Any = Pictures()
    answer = asked(clip_ids=[b"\x09", b"\x02"], num_frames=[2, 2], blind_clip_ids=[b"\x05"], shuffled_answer="no")
    card = answer_card(answer, pictures, clips)
    assert [film.frames for film in card.films] == [(b"3", b"6"), (b"0", b"1")]
    assert [film.times for film in card.films] == [(3.0, 6.0), (0.0, 1.0)]
    assert card.blind_images == (b"c" * 16, b"2")
    assert card.shuffled_answer == "no"


def test_of_a_long_film_the_first_and_the_last_frame_are_drawn_and_some_between() -> None:
    clips: Any = Clips()
    pictures: Any = Pictures()
    (film,) = answer_card(asked(clip_ids=[b"\x80"], num_frames=[128], blind_clip_ids=[]), pictures, clips).films
    assert len(film.frames) == MAX_DRAWN
    assert (film.frames[0], film.frames[-1]) == (b"0", b"127")
    assert film.about == "film of 02:08.00, 32 of 128 frames"


@dataclass(frozen=True)
class Shown:
    """How many images and films a card has, and the headings of its strips."""

    num_images: int
    num_films: int
    headings: tuple[str, ...]


def test_cards_with_films_or_many_images_have_strips_and_others_none() -> None:
    film = DrawnFilm(frames=(b"f",), times=(0.0,), duration_seconds=2.0, num_frames=1)
    for shown in (
        Shown(0, 0, ()),
        Shown(3, 0, ()),
        Shown(4, 0, ("4 images",)),
        Shown(0, 1, ("film of 00:02.00, 1 frame",)),
        Shown(1, 2, ("image", "1: film of 00:02.00, 1 frame", "2: film of 00:02.00, 1 frame")),
    ):
        card = Card(
            images=(b"i",) * shown.num_images,
            films=(film,) * shown.num_films,
            kind="k",
            question="q",
            answer="a",
            truth="a",
            correct=True,
            blind_answer=None,
        )
        assert tuple(strip.heading for strip in card.strips) == shown.headings
