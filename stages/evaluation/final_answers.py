"""Finds the final answer of a model that reasons before it answers, and compares it with a truth in words or numbers.

A final answer is what stands in the last `\\boxed{}`, in `<answer>`, or behind the last `Answer:` of a line, whichever
comes last, sought behind `</think>` if there is one.
"""

from __future__ import annotations

import ast
import re
import unicodedata
from typing import Final

NUM_DECIMALS: Final = 2
"""Decimals to which two numbers are compared, as MMMU's own evaluation does."""
_END_OF_THOUGHT: Final = re.compile("</think>", re.IGNORECASE)
_MARKS: Final = (
    re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}"),
    re.compile(r"<answer>(.*?)(?:</answer>|\Z)", re.IGNORECASE | re.DOTALL),
    re.compile(r"\banswer\s*:\**[ \t]*(\S[^\n]*)", re.IGNORECASE),
)


def after_thought(answer: str) -> str:
    """An answer without the thoughts before it."""
    ends = [match.end() for match in _END_OF_THOUGHT.finditer(answer)]
    return answer[ends[-1] :] if ends else answer


def final_answer(answer: str) -> str | None:
    """What an answer marks as its final answer; None where it marks nothing.

    >>> final_answer("So it is 4.\\nANSWER: 4 apples"), final_answer("It is 4.")
    ('4 apples', None)
    """
    text = after_thought(answer)
    found = [match for pattern in _MARKS for match in pattern.finditer(text)]
    return max(found, key=lambda match: match.start())[1].strip() if found else None


def last_line(answer: str) -> str:
    """The last line of an answer that says something; "" for an empty answer."""
    lines = [line.strip() for line in after_thought(answer).splitlines() if line.strip()]
    return lines[-1] if lines else ""


def is_same(answer: str, truth: str) -> bool:
    """Whether an answer in words or a number says the same as the truth, or as one of several truths in a list.

    Both are compared in lower case, without punctuation at their ends; numbers to two decimals, without signs of
    currency, percent and thousands.

    >>> is_same("$1,200.00", "1200"), is_same("Red.", "['red', 'crimson']"), is_same("reddish", "red")
    (True, True, False)
    """
    said = _plain(answer)
    return any(said == _plain(one) != "" for one in _truths(truth))


def _truths(truth: str) -> list[str]:
    if truth.strip().startswith("["):
        try:
            several = ast.literal_eval(truth.strip())
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return [truth]
        if isinstance(several, list) and several:
            return [str(one) for one in several]
    return [truth]


def _plain(text: str) -> str | float:
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    bare = words.strip("$€£%.,;:!?'\"`*() ").replace(",", "")
    try:
        return round(float(bare), NUM_DECIMALS)
    except ValueError:
        return words.strip(".,;:!?'\"`*() ")
