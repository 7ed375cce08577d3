"""Writes a question of an evaluation set as a prompt, with its options and its right answer.

Owns the form of the prompt, which is that of VLMEvalKit (open-compass/VLMEvalKit, `vlmeval/dataset/image_mcq.py`), so
that a score can be compared with the scores that people publish with it:

    Hint: {hint}
    Question: {question}
    Options:
    A. {first option}
    B. {second option}
    Please select the correct answer from the options above.

A question without options is asked in its own words. Pictures come before the text; `<image 1>` in it stands for the
first of them, as MMMU writes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, Final

from stages.conversations.image_references import Record, listed, literal_list
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.origins.clean_text import TextEncodingError, clean_text

CHOICE_ENDING: Final = "Please select the correct answer from the options above."
"""What VLMEvalKit writes behind the options."""
EMPTY_WORDS: Final = frozenset({"", "nan"})
"""Values of a column of text, in lower case, that mean that there is none: `nan` is how pandas spells a null."""
_NUMBERED_PICTURE: Final = re.compile(r"<image[ _](\d{1,2})>")


@dataclass(frozen=True, slots=True)
class AskedQuestion:
    """A question as it is asked."""

    prompt: str
    """All that is said to the model, without its pictures."""
    answer: str
    """The right answer: the letter of an option, or text."""
    options: tuple[str, ...] | None
    """Texts of the options A, B, ..., or None for a question without options."""


def ask(record: Record, choice_ending: str, open_ending: str) -> AskedQuestion:
    """The prompt of a record, its options and its right answer. Raises `UnreadableRecordError`."""
    question, hint = plain_text(record.get("question")), plain_text(record.get("hint"))
    if question is None:
        raise UnreadableRecordError(ConversationReason.SCHEMA)
    options = options_of(record)
    if not options:
        lines = [question, open_ending]
    else:
        if len(options) < 2 or len(options) > len(ascii_uppercase):
            raise UnreadableRecordError(ConversationReason.OPTIONS)
        spelled = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False)]
        lines = [f"Hint: {hint}" if hint else "", f"Question: {question}", "Options:", *spelled, choice_ending]
    prompt = "\n".join(line for line in lines if line)
    return AskedQuestion(prompt, answer_of(record, options), options or None)


def options_of(record: Record) -> tuple[str, ...]:
    """The options of a record: its columns A, B, ..., or its list `options` or `choices`; () where it has none.

    Options end at the first letter without text, as a table of questions with three and four options has it.
    """
    columns = [plain_text(record.get(letter)) for letter in ascii_uppercase]
    end = columns.index(None) if None in columns else len(columns)
    if end:
        return tuple(text for text in columns[:end] if text is not None)
    for name in ("options", "choices"):
        value = record.get(name)
        texts = [plain_text(_worded(one)) for one in (_list(value) if value is not None else [])]
        if texts:
            if None in texts:
                raise UnreadableRecordError(ConversationReason.OPTIONS)
            return tuple(_without_letter(str(text), number) for number, text in enumerate(texts))
    return ()


def answer_of(record: Record, options: Sequence[str]) -> str:
    """The right answer: with options a letter, however the record gives it. Raises `UnreadableRecordError`.

    A record may give the letter (`B`, `(b)`), the number of the option counted from 0, or its text; without options the
    text, or the most frequent of several answers.
    """
    value = record.get("answer")
    several = _list(value if isinstance(value, list | tuple) else record.get("answers") if value is None else None)
    if several:
        texts = [text for one in several if (text := plain_text(_worded(one))) is not None]
        value = Counter(texts).most_common(1)[0][0] if texts else None
    text = plain_text(value)
    if text is None:
        raise UnreadableRecordError(ConversationReason.NO_ANSWER)
    if not options:
        return text
    letter = text.strip("().[]: ").upper()
    if len(letter) == 1 and letter in ascii_uppercase[: len(options)]:
        return letter
    same = [
        number
        for number, option in enumerate(options)
        if option.casefold() in (text.casefold(), _without_letter(text, number).casefold())
    ]
    if len(same) == 1:
        return ascii_uppercase[same[0]]
    if text.isdecimal() and int(text) < len(options):
        return ascii_uppercase[int(text)]
    raise UnreadableRecordError(ConversationReason.OPTIONS)


def answers_of(record: Record) -> tuple[str, ...]:
    """All right answers of a record without options, each as often as it was given, the most frequent one first.

    They are in its `answer` or `answers`: a text, a list, or the text of a list. Raises `UnreadableRecordError`.
    """
    value = record.get("answer")
    several = _list(record.get("answers") if value is None else value)
    texts = [plain_text(_worded(one)) for one in several] if several else [plain_text(_worded(value))]
    answers = [text for text in texts if text is not None]
    if not answers:
        raise UnreadableRecordError(ConversationReason.NO_ANSWER)
    common = Counter(answers).most_common(1)[0][0]
    return tuple(sorted(answers, key=lambda one: one != common))


def split_at_pictures(prompt: str, num_images: int) -> list[str | int]:
    """The prompt cut at its `<image 2>`: texts, and numbers of pictures from 0. Pictures without a place come first.

    Raises `UnreadableRecordError` where it names a picture that the record does not have.
    """
    pieces: list[str | int] = []
    end = 0
    for match in _NUMBERED_PICTURE.finditer(prompt):
        number = int(match[1]) - 1
        if num_images and not 0 <= number < num_images:
            raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
        if num_images:
            pieces += [prompt[end : match.start()], number]
            end = match.end()
    pieces.append(prompt[end:])
    placed = {piece for piece in pieces if isinstance(piece, int)}
    return [*(number for number in range(num_images) if number not in placed), *pieces]


def kind_of(record: Record) -> str | None:
    """The kind of a question as a part of a metric's name: `Spatial Relation (2D)` is `spatial_relation_2d`."""
    value = record.get("kind") if record.get("kind") is not None else record.get("category")
    text = plain_text(value)
    return None if text is None else re.sub(r"[^a-z0-9]+", "_", text.casefold()).strip("_") or None


def _list(value: Any) -> list[Any]:
    """A list, as it is or as text: as JSON or Python spells it, or lines that begin with the letters of options."""
    lines = value.strip().split("\n") if isinstance(value, str) else []
    if len(lines) > 1 and all(
        _without_letter(line.strip(), number) != line.strip() for number, line in enumerate(lines)
    ):
        return [line.strip() for line in lines]
    if isinstance(value, str) and value.strip().startswith("["):
        return literal_list(value.strip()) or []
    return listed(value)


def _worded(value: Any) -> Any:
    """The text of an option or an answer that is an object with a text."""
    return value.get("text", value.get("answer")) if isinstance(value, Mapping) else value


def _without_letter(option: str, number: int) -> str:
    """An option without the letter that its text begins with: `B. a cat` and `(B) a cat` are `a cat`."""
    letter = ascii_uppercase[number] if number < len(ascii_uppercase) else ""
    return re.sub(rf"^(?:\({letter}\)|{letter}[.):])\s+", "", option) if letter else option


def plain_text(value: Any) -> str | None:
    """Cleaned text, None where there is none: null, NaN, white space, or how pandas spells these."""
    if value is None or isinstance(value, list | dict | bytes) or value != value:  # noqa: PLR0124  NaN
        return None
    try:
        text = clean_text(str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    except TextEncodingError as error:
        raise UnreadableRecordError(ConversationReason.ENCODING) from error
    return None if text.casefold() in EMPTY_WORDS else text
