"""Times that are text as seconds: numbers, and clock times as subtitles and lists of videos spell them."""

from __future__ import annotations

import math
import re
from typing import Final

_CLOCK: Final = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d{1,9})?)")


def seconds_of(text: str) -> float | None:
    """The seconds that a text names; None where it is blank. Raises `ValueError` where it is no time.

    >>> [seconds_of(text) for text in ("12.5", "01:30", "1:00:00,250", " ")]
    [12.5, 90.0, 3600.25, None]
    """
    text = text.strip()
    if not text:
        return None
    clock = _CLOCK.fullmatch(text)
    if clock is not None:
        hours, minutes, seconds = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds.replace(",", "."))
    seconds_alone = float(text)
    if not math.isfinite(seconds_alone) or seconds_alone < 0:
        raise ValueError(f"{text!r} is no time in a video")
    return seconds_alone
