"""Reads the chosen option out of an answer, by the rule of VLMEvalKit and by that of MMMU's authors.

Both take the letter first and the text of an option only where there is no letter. Neither asks another model, and
neither guesses: where MMMU's authors draw an option at random, the answer is wrong here, so that a score can be had
again.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Final

LAST_WORDS: Final = 5
"""A lone letter counts where it is one of the last this many words: before, `A` is an article."""
MIN_WORDS: Final = 6
"""Words from which on MMMU's rule looks for the texts of options."""
REFUSED: Final = "Z"
"""What VLMEvalKit calls an answer that chooses none."""
_REFUSALS: Final = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
_FAILED: Final = "Failed to obtain answer via API"
_AS_SPACES: Final = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
_SAID: Final = re.compile(r"answer\s+is\s+\**([ABCD])\**", re.IGNORECASE)
_MMMU_TRIMS: Final = (",", ".", "!", "?", ";", ":", "'")


def vlmevalkit_choice(answer: str, options: Sequence[str]) -> str | None:
    """The letter that VLMEvalKit reads without asking a model: None where it reads none.

    >>> vlmevalkit_choice("The answer is (B).", ["a dog", "a cat"]), vlmevalkit_choice("A cat", ["a dog", "a cat"])
    ('B', 'A')
    """
    letters = ascii_uppercase[: len(options)]
    if _FAILED in answer:
        return _named_option(answer, options)
    if any(refusal in answer for refusal in _REFUSALS):
        return REFUSED
    words = answer.translate(_AS_SPACES).split()
    found = [letter for letter in letters if letter in words]
    if len(found) == 1 and words.index(found[0]) > len(words) - LAST_WORDS:
        return found[0]
    if not found and REFUSED in words:
        return REFUSED
    said = _SAID.search(answer)
    if said and said[1].upper() in letters:
        return said[1].upper()
    return _named_option(answer, options)


def mmmu_choice(answer: str, options: Sequence[str]) -> str | None:
    """The letter by the rule of MMMU's authors; None where they would draw one at random.

    Of several letters the last one counts: in brackets, else before a space, else before a period; else the option
    whose text comes last.

    >>> mmmu_choice("(A) is wrong, so it must be (B)", ["a dog", "a cat"])
    'B'
    """
    for mark in _MMMU_TRIMS:
        answer = answer.strip(mark)
    text, letters = f" {answer} ", ascii_uppercase[: len(options)]
    for found, place in (("({})", "({})"), ("{} ", " {} "), ("{}.", " {} ")):
        there = [letter for letter in letters if found.format(letter) in text]
        if there:
            return max(there, key=lambda letter: text.rfind(place.format(letter)))
    if len(text.split()) < MIN_WORDS:
        return None
    folded = text.lower()
    named = [(folded.rfind(option.lower()), letter) for letter, option in zip(letters, options, strict=True)]
    last = max((place for place, _ in named), default=-1)
    return next((letter for place, letter in named if place == last), None) if last >= 0 else None


def _named_option(answer: str, options: Sequence[str]) -> str | None:
    """The letter of the one option whose text stands in an answer that is not much longer than all options."""
    said = answer.lower()
    if len(said) > 2 * sum(map(len, options)):
        return None
    named = [letter for letter, option in zip(ascii_uppercase, options, strict=False) if option.lower() in said]
    return named[0] if len(named) == 1 else None
