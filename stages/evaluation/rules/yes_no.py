"""Reads yes or no out of an answer, and counts them as POPE does: precision, recall and F1 of "yes"."""

from __future__ import annotations

from collections.abc import Sequence

from stages.evaluation.rules.vqa_accuracy import without_punctuation


def says_yes(answer: str) -> bool | None:
    """Whether an answer says yes; None where it says neither yes nor no, or both.

    >>> says_yes("Yes, there is."), says_yes("no"), says_yes("Yes and no"), says_yes("I know")
    (True, False, None, None)
    """
    words = without_punctuation(answer.lower()).split()
    return None if ("yes" in words) == ("no" in words) else "yes" in words


def yes_scores(truths: Sequence[bool], said: Sequence[bool | None]) -> dict[str, float]:
    """Precision, recall and F1 of the answer "yes", and the share of answers that are yes; 0 where nothing is counted.

    An answer that says neither is not a yes: it costs recall where yes is right, and precision nothing.
    """
    right = sum(truth and answer is True for truth, answer in zip(truths, said, strict=True))
    num_yes, num_true = sum(answer is True for answer in said), sum(truths)
    precision = right / num_yes if num_yes else 0.0
    recall = right / num_true if num_true else 0.0
    f1 = 2 * precision * recall / (precision + recall) if right else 0.0
    return {"precision": precision, "recall": recall, "f1": f1, "yes_share": num_yes / len(said) if said else 0.0}
