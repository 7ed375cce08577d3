"""Writes a benchmark's question as the authors' kit asks it, with its options, its right answer and how it is scored.

Where pictures stand:

    numbered    one picture: `<image>` and a line break before the text. Several: lines `Image-1: <image>` before it,
                and `<Image-1>` where the text has an `<image>`, but for a text that names all of them in a row
    muirbench   lines `<Image-1>: <image>` before the text, and `<Image-1>` in it
    in_text     where the text says `<image 1>`, each once; others before the text
    frames      lines `Frame-1: <image>` before the text, which names them itself

The kit strips the text on both sides of an `<image>`; so it is here. Where a text has fewer places than the question
has pictures, the kit forgets pictures; here all are listed, and the text names those that it has places for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Final, Literal, NamedTuple, TypeAlias

from neo_model.inputs.conversation import IMAGE_PLACEHOLDER
from stages.benchmarks.benchmark import CHOICE_RULES, Benchmark, ScoringRule, Wording
from stages.benchmarks.right_answers import right_answers
from stages.conversations.image_references import Record, listed
from stages.conversations.multiple_choice import kind_of, plain_text
from stages.conversations.reasons import ConversationReason, UnreadableRecordError

_NUMBERED_PICTURE: Final = re.compile(r"<image[ _](\d{1,2})>")


class Medium(NamedTuple):
    """The place of a picture or a clip in a prompt."""

    kind: Literal["picture", "clip"]
    """What stands there."""
    number: int
    """Which of the question's, counted from 0."""


PromptPiece: TypeAlias = str | Medium
"""Text, or the place of a picture or clip."""


@dataclass(frozen=True, slots=True)
class SpelledQuestion:
    """A benchmark's question as it is asked."""

    pieces: tuple[PromptPiece, ...]
    """Text, pictures and clips in order."""
    options: tuple[str, ...] | None
    """Texts of the options A, B, ...; None where the row lists none."""
    truths: tuple[str, ...]
    """The right answers, the one that is shown first: the letter of an option, a number, or texts."""
    kind: str | None
    """Kind of question, as a part of a metric's name."""
    scoring: ScoringRule
    """How answers to it are scored."""

    @property
    def answer(self) -> str:
        """The right answer that is shown."""
        return self.truths[0]


def spell_question(record: Record, benchmark: Benchmark, num_pictures: int) -> SpelledQuestion:
    """The question of a record of `rows.py`. Raises `UnreadableRecordError`."""
    kind = kind_of(record)
    texts = [plain_text(option) for option in listed(record.get("options"))]
    options = tuple(text for text in texts if text is not None)
    if len(options) != len(texts) or len(options) == 1 or len(options) > len(ascii_uppercase):
        raise UnreadableRecordError(ConversationReason.OPTIONS)
    rule = benchmark.scoring(kind, has_options=bool(options))
    text = _text(record, benchmark, options, rule, has_pictures=num_pictures > 0)
    pieces: list[PromptPiece] = _placed(text, num_pictures, benchmark)
    if record.get("videos"):
        # The line break behind a clip ends the line of its last frame.
        before = benchmark.wording.before
        pieces = [*([before] if before else []), Medium("clip", 0), "\n", *pieces]
    return SpelledQuestion(
        tuple(_joined(pieces)), options or None, right_answers(record, benchmark, options, rule), kind, rule
    )


def _text(
    record: Record, benchmark: Benchmark, options: Sequence[str], rule: ScoringRule, *, has_pictures: bool
) -> str:
    """All text of the question but what stands before its clip."""
    wording: Wording = (has_pictures and benchmark.wording_with_pictures) or benchmark.wording
    question, hint = plain_text(record.get("question")), plain_text(record.get("hint"))
    if question is None:
        raise UnreadableRecordError(ConversationReason.SCHEMA)
    if benchmark.is_tag_removed:
        question = question.replace(IMAGE_PLACEHOLDER, "").strip()
    told = wording.hint.format(hint=hint) if hint and wording.hint else ""
    if rule not in CHOICE_RULES:
        return wording.open_lead + told + wording.plain_question.format(question=question) + wording.open_ending
    if not options:
        ending = wording.choice_ending.lstrip(" ,")
        return wording.choice_lead + told + wording.plain_question.format(question=question) + ending
    spelled = (
        wording.option.format(letter=letter, text=option)
        for letter, option in zip(ascii_uppercase, options, strict=False)
    )
    listed_options = wording.between.join(spelled)
    return (
        wording.choice_lead + told + wording.question.format(question=question) + listed_options + wording.choice_ending
    )


def _placed(text: str, num_pictures: int, benchmark: Benchmark) -> list[PromptPiece]:
    """The text with the question's pictures. Raises `UnreadableRecordError` where it has places for more of them."""
    if num_pictures == 0:
        return [text]
    if benchmark.places == "in_text":
        return list(_at_numbers(text, num_pictures))
    if benchmark.places == "frames":
        return [*_lines("Frame-{}: ", num_pictures), text]
    parts = text.split(IMAGE_PLACEHOLDER)
    if len(parts) > num_pictures + 1:
        raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
    texts = [part.strip() for part in parts]
    if benchmark.places == "numbered" and num_pictures == 1:
        return [Medium("picture", 0), "\n" + "\n".join(filter(None, texts))]
    named = "".join(
        f"{part}<Image-{number}>" if number < len(texts) else part for number, part in enumerate(texts, start=1)
    )
    if benchmark.places == "muirbench":
        return [*_lines("<Image-{}>: ", num_pictures), named]
    run = "".join(f"<Image-{number}>" for number in range(1, num_pictures + 1))
    return [*_lines("Image-{}: ", num_pictures), named.replace(run, "")]


def _lines(name: str, num_pictures: int) -> Iterator[PromptPiece]:
    """A line for each picture."""
    for number in range(num_pictures):
        yield name.format(number + 1)
        yield Medium("picture", number)
        yield "\n"


def _at_numbers(text: str, num_pictures: int) -> Iterator[PromptPiece]:
    """Pictures where the text has their numbers first, a line break behind each; those without a number before it."""
    first: dict[int, re.Match[str]] = {}
    for match in _NUMBERED_PICTURE.finditer(text):
        first.setdefault(int(match[1]) - 1, match)
    if any(not 0 <= number < num_pictures for number in first):
        raise UnreadableRecordError(ConversationReason.PLACEHOLDERS)
    for number in range(num_pictures):
        if number not in first:
            yield Medium("picture", number)
            yield "\n"
    end = 0
    for number, match in sorted(first.items(), key=lambda entry: entry[1].start()):
        yield text[end : match.start()]
        yield Medium("picture", number)
        yield "\n"
        end = match.end()
    yield text[end:]


def _joined(pieces: Sequence[PromptPiece]) -> Iterator[PromptPiece]:
    """The pieces with texts that follow each other as one, and none that is empty."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        yield piece
        text = ""
    if text:
        yield text
