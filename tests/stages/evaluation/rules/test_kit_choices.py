"""The option that an answer chooses, as VLMEvalKit and as MMMU's authors read it, on worked examples."""

import pytest

from stages.evaluation.rules.kit_choices import mmmu_choice, vlmevalkit_choice

OPTIONS = ["a dog", "a cat", "a cup"]


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("B. a cat", "B"), ("(B)", "B"), ("The answer is B.", "B"), ("b", None), ("a cat", "B"),
        ("a cat or a dog", None), ("It is B because it has whiskers and a long tail", None),
        ("The correct answer is **C**. Here is why it cannot be a dog: dogs bark", "C"),
        ("A or B", None), ("Z", "Z"), ("", None), ("Cannot determine the answer from this", "Z"),
        ("Failed to obtain answer via API", None), ("D", None), ("a cup that is very very very very long", None),
    ],
)  # fmt: skip
def test_as_vlmevalkit_reads_it(answer: str, letter: str | None) -> None:
    assert vlmevalkit_choice(answer, OPTIONS) == letter


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"), ("(B)", "B"), ("(A) or (C)", "C"), ("A then B", "B"), ("Answer: C.", "C"), ("b", None),
        ("C.", "C"), ("a cat", None), ("I think that this is a cat, and not a dog", "A"), ("", None),
        ("A.B.C", "C"), ("It may be a bird of some sort", None),
    ],
)  # fmt: skip
def test_as_the_authors_of_mmmu_read_it(answer: str, letter: str | None) -> None:
    assert mmmu_choice(answer, OPTIONS) == letter
