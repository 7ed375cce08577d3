"""Scores answers by the rule of their question: equality after normalisation, chosen options, numbers, rules of kits.

Pure functions on plain values; what is made of many scores is in `metrics.py`. By exact match nothing is parsed out of
a longer answer: "the red one" is wrong if the truth is "red". Of a question with options, an answer may give the letter
in one of the ways in which models write it, or the text of the option; where it reasons before it answers, its final
answer counts (`final_answers.py`). Numbers are scored by mean relative accuracy (`numbers.py`). The rules of public
evaluation kits are in `rules/`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from string import ascii_uppercase
from typing import Final

from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.final_answers import final_answer, is_same, last_line
from stages.evaluation.numbers import mean_relative_accuracy, moves_accuracy, number_in
from stages.evaluation.rules.kit_choices import mmmu_choice, vlmevalkit_choice
from stages.evaluation.rules.mmmu_open import mmmu_open_score
from stages.evaluation.rules.short_answers import anls, containment, equality, relaxed_accuracy
from stages.evaluation.rules.vqa_accuracy import vqa_accuracy
from stages.evaluation.rules.yes_no import says_yes

RESERVED_KINDS = frozenset({"low", "high", "blind", "shuffled"})
"""Kinds that would make a metric name ambiguous: `accuracy_low` is the lower bound of `accuracy`."""
UNLISTED_LETTERS: Final = "ABCDEFGHIJ"
"""Letters that an answer may give where the options are not known."""

BY_TRUTHS: Final[Mapping[ScoringRule, Callable[[str, Sequence[str]], float]]] = {
    "vqa": vqa_accuracy,
    "anls": anls,
    "relaxed": relaxed_accuracy,
    "equal": equality,
    "contains": containment,
    "mmmu_open": mmmu_open_score,
}
"""Rules that compare an answer with all truths."""

_CHOICES: Final = (
    re.compile(r"\A\W*([A-Za-z])\W*\Z"),
    re.compile(r"\A\s*\(([A-Z])\)"),
    re.compile(r"\A\s*\**([A-Z])\**[.):]"),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-Z])\b"),
    re.compile(r"(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*\**\(?([A-Z])\)?\**(?![\w'])"),
)
"""How an answer gives a letter, the surest first."""


def normalised(text: str) -> str:
    """The text in NFKC, case folded, with runs of white space as one space and no punctuation at the ends.

    >>> normalised('  "Dark  Red". ')
    'dark red'
    """
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    first, last = 0, len(folded)
    while first < last and _is_trim(folded[first]):
        first += 1
    while last > first and _is_trim(folded[last - 1]):
        last -= 1
    return folded[first:last]


def score(  # noqa: PLR0911  one for each rule
    answer: str, truth: str, options: Sequence[str] | None, rule: ScoringRule, truths: Sequence[str] = ()
) -> float:
    """The score of an answer, from 0 to 1. A truth that is no number scores 0 by rule `numeric`.

    `truths` are all right answers, where a rule takes several; without them `truth` is the only one.
    """
    several = truths or (truth,)
    match rule:
        case "numeric":
            number = number_in(truth)
            return 0.0 if number is None else mean_relative_accuracy(number_in(answer), number)
        case "moves":
            return moves_accuracy(answer, truth)
        case "choice":
            return float(chosen_option(answer, options) == normalised(truth).upper() != "")
        case "vlmevalkit_choice":
            return float(vlmevalkit_choice(answer, options or ()) == truth)
        case "mmmu_choice":
            return float(mmmu_choice(answer, options or ()) == truth)
        case "final":
            marked = final_answer(answer)
            return float(is_same(answer if marked is None else marked, truth))
        case "yes_no":
            return float(says_yes(answer) is says_yes(truth) is not None)
        case "contains_formula":
            return containment(answer, several, is_formula=True)
        case "exact":
            return float(is_correct(answer, truth))
        case _:
            return BY_TRUTHS[rule](answer, several)


def chosen_option(answer: str, options: Sequence[str] | None) -> str | None:
    """The letter of the option that an answer chooses, None where it chooses none; `options` are None if not known.

    It is sought in the final answer where one is marked, then in the last line, then in all of the answer.
    """
    for text in (final_answer(answer), last_line(answer), answer):
        if text is not None:
            chosen = chosen_letter(text, options) if options else letter_in(text, UNLISTED_LETTERS)
            if chosen is not None:
                return chosen
    return None


def is_correct(answer: str, truth: str, options: Sequence[str] | None = None) -> bool:
    """Whether answer and truth are equal after normalisation. An empty answer is never right.

    With `options`, the texts of A, B, ..., the truth is a letter, and the answer is right if it chooses that option.
    """
    if options:
        return chosen_letter(answer, options) == normalised(truth).upper() != ""
    return normalised(answer) == normalised(truth) != ""


def chosen_letter(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the option that an answer chooses, None where it chooses none or it cannot be told.

    An answer may be the letter (`B`, `(b)`, `B.`), begin with it (`B. a cat`, `(B) a cat`), say it behind "answer is",
    "answer:" or in `\\boxed{}`, or be the text of one option alone.

    >>> chosen_letter("The answer is (B).", ["a dog", "a cat"])
    'B'
    """
    letters = ascii_uppercase[: len(options)]
    plain = normalised(answer)
    same = [letter for letter, option in zip(letters, options, strict=False) if normalised(option) == plain != ""]
    return same[0] if len(same) == 1 else letter_in(answer, letters)


def letter_in(answer: str, letters: str) -> str | None:
    """The one of these letters that an answer gives, None where it gives none or it cannot be told."""
    for pattern in _CHOICES:
        chosen = {match[1].upper() for match in pattern.finditer(answer)} & set(letters)
        if len(chosen) == 1:
            return chosen.pop()
    return None


def is_metric_name(kind: str) -> bool:
    """Whether a kind can be part of a metric name, such as `accuracy_colour`, without ambiguity."""
    plain = kind.replace("_", "").replace("-", "")
    return plain.isascii() and plain.isalnum() and not RESERVED_KINDS & set(kind.split("_"))


def _is_trim(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")
