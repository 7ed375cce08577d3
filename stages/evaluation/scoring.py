"""Scores answers: exact match after normalisation, chosen options, numbers; 95% intervals, the accuracy of guessing.

Pure functions on plain values. By exact match nothing is parsed out of a longer answer: "the red one" is wrong if the
truth is "red". Of a question with options, an answer may give the letter in one of the ways in which models write it,
or the text of the option; where it reasons before it answers, its final answer counts (`final_answers.py`). Numbers are
scored by mean relative accuracy (`numbers.py`), and enter no accuracy.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final

from stages.benchmarks.benchmark import ScoringRule
from stages.evaluation.final_answers import final_answer, is_same, last_line
from stages.evaluation.numbers import mean_relative_accuracy, moves_accuracy, number_in

Z_95 = 1.959963984540054
"""Standard normal quantile at 97.5%, for two-sided 95% intervals."""

RESERVED_KINDS = frozenset({"low", "high", "blind", "shuffled"})
"""Kinds that would make a metric name ambiguous: `accuracy_low` is the lower bound of `accuracy`."""
MEASURED: Final[frozenset[ScoringRule]] = frozenset(("numeric", "moves"))
"""Scoring rules by which an answer is more or less right, and not right or wrong."""
UNLISTED_LETTERS: Final = "ABCDEFGHIJ"
"""Letters that an answer may give where the options are not known."""

_CHOICES: Final = (
    re.compile(r"\A\W*([A-Za-z])\W*\Z"),
    re.compile(r"\A\s*\(([A-Z])\)"),
    re.compile(r"\A\s*\**([A-Z])\**[.):]"),
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?([A-Z])\b"),
    re.compile(r"(?i:answer|option|choice)(?i:\s+is)?\s*:?\s*\**\(?([A-Z])\)?\**(?![\w'])"),
)
"""How an answer gives a letter, the surest first."""


@dataclass(frozen=True, kw_only=True)
class ScoredAnswer:
    """One answered question."""

    kind: str
    truth: str
    correct: bool
    blind_correct: bool | None
    """Whether the blind control was right; None if it could not be asked."""
    shuffled_correct: bool | None = None
    """Whether the answer to shuffled frames was right; None where it was not asked."""
    scoring: ScoringRule = "exact"
    """How the answers are scored."""
    score: float = 0.0
    """Score of the answer, from 0 to 1, by a rule of `MEASURED`; not used by other rules."""
    blind_score: float | None = None
    """Score of the blind control by such a rule."""
    shuffled_score: float | None = None
    """Score of the answer to shuffled frames by such a rule."""
    num_options: int | None = None
    """Options of the question; None where they are not known."""

    @property
    def value(self) -> float:
        """The score of the answer: 1 where it is right and 0 where it is wrong, or what it scores by another rule."""
        return self.score if self.scoring in MEASURED else float(self.correct)


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


def score(answer: str, truth: str, options: Sequence[str] | None, rule: ScoringRule) -> float:
    """The score of an answer, from 0 to 1. A truth that is no number scores 0 by rule `numeric`."""
    match rule:
        case "numeric":
            number = number_in(truth)
            return 0.0 if number is None else mean_relative_accuracy(number_in(answer), number)
        case "moves":
            return moves_accuracy(answer, truth)
        case "choice":
            return float(chosen_option(answer, options) == normalised(truth).upper() != "")
        case "final":
            marked = final_answer(answer)
            return float(is_same(answer if marked is None else marked, truth))
        case "exact":
            return float(is_correct(answer, truth))


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


def wilson_interval(num_correct: int, num_asked: int) -> tuple[float, float]:
    """The 95% interval of a proportion (Wilson, JASA 1927), which is valid near 0 and 1: 10 of 10 gives 0.72 to 1."""
    if num_asked == 0:
        return 0.0, 1.0
    share = num_correct / num_asked
    spread = Z_95 * math.sqrt(share * (1 - share) / num_asked + Z_95**2 / (4 * num_asked**2))
    centre = share + Z_95**2 / (2 * num_asked)
    scale = 1 + Z_95**2 / num_asked
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def metrics(answers: Sequence[ScoredAnswer], *, num_failed: int) -> dict[str, float]:
    """All metrics of an evaluation, over all questions and for each kind.

    `accuracy`, `accuracy_low`, `accuracy_high` (95%), `accuracy_blind`, `accuracy_shuffled`, `chance`, and the same for
    each kind: `accuracy_colour`, `accuracy_colour_low`, `accuracy_blind_colour`, `chance_colour`. Answers that are
    numbers have `mra`, `mra_blind`, `mra_shuffled` and `mra_distance` instead: mean relative accuracies. Failed
    questions are counted in `num_failed` and enter no metric. A metric over no questions is left out.
    """
    by_kind: dict[str, list[ScoredAnswer]] = defaultdict(list)
    for scored in answers:
        by_kind[scored.kind].append(scored)
    numbers: dict[str, float] = {"num_questions": len(answers) + num_failed, "num_failed": num_failed}
    marked = {kind: marked_answers(group) for kind, group in by_kind.items()}
    num_marked = sum(map(len, marked.values()))
    if num_marked:
        numbers |= _accuracies(marked_answers(answers), "")
        numbers["chance"] = sum(chance(group) * len(group) for group in marked.values() if group) / num_marked
    numbers |= _relative_accuracies(answers, "")
    for kind, group in sorted(by_kind.items()):
        if marked[kind]:
            numbers |= _accuracies(marked[kind], f"_{kind}")
            numbers[f"chance_{kind}"] = chance(marked[kind])
        numbers |= _relative_accuracies(group, f"_{kind}")
        numbers[f"num_questions_{kind}"] = len(group)
    return numbers


def marked_answers(answers: Iterable[ScoredAnswer]) -> list[ScoredAnswer]:
    """Those that are right or wrong."""
    return [scored for scored in answers if scored.scoring not in MEASURED]


def chance(answers: Sequence[ScoredAnswer]) -> float:
    """Accuracy of always giving the most frequent truth, on questions of one kind."""
    truths = Counter(normalised(scored.truth) for scored in answers)
    return max(truths.values()) / len(answers)


def kinds_of(numbers: Mapping[str, float]) -> list[str]:
    """The kinds in the result of `metrics` whose answers are right or wrong, in order."""
    return [name.removeprefix("chance_") for name in numbers if name.startswith("chance_")]


def _accuracies(answers: Sequence[ScoredAnswer], suffix: str) -> dict[str, float]:
    right, num_asked = _tally(scored.correct for scored in answers)
    blind_right, num_blind = _tally(scored.blind_correct for scored in answers if scored.blind_correct is not None)
    low, high = wilson_interval(right, num_asked)
    numbers = {f"accuracy{suffix}": right / num_asked, f"accuracy{suffix}_low": low, f"accuracy{suffix}_high": high}
    if num_blind:
        numbers[f"accuracy_blind{suffix}"] = blind_right / num_blind
    shuffled = [scored.shuffled_correct for scored in answers if scored.shuffled_correct is not None]
    if shuffled:
        numbers[f"accuracy_shuffled{suffix}"] = sum(shuffled) / len(shuffled)
    return numbers


def _relative_accuracies(answers: Sequence[ScoredAnswer], suffix: str) -> dict[str, float]:
    measured = [scored for scored in answers if scored.scoring in MEASURED]
    columns = {
        "mra": [scored.score for scored in measured],
        "mra_blind": [scored.blind_score for scored in measured if scored.blind_score is not None],
        "mra_shuffled": [scored.shuffled_score for scored in measured if scored.shuffled_score is not None],
    }
    return {f"{name}{suffix}": sum(scores) / len(scores) for name, scores in columns.items() if scores}


def _tally(outcomes: Iterable[bool]) -> tuple[int, int]:
    """The number of true outcomes, and of all."""
    counts = Counter(outcomes)
    return counts[True], counts.total()


def _is_trim(character: str) -> bool:
    return character == " " or unicodedata.category(character).startswith("P")
