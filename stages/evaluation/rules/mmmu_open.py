"""Scores an open answer by the rule of MMMU's authors (Yue et al. 2024): the truth is sought in its key phrases.

A key phrase is the shortest end of a line behind a word such as "is", "so" or "answer"; of the last line also behind an
equals sign; the whole answer where there is none. Numbers in key phrases count as answers of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeAlias

Said: TypeAlias = str | float
"""A text in lower case, or a number to two decimals."""

_LEADS: Final = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")
_TRIVIAL: Final = frozenset(":,.!?;'")
_THOUSANDS: Final = r"\b\d{1,3}(?:,\d{3})+\b"
_SCIENTIFIC: Final = r"\d+(?:\.\d+)?e[+-]?\d+"
_PLAIN: Final = r"(?:\d*\.\d+|\d+\b)(?!e[+-]?\d|[,\d])"
_NUMBERS: Final = tuple(re.compile("-?" + one) for one in (_THOUSANDS, _SCIENTIFIC, _PLAIN))
"""Numbers as key phrases spell them, which are in lower case; each way of writing is sought by itself."""


def mmmu_open_score(answer: str, truths: Sequence[str]) -> float:
    """1 where a key phrase has one of the truths in it, or is the same number to two decimals.

    >>> mmmu_open_score("So the total is $1,200.", ["1200"]), mmmu_open_score("It may be 7 or 8.", ["9"])
    (1.0, 0.0)
    """
    right = [one for truth in truths for one in _said(truth)]
    texts = [one for one in right if isinstance(one, str)]
    return float(
        any(
            any(text in said for text in texts) if isinstance(said, str) else said in right
            for said in answers_in(answer)
        )
    )


def answers_in(answer: str) -> set[Said]:
    """All that an answer may be taken to say: its key phrases, and the numbers in them.

    >>> answers_in("The speed is 12.5 m/s") == {"12.5 m/s", 12.5}
    True
    """
    phrases = key_phrases(answer)
    numbers = [number for phrase in phrases for pattern in _NUMBERS for number in pattern.findall(phrase)]
    return {one for text in [*phrases, *numbers] for one in _said(text)}


def key_phrases(answer: str) -> list[str]:
    """The shortest end of each line behind a word that leads to an answer; the whole answer where no line has one."""
    text = answer.strip().strip(".").lower()
    return list(_line_ends(text.split("\n"))) or [text]


def _line_ends(lines: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        shortest = ""
        for lead in (*_LEADS, "=") if number == len(lines) else _LEADS:
            if lead in line:
                end = line.split(lead)[-1].strip()
                shortest = end if not shortest or len(end) < len(shortest) else shortest
        if shortest and shortest not in _TRIVIAL:
            yield shortest


def _said(text: str) -> list[Said]:
    plain = text.strip()
    try:
        return [round(float(plain.replace(",", "")), 2)]
    except ValueError:
        folded = plain.lower()
    # A letter by itself is sought with a space beside it, so that "a" is not found in "cat".
    return [f" {folded}", f"{folded} "] if len(folded) == 1 else [folded]
