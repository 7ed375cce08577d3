"""When an answer is right, by each rule, and which kinds can name a metric."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.scoring import chosen_letter, is_correct, is_metric_name, normalised, score


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("red", "red"),
        (" Red.\n", "red"),
        ('"RED"', "red"),
        ("dark\t red", "Dark Red"),
        ("\uff32\uff25\uff24", "red"),
        ("Straße", "STRASSE"),
        ("红色。", "红色"),
        ("it's", "it's"),
    ],
)
def test_right_means_equal_but_for_case_space_width_and_punctuation_around(answer: str, truth: str) -> None:
    assert is_correct(answer, truth)


@pytest.mark.parametrize(
    ("answer", "truth"),
    [
        ("the red one", "red"),
        ("red or blue", "red"),
        ("", ""),
        ("...", "?"),
        ("1", "one"),
        ("3.5", "35"),
        ("re d", "red"),
    ],
)
def test_nothing_is_parsed_out_of_a_longer_answer_and_nothing_is_no_answer(answer: str, truth: str) -> None:
    assert not is_correct(answer, truth)


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)


@pytest.mark.parametrize("kind", ["colour", "image_caption", "ocr-2", "3d", "object_shuffle"])
def test_a_kind_names_a_metric(kind: str) -> None:
    assert is_metric_name(kind)


@pytest.mark.parametrize(
    "kind", ["", "blind", "low", "colour_low", "blind_colour", "shuffled", "a b", "größe", "a/b", "__"]
)
def test_a_kind_that_could_be_mistaken_for_another_metric_is_none(kind: str) -> None:
    assert not is_metric_name(kind)


LETTERS = ["a dog", "a cat", "a cup"]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("b", "B"), (" (b). ", "B"), ("B.", "B"), ("B. a cat", "B"), ("(B) a cat", "B"), ("B) a cat", "B"),
        ("**B**", "B"), ("a cat", "B"), ("A cat.", "B"), ("The answer is B.", "B"), ("the correct answer is (B)", "B"),
        ("Answer: B", "B"), ("I think the answer is **B**", "B"), ("so \\boxed{B}", "B"), ("\\boxed{\\text{B}}", "B"),
        ("Option C", "C"), ("", None), ("D", None), ("a mouse", None), ("A bird, maybe", None),
        ("a dog and a cat", None),
        ("The answer is A or the answer is B", None), ("Because the answer isn't there", None),
    ],
)  # fmt: skip
def test_the_option_that_an_answer_chooses(answer: str, letter: str | None) -> None:
    assert chosen_letter(answer, LETTERS) == letter
    assert is_correct(answer, "B", LETTERS) == (letter == "B")


@pytest.mark.parametrize(
    ("answer", "truth", "options", "rule", "expected"),
    [
        ("`B`", "B", None, "choice", 1.0),
        ("(D) 1633", "D", None, "choice", 1.0),
        ("the second", "B", None, "choice", 0.0),
        ("B. a cat", "B", ["a dog", "a cat"], "choice", 1.0),
        ("2.3 meters", "2.0", None, "numeric", 0.8),
        ("far", "2.0", None, "numeric", 0.0),
        ("red.", "Red", None, "exact", 1.0),
        ("A. is too far and B. is behind.\nThe answer is C.", "C", ["x", "y", "z"], "choice", 1.0),
        ("A. The first.\nAnswer: \\boxed{B}", "B", ["x", "y"], "choice", 1.0),
        ("It is near the door.\n\nB", "B", None, "choice", 1.0),
        ("It costs 5.\nANSWER: $1,200", "1200", None, "final", 1.0),
        ("ANSWER: red", "['crimson', 'Red']", None, "final", 1.0),
        ("It may be red.", "red", None, "final", 0.0),
        ("move_up:1", "move_up:1", None, "moves", 1.0),
    ],
)
def test_an_answer_is_scored_by_the_rule_of_its_question(
    answer: str, truth: str, options: list[str] | None, rule: ScoringRule, expected: float
) -> None:
    assert score(answer, truth, options, rule) == expected


@pytest.mark.parametrize(
    ("answer", "truths", "rule", "expected"),
    [
        ("The two dogs", ["2 dogs"] * 3 + ["cat"] * 7, "vqa", 0.9),
        ("Brooklin", ["queens", "brooklyn"], "anls", 0.875),
        ("95", ["100"], "relaxed", 1.0),
        (" RED", ["red"], "equal", 1.0),
        ("it says STOP", ["stop", "go"], "contains", 1.0),
        ("x^2 + 1", ["x ^ 2"], "contains_formula", 1.0),
        ("So it is 1,200.", ["1200"], "mmmu_open", 1.0),
        ("Yes, it is.", ["Yes"], "yes_no", 1.0),
        ("It is not", ["No"], "yes_no", 0.0),
    ],
)
def test_a_rule_of_the_kits_takes_all_truths(
    answer: str, truths: list[str], rule: ScoringRule, expected: float
) -> None:
    assert score(answer, truths[0], None, rule, truths) == pytest.approx(expected)


def test_the_kits_read_letters_by_rules_of_their_own() -> None:
    long = "(A) is wrong, so that it must be (B)"
    assert score(long, "B", ["a dog", "a cat"], "mmmu_choice") == 1.0
    assert score(long, "B", ["a dog", "a cat"], "vlmevalkit_choice") == 0.0, "two letters, and no `answer is`"
    assert score("b", "B", ["a dog", "a cat"], "choice") == 1.0
    assert score("b", "B", ["a dog", "a cat"], "vlmevalkit_choice") == 0.0, "the kit reads capitals"
