"""JSON documents that commands answer with: any value as JSON has it, and the text of a whole document.

Tables of samples carry columns of the user's own: whatever Python makes of these must end up as JSON that every parser
takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any


def as_json(value: Any) -> Any:
    """A value as JSON has it: bytes as hex digits, tuples as lists, NaN and infinity as null, times as ISO 8601 has
    them; decimals and all else as text.

    >>> as_json({"score": float("nan"), "on": date(2026, 1, 2), "ids": (b"\\x0a",)})
    {'score': None, 'on': '2026-01-02', 'ids': ['0a']}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def document_text(document: Mapping[str, Any]) -> str:
    """A document as the text of it. Bytes of a command line that are no UTF-8 are spelled as JSON spells half of a
    surrogate pair."""
    text = json.dumps(as_json(document), indent=2, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode()
