"""The contact sheet: a picture of every card, whatever the words and images are like."""

import io

import pytest
from PIL import Image, ImageChops, ImageFont

from stages.benchmarks.benchmark import ScoringRule
from stages.benchmarks.catalog import BENCHMARKS
from stages.evaluation import contact_sheet as sheet_module
from stages.evaluation.benchmark_scores import benchmark_scores
from stages.evaluation.cards import Card
from stages.evaluation.contact_sheet import (
    MARGIN_PX,
    NUM_COLUMNS,
    RIGHT,
    WIDTH_PX,
    WRONG,
    accuracy_texts,
    bars,
    card_boxes,
    contact_sheet,
    legend,
)
from stages.evaluation.metrics import MEANS, MEASURED, ScoredAnswer, metrics
from stages.evaluation.strips import DrawnFilm


def jpeg(width_px: int, height_px: int, colour: str) -> bytes:
    encoded = io.BytesIO()
    Image.new("RGB", (width_px, height_px), colour).save(encoded, "PNG")
    return encoded.getvalue()


def card(**changes: object) -> Card:
    plain = {
        "images": (jpeg(96, 64, "#0000ff"),),
        "kind": "colour",
        "question": "What colour is it?",
        "answer": "blue",
        "truth": "blue",
        "correct": True,
        "blind_answer": "red",
    }
    return Card(**(plain | changes))  # type: ignore[arg-type]


def film(num_frames: int, colour: str = "#00ffff") -> DrawnFilm:
    frames = tuple(jpeg(64, 36, colour) for _ in range(num_frames))
    times = tuple(number / 2 for number in range(num_frames))
    return DrawnFilm(frames=frames, times=times, duration_seconds=num_frames / 2, num_frames=num_frames)


NUMBERS = metrics([ScoredAnswer(kind="colour", truth="blue", correct=True, blind_correct=False)] * 3, num_failed=1)


