"""Subtitles beside a video (SRT, WebVTT), and the text that belongs to a stretch of time.

Times of cues count from the beginning of the file, as players count them; for a video whose first frame is shown later
than that, they are off by as much.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

SubtitleForm: TypeAlias = Literal["srt", "vtt"]
"""Forms of subtitles, by the endings of their files."""
SUBTITLE_ENDINGS: Final[tuple[SubtitleForm, ...]] = ("srt", "vtt")
MAX_SUBTITLE_BYTES: Final = 8 * 2**20
"""Largest file or member that is read as subtitles, in bytes: those of a day of speech have about 3 MB."""


class SubtitleError(ValueError):
    """Bytes that are no subtitles of the form that their name says."""


class Cue(NamedTuple):
    """A text that is shown for some time."""

    start_seconds: float
    end_seconds: float
    text: str
    """The text without marks of style, its lines joined by spaces."""


def read_cues(data: bytes, form: SubtitleForm) -> tuple[Cue, ...]:
    """The cues of a file, by their start. Raises `SubtitleError`: no text in UTF-8 or UTF-16, or no cue in it."""
    import pysubs2

    try:
        text = data.decode("utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig")
        parsed = pysubs2.SSAFile.from_string(_timed_blocks(text) if form == "vtt" else text, format_=form)
    except (UnicodeError, ValueError, IndexError, pysubs2.exceptions.Pysubs2Error) as error:
        raise SubtitleError(f"no {form}: {error}") from error
    cues = [Cue(event.start / 1000, event.end / 1000, " ".join(event.plaintext.split())) for event in parsed]
    if not cues and text.strip().removeprefix("WEBVTT").strip():
        raise SubtitleError(f"no {form}: there is text, and no cue in it")
    return tuple(sorted(cue for cue in cues if cue.text))


def _timed_blocks(text: str) -> str:
    """WebVTT without notes, styles, regions and names of cues, which pysubs2 takes for the text before them.

    A block `intro`, `00:01.000 --> 00:02.000`, `Hello` keeps its last two lines; `NOTE by hand` goes.
    """
    kept = ["WEBVTT"]
    for block in re.split(r"\n\s*\n", text.replace("\r\n", "\n").replace("\r", "\n")):
        lines = block.split("\n")
        timed = next((number for number, line in enumerate(lines) if "-->" in line), None)
        if timed is not None:
            kept.append("\n".join(lines[timed:]))
    return "\n\n".join(kept) + "\n"


def text_between(cues: Iterable[Cue], start_seconds: float, end_seconds: float) -> str:
    """The texts of the cues that are shown at some time of a stretch, joined by spaces; "" where there are none.

    A text that follows itself is taken once: automatic subtitles repeat each line while the next one is spoken.
    """
    texts: list[str] = []
    for cue in cues:
        is_shown = cue.start_seconds < end_seconds and cue.end_seconds > start_seconds
        if is_shown and (not texts or texts[-1] != cue.text):
            texts.append(cue.text)
    return " ".join(texts)
