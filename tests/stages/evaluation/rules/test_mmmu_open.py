"""Open answers as MMMU's authors score them, on worked examples."""

import pytest

from stages.evaluation.rules.mmmu_open import answers_in, key_phrases, mmmu_open_score


@pytest.mark.parametrize(
    ("answer", "phrases"),
    [
        ("The answer is 5.", ["5"]),
        ("x = 5", ["5"]),
        ("x = 5\nso it is y", ["y"]),
        ("24", ["24"]),
        ("First it is red\nthen it is blue", ["red", "blue"]),
        ("it is :", ["it is :"]),
    ],
)
def test_key_phrases(answer: str, phrases: list[str]) -> None:
    assert key_phrases(answer) == phrases


def test_numbers_in_phrases_are_answers_of_their_own() -> None:
    assert answers_in("The cost is $1,234.56 or 1e3") >= {1000.0}
    assert {1234.0, 12.0} <= answers_in("It is 1,234 in 12 days")
    assert answers_in("c") == {" c", "c "}


@pytest.mark.parametrize(
    ("answer", "truths", "score"),
    [
        ("The answer is 5.004", ["5"], 1.0),
        ("The answer is 5.02", ["5"], 0.0),
        ("So the colour is dark red", ["red"], 1.0),
        ("So the colour is dark red", ["crimson", "Dark"], 1.0),
        ("The colour is blue", ["red"], 0.0),
        ("It is the cat", ["a"], 0.0),
        ("It is a cat", ["a"], 1.0),
        ("", ["5"], 0.0),
        ("answer 1,200", ["1200"], 1.0),
    ],
)
def test_scores(answer: str, truths: list[str], score: float) -> None:
    assert mmmu_open_score(answer, truths) == score
