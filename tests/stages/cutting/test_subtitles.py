"""Subtitles of either form as cues, and the text of a stretch of time."""

import pytest

from stages.cutting.subtitles import Cue, SubtitleError, read_cues, text_between

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i>
world

2
00:00:03,000 --> 00:00:04,000
there
"""
VTT = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE by hand

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Bob>Hello <c.loud>world</c>

00:00:03.000 --> 00:00:04.000
there
"""
CUES = (Cue(1.0, 2.5, "Hello world"), Cue(3.0, 4.0, "there"))


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (SRT.encode(), "srt"),
        (VTT.encode(), "vtt"),
        (SRT.replace("\n", "\r\n").encode("utf-8-sig"), "srt"),
        (VTT.replace("\n", "\r\n").encode(), "vtt"),
        (SRT.encode("utf-16"), "srt"),
    ],
)
def test_both_forms_give_the_same_cues(data: bytes, form: str) -> None:
    assert read_cues(data, form) == CUES  # type: ignore[arg-type]


def test_no_cue_at_all_is_no_fault() -> None:
    assert read_cues(b"WEBVTT\n\n", "vtt") == ()
    assert read_cues(b"", "srt") == ()


@pytest.mark.parametrize("data", [b"\xff\xfe\x00", b"\x80\x81 text", b"some words without times"])
def test_what_is_no_subtitle_is_refused(data: bytes) -> None:
    with pytest.raises(SubtitleError):
        read_cues(data, "srt")


@pytest.mark.parametrize(
    ("start", "end", "text"),
    [
        (0.0, 10.0, "Hello world there"),
        (0.0, 1.0, ""),
        (0.0, 1.1, "Hello world"),
        (2.4, 3.1, "Hello world there"),
        (2.5, 3.0, ""),
        (4.0, 9.0, ""),
    ],
)
def test_cues_that_are_shown_in_a_stretch_are_joined(start: float, end: float, text: str) -> None:
    assert text_between(CUES, start, end) == text


def test_a_text_that_follows_itself_is_taken_once() -> None:
    rolling = [Cue(0, 1, "one"), Cue(1, 2, "one"), Cue(2, 3, "two"), Cue(3, 4, "one")]
    assert text_between(rolling, 0, 9) == "one two one"
