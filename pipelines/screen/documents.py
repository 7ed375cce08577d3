"""JSON documents that commands answer with: any value as JSON has it, and the text of a whole document.

Tables of samples carry columns of the user's own: whatever Python makes of these must end up as JSON that every parser
takes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time
from typing import Any

from stages.surfaces.credentials import without_credentials
from stages.surfaces.visible import UNSHOWN, floods


def as_json(value: Any) -> Any:
    """A value as JSON has it: bytes as hex digits, tuples as lists, NaN and infinity as null, times as ISO 8601 has
    them; decimals and all else as text, in which credentials of URLs are hidden.

    >>> as_json({"score": float("nan"), "on": date(2026, 1, 2), "ids": (b"\\x0a",)})
    {'score': None, 'on': '2026-01-02', 'ids': ['0a']}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return without_credentials(value) if isinstance(value, str) else value
    if isinstance(value, Mapping):
        return {without_credentials(str(name)): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return value.hex()
    return value.isoformat() if isinstance(value, date | datetime | time) else str(value)


def document_text(document: Mapping[str, Any]) -> str:
    """A document as the text of it. See `spelled`."""
    return spelled(as_json(document), indent=2)


def spelled(value: Any, indent: int | None = None) -> str:
    """JSON in which each character that a terminal would obey or hide is spelled `\\uXXXX`, as is half of a surrogate
    pair, which bytes of a command line that are no UTF-8 become. So is each mark of a flood of them."""
    text = UNSHOWN.sub(_escape, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False))
    return text if text.isascii() else floods().sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found.group())[1:-1]
