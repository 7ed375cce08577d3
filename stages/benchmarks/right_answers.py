"""Reads the right answers of a benchmark's question out of its row, in the form in which its rule compares them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any, Final

from stages.benchmarks.benchmark import CHOICE_RULES, Benchmark, ScoringRule
from stages.conversations.image_references import Record
from stages.conversations.multiple_choice import answer_of, answers_of, plain_text
from stages.conversations.reasons import ConversationReason, UnreadableRecordError

SEVERAL: Final[frozenset[ScoringRule]] = frozenset(
    ("vqa", "anls", "relaxed", "equal", "contains", "contains_formula", "mmmu_open")
)
"""Rules that compare an answer with several right answers."""
_LEADING_LETTER: Final = re.compile(r"\A\(?([A-Z])(?:[.:)]|\s|\Z)")
_YES_OR_NO: Final = {"yes": "Yes", "no": "No", "1": "Yes", "0": "No", "true": "Yes", "false": "No"}


def right_answers(record: Record, benchmark: Benchmark, options: Sequence[str], rule: ScoringRule) -> tuple[str, ...]:
    """The right answers, the one that is shown first; with options one, a letter. Raises `UnreadableRecordError`.

    `C. front-left` and `(C)` are C; where a table gives the option's text, a text that reads like a letter is the text.
    """
    if rule in SEVERAL:
        return answers_of(record)
    value: Any = record.get("answer")
    text = plain_text(value)
    if rule == "yes_no":
        said = _YES_OR_NO.get((text or "").casefold().strip(". "))
        if said is None:
            raise UnreadableRecordError(ConversationReason.NO_ANSWER)
        return (said,)
    if rule == "numeric" and text is not None and not _is_number(text):
        raise UnreadableRecordError(ConversationReason.NO_ANSWER)
    if rule == "final" and isinstance(value, list):
        return (str(value),)  # several right answers, spelled as MMMU's own table spells them
    if text is None or rule not in CHOICE_RULES:
        return (answer_of(record, ()),)
    return (_letter(record, benchmark, options, text),)


def _letter(record: Record, benchmark: Benchmark, options: Sequence[str], text: str) -> str:
    form = benchmark.fields.answer_form
    same = [number for number, option in enumerate(options) if option == text]
    if form == "text" and same:
        return ascii_uppercase[same[0]]
    if form == "number" and text.isdecimal() and int(text) < len(options):
        return ascii_uppercase[int(text)]
    letter = _LEADING_LETTER.match(text)
    if letter and (not options or letter[1] in ascii_uppercase[: len(options)]):
        return letter[1]
    if not options:
        raise UnreadableRecordError(ConversationReason.OPTIONS)
    return answer_of(record, options)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
