"""VQA accuracy on worked examples: spelling, agreement of ten people, a single truth."""

import pytest

from stages.evaluation.rules.vqa_accuracy import vqa_accuracy, vqa_spelling, without_punctuation


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("The red ball", "red ball"),
        ("none", "0"),
        ("Ten!", "10"),
        ("eleven", "eleven"),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldntve", "couldntve"),
        ("somebody'd", "somebodyd"),
        ("12,500", "12500"),
        ("red,blue", "red blue"),
        ("red, blue", "red blue"),
        ("3.14", "3.14"),
        ("St. John", "st john"),
        ("e-mail\n me", "e mail me"),
        ("no. 5.", "no 5."),
        ("  a  ", ""),
    ],
)
def test_a_text_is_spelled_as_the_public_script_spells_it(text: str, spelled: str) -> None:
    assert vqa_spelling(text) == spelled


def test_a_mark_inside_of_a_word_becomes_a_space_and_one_beside_a_space_vanishes() -> None:
    assert without_punctuation("a/b") == "a b"
    assert without_punctuation("a/b / c") == "ab  c", "the mark stands apart once, so it vanishes everywhere"
    assert without_punctuation("a/b 1,000") == "ab 1000", "a number with commas: every mark vanishes"


@pytest.mark.parametrize(("num_same", "score"), [(0, 0.0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1.0), (10, 1.0)])
def test_ten_people_and_how_many_of_them_agree(num_same: int, score: float) -> None:
    truths = ["dog"] * num_same + [f"word{number}" for number in range(10 - num_same)]
    assert vqa_accuracy("A dog.", truths) == pytest.approx(score)


def test_one_truth_is_right_or_wrong() -> None:
    assert vqa_accuracy("Two", ["2"]) == 1.0
    assert vqa_accuracy("Two", ["3"]) == 0.0
