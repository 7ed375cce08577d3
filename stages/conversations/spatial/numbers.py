"""Spells numbers of records as text, in lists of any depth: never rounded again.

A whole number is spelled without a point, a fraction with the fewest digits that give it back, and a number that the
record has as text as it stands there. Example: [1, 0.25, "1.50"] is `[1, 0.25, 1.50]`. JSON itself does not keep the
zeros behind a fraction: 1.50 that is no text is 1.5.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from stages.conversations.reasons import ConversationReason, UnreadableRecordError

MAX_NUMBERS: Final = 256
"""Most numbers in one list, such as 16 matrices of 4 x 4."""
_BOUND: Final = 1e30
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,30}(?:\.\d{0,30})?|\.\d{1,30})(?:[eE][-+]?\d{1,3})?")


def spelled_numbers(values: Any) -> str:
    """A number or a list of numbers or lists. Raises `UnreadableRecordError` where anything else is in it.

    >>> spelled_numbers([[577.590698, 0], [0, "1.50"]])
    '[[577.590698, 0], [0, 1.50]]'
    """
    if count_numbers(values) > MAX_NUMBERS:
        raise UnreadableRecordError(ConversationReason.GEOMETRY)
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return f"[{', '.join(map(spelled_numbers, values))}]"
    if not is_number(values):
        raise UnreadableRecordError(ConversationReason.GEOMETRY)
    return values.strip() if isinstance(values, str) else str(values)


def count_numbers(values: Any) -> int:
    """How many values are in a list of any depth; 1 for one that is no list."""
    if isinstance(values, Sequence) and not isinstance(values, str | bytes):
        return sum(map(count_numbers, values))
    return 1


def is_number(value: Any) -> bool:
    """Whether a value is a number below 1e30, or the text of one."""
    if isinstance(value, str):
        return _NUMBER.fullmatch(value.strip()) is not None
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _BOUND


def depth_of(values: Any, deepest: int = 4) -> int:
    """How deep the lists of numbers are: 0 for a number, 2 for a matrix.

    -1 where something else is in them, lists of one level differ in length or depth, or they are deeper than `deepest`.
    """
    if not isinstance(values, Sequence) or isinstance(values, str | bytes):
        return 0 if is_number(values) else -1
    depths = {depth_of(one, deepest - 1) for one in values} if deepest else {-1}
    lengths = {len(one) for one in values if isinstance(one, Sequence) and not isinstance(one, str)}
    return 1 + depths.pop() if len(depths) == 1 and len(lengths) <= 1 and -1 not in depths else -1
