"""Reads a row that is one question and its answer, without turns, as a conversation to learn from.

Spatial sets come so: `question`, `answer`, options in a list or in the text, one picture or several views, or a video.
Options are asked in the words of an evaluation (`multiple_choice.py`), so that what is learned is what is asked.
Several pictures without a place in the question stand before it (MindCube, ViewSpatial).
"""

from __future__ import annotations

from dataclasses import replace

from stages.conversations.image_references import Record
from stages.conversations.multiple_choice import CHOICE_ENDING, ask, kind_of
from stages.conversations.placeholders import PLAIN_RULE, PlacingRule
from stages.conversations.reading import ParsedRecord, ReadingLimits, parsed, with_media
from stages.conversations.reasons import ConversationReason, UnreadableRecordError
from stages.conversations.turns import Turn


def parse_pair(record: Record, limits: ReadingLimits, rule: PlacingRule = PLAIN_RULE) -> ParsedRecord:
    """Read one question and its answer. Raises `UnreadableRecordError`."""
    asked = ask(record, CHOICE_ENDING, "")
    if len(asked.prompt) + len(asked.answer) > limits.max_chars:
        raise UnreadableRecordError(ConversationReason.TOO_LONG)
    turns = [Turn("user", (asked.prompt,)), Turn("assistant", (asked.answer,))]
    placed = with_media(record, turns, limits, replace(rule, untagged_first=True))
    known = {**record, "id": record.get("id", record.get("index")), "kind": kind_of(record), "answer": asked.answer}
    return parsed(known, placed, limits, options=asked.options, rule=rule)
