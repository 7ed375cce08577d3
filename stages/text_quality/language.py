"""Tells the language of a text, by a model that lies in a package of Python: py3langid, 140 languages.

Owns how much of a text is looked at, when no answer is given, and the rounding of the score. Which languages are wanted
is known to the recipes that ask. The model takes seconds to load, once a process; a text takes some milliseconds,
however long it is.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

WINDOW_CHARS: Final = 1000
"""Length of each of three stretches of a text that are looked at: its beginning, its middle and its end."""
MIN_LETTER_BYTES: Final = 12
"""Letters that a text must have for an answer, as bytes of UTF-8: 12 of Latin script, 4 of Chinese."""
SCORE_DIGITS: Final = 3
"""Decimal places of a score. Its last bits differ between machines, and a score decides."""


class Language(NamedTuple):
    """The language of a text."""

    code: str
    """ISO 639-1 code, such as `en`, or 639-3 where there is no other; `zxx` is what no language is."""
    score: float
    """Probability of it, from 0 to 1, to three decimal places; low for short texts, whatever their language."""


def language_of(text: str) -> Language | None:
    """The most likely language of a text; None where it has fewer than 12 bytes of letters.

    `a red dog on the left of a green square` is `en` with 0.985; `The cat` gets no answer.
    """
    looked_at = shown_to_model(text)
    letters = "".join(filter(str.isalpha, looked_at))
    if len(letters.encode()) < MIN_LETTER_BYTES:
        return None
    code, score = _identifier().classify(looked_at)
    return Language(code, round(float(score), SCORE_DIGITS))


def shown_to_model(text: str) -> str:
    """The stretches of a text by which its language is told: all of it, or its beginning, middle and end."""
    if len(text) <= 3 * WINDOW_CHARS:
        return text
    middle = (len(text) - WINDOW_CHARS) // 2
    return f"{text[:WINDOW_CHARS]}\n{text[middle : middle + WINDOW_CHARS]}\n{text[-WINDOW_CHARS:]}"


@cache
def known_languages() -> frozenset[str]:
    """The codes that the model knows."""
    return frozenset(_identifier().labels)


@cache
def _identifier() -> LanguageIdentifier:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
