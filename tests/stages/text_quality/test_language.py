"""The language of real sentences is told, of little or of none it is not, and long texts cost what short ones do."""

import pytest

from stages.text_quality.language import WINDOW_CHARS, known_languages, language_of, shown_to_model


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a red dog on the left of a green square", "en"),
        ("Das ist ein Hund, und er liegt im Gras.", "de"),
        ("Le chat est sur la table, et le chien dort dans le jardin.", "fr"),
        ("赤い犬が草の上にいる", "ja"),
        ("一只红色的狗站在绿色的草地上", "zh"),
        ("Большая собака лежит на зелёной траве", "ru"),
        ("แมวสีแดงนอนอยู่บนเก้าอี้", "th"),
    ],
)
def test_the_language_of_a_sentence_is_told(text: str, code: str) -> None:
    found = language_of(text)
    assert found is not None and found.code == code and 0.5 < found.score <= 1
    assert found.score == round(found.score, 3)
    assert code in known_languages()


@pytest.mark.parametrize("text", ["", "The cat", "12 34 56 78 90 12 34 56", "!!! --- ???", "狗狗狗"])
def test_no_answer_is_given_where_there_are_few_letters(text: str) -> None:
    assert language_of(text) is None


def test_a_long_text_is_looked_at_in_three_places() -> None:
    english, german = "The dog lies in the grass. ", "Der Hund liegt im Gras. "
    text = english * 1000 + german * 100_000 + english * 1000
    shown = shown_to_model(text)
    assert len(shown) == 3 * WINDOW_CHARS + 2
    assert shown.startswith(english) and shown.endswith(english) and german in shown
    found = language_of(text)
    assert found is not None and found.code == "en"
    assert shown_to_model("short") == "short"