def opened(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image.convert("RGB")


def test_the_same_cards_give_the_same_bytes() -> None:
    assert contact_sheet([card()], NUMBERS, "title") == contact_sheet([card()], NUMBERS, "title")


def test_each_card_shows_its_images_and_whether_it_was_right() -> None:
    sheet = opened(contact_sheet([card(), card(correct=False, answer="red")], NUMBERS, "title"))
    colours = {colour: count for count, colour in sheet.getcolors(sheet.width * sheet.height)}
    assert colours[0, 0, 255] > 2 * 180 * 120
    assert colours[tuple(bytes.fromhex(WRONG[1:]))] > 200
    assert colours[tuple(bytes.fromhex(RIGHT[1:]))] > 200


def test_the_sheet_grows_by_rows() -> None:
    one = opened(contact_sheet([card()], NUMBERS, "t")).height
    assert opened(contact_sheet([card()] * NUM_COLUMNS, NUMBERS, "t")).size == (WIDTH_PX, one)
    assert opened(contact_sheet([card()] * (NUM_COLUMNS + 1), NUMBERS, "t")).height > one


@pytest.mark.parametrize(
    "odd",
    [
        {"question": "why " * 10_000, "answer": "because " * 10_000, "truth": "x" * 10_000, "correct": False},
        {"question": "", "answer": "", "blind_answer": None},
        {"images": ()},
        {"images": (jpeg(600, 20, "red"), jpeg(20, 600, "green"), jpeg(1, 1, "blue"))},
        {"question": "这是什么颜色", "kind": "a kind with a very long name indeed"},
    ],
)
def test_odd_cards_are_drawn_all_the_same(odd: dict[str, object]) -> None:
    assert opened(contact_sheet([card(**odd)], NUMBERS, "title")).width == WIDTH_PX


def test_a_sheet_without_answers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The words are drawn: without them the sheet differs in a box as wide as they are, and nowhere else."""
    numbers = metrics([], num_failed=4)
    (text,) = sheet_module.accuracy_texts(numbers)
    assert text.words == "No question could be answered"
    sheet = opened(contact_sheet([], numbers, "title"))
    monkeypatch.setattr(sheet_module, "accuracy_texts", lambda _: [])
    left, top, right, bottom = ImageChops.difference(sheet, opened(contact_sheet([], numbers, "title"))).getbbox()
    assert right - left == pytest.approx(ImageFont.load_default(text.size_px).getlength(text.words), abs=8)
    assert text.size_px / 2 < bottom - top < 2 * text.size_px


def test_the_headline_of_a_sheet_gives_the_accuracies() -> None:
    words = [text.words for text in sheet_module.accuracy_texts(NUMBERS)]
    assert words[0] == "1.000 right" and words[2:] == ["0.000 with images exchanged", "1.000 by guessing"]


def test_a_film_is_drawn_as_a_strip_over_the_whole_width() -> None:
    sheet = opened(contact_sheet([card(), card(images=(), films=(film(8),))], NUMBERS, "title"))
    colours = {colour: count for count, colour in sheet.getcolors(sheet.width * sheet.height)}
    assert colours[0, 255, 255] > 8 * 90 * 50


def test_wide_cards_stand_below_the_narrow_ones_and_no_two_overlap() -> None:
    wide = card(images=(), films=(film(32), film(2)), shuffled_answer="red", correct=False, question="why " * 400)
    cards = [wide, card(), card(films=(film(1),)), card(images=(jpeg(30, 20, "red"),) * 5), card()]
    boxes = card_boxes(cards, top=100)
    assert {box[1] for number, box in enumerate(boxes) if number in (1, 4)} == {100}
    assert [boxes[number][1] for number in (0, 2, 3)] == sorted(boxes[number][1] for number in (0, 2, 3))
    for one, other in ((0, 2), (2, 3), (1, 0)):
        assert boxes[one][3] < boxes[other][1]
    assert all(MARGIN_PX <= box[0] < box[2] <= WIDTH_PX - MARGIN_PX for box in boxes)
    sheet = opened(contact_sheet(cards, NUMBERS, "title"))
    assert sheet.height > boxes[3][3]


@pytest.mark.parametrize("num_frames", [0, 1, 2, 8, 32, 128])
def test_films_of_any_length_are_drawn(num_frames: int) -> None:
    assert opened(contact_sheet([card(films=(film(num_frames),))], NUMBERS, "title")).width == WIDTH_PX


def test_kinds_of_numbers_have_bars_too_and_all_controls_are_told() -> None:
    answers = [
        ScoredAnswer(kind="order", truth="A", correct=True, blind_correct=False, shuffled_correct=True),
        ScoredAnswer(kind="far", truth="2", correct=False, blind_correct=False, scoring="numeric", score=0.6,
                     blind_score=0.1),
    ]  # fmt: skip
    numbers = metrics(answers, num_failed=0)
    order, far = bars(numbers)
    assert order.label == "1.000  (0.207 to 1.000)   exchanged 0.000   shuffled 1.000   guessing 1.000"
    between = f"({numbers['mra_far_low']:.3f} to {numbers['mra_far_high']:.3f})"
    assert far.label == f"0.600 mean relative accuracy  {between}   exchanged 0.100"
    sheet = opened(contact_sheet([card(score=0.6, correct=False), card(films=(film(2),), score=1.0)], numbers, "t"))
    assert sheet.width == WIDTH_PX


@pytest.mark.parametrize("scoring", sorted(MEASURED))
def test_every_mean_has_its_headline_its_legend_and_its_bars(scoring: ScoringRule) -> None:
    answers = [
        ScoredAnswer(kind="sign", truth="x", correct=False, blind_correct=False, scoring=scoring, score=0.6,
                     blind_score=0.1),
    ] * 3  # fmt: skip
    numbers = metrics(answers, num_failed=0)
    called = MEANS[MEASURED[scoring]]
    words = [text.words for text in accuracy_texts(numbers)]
    assert words[:2] == ["0.600", called] and words[3] == "0.100 with images exchanged"
    assert legend(numbers).startswith("3 held-out questions") and "small: the image" in legend(numbers)
    assert "guessing" not in legend(numbers)
    (bar,) = bars(numbers)
    assert bar.label.startswith(f"0.600 {called}  (") and bar.chance is None
    assert opened(contact_sheet([card(score=0.6)], numbers, "title")).width == WIDTH_PX


def test_scores_of_a_benchmark_are_no_kinds() -> None:
    answers = [ScoredAnswer(kind="moving", truth="A", correct=True, blind_correct=None, scoring="choice")] * 3
    numbers = metrics(answers, num_failed=0) | benchmark_scores(answers, BENCHMARKS["site_image"])
    assert [bar.kind for bar in bars(numbers)] == ["moving"]
    assert opened(contact_sheet([], numbers, "title")).width == WIDTH_PX
