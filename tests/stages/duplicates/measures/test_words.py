"""Words are told apart in every script, and runs of them are found wherever they stand."""

import pytest

from stages.duplicates.measures.words import run_digests, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A RED cat, 2 dogs.", ["a", "red", "cat", "2", "dogs"]),
        ("snake_case don't", ["snake", "case", "don", "t"]),
        ("Ünïcode \ufb01t", ["ünïcode", "fit"]),
        ("一只red猫", ["一", "只", "red", "猫"]),
        ("красная кошка", ["красная", "кошка"]),
        ("... !?", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_a_run_has_one_digest_wherever_it_stands() -> None:
    question = run_digests(words_of("How many red cats sit on the mat?"), 4)
    caption = run_digests(words_of("look: HOW MANY red cats there are"), 4)
    assert len(question) == 5 and len(set(question)) == 5
    assert set(question) & set(caption) == {question[0]}
    assert run_digests(["a", "b"], 3) == []
