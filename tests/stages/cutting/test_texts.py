"""Which of the texts beside a video becomes its caption."""

import pytest

from stages.cutting.reasons import ClipReason
from stages.cutting.subtitles import Cue
from stages.cutting.texts import CaptionsFrom, VideoText, text_of_video
from stages.download.reasons import Reason
from stages.formats.sample_table import ItemReason
from stages.importing.reasons import ImportReason

SRT = b"1\n00:00:01,000 --> 00:00:02,000\nspoken\n"
SPOKEN = VideoText(cues=(Cue(1.0, 2.0, "spoken"),))
ALL: dict[str, bytes | ItemReason] = {
    "txt": b" a text ",
    "json": b'{"caption": "in JSON", "long": "a field"}',
    "srt": SRT,
}


@pytest.mark.parametrize(
    ("captions", "wanted", "expected"),
    [
        ("any", None, VideoText("a text")),
        ("text", None, VideoText("a text")),
        ("subtitles", None, SPOKEN),
        ("none", None, VideoText()),
        ("any", "long", VideoText("a field")),
        ("any", "srt", SPOKEN),
    ],
)
def test_the_recipe_chooses(captions: CaptionsFrom, wanted: str | None, expected: VideoText) -> None:
    assert text_of_video(ALL, wanted, captions) == expected


def test_json_without_a_caption_is_no_text_and_subtitles_count() -> None:
    assert text_of_video({"json": b'{"duration": 3}', "srt": SRT}, None, "any") == SPOKEN
    assert text_of_video({}, None, "any") == VideoText()


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"json": b"{"}, ImportReason.CAPTION_UNREADABLE),
        ({"txt": b"\xff"}, Reason.CAPTION_ENCODING),
        ({"txt": ImportReason.CAPTION_TOO_LARGE}, ImportReason.CAPTION_TOO_LARGE),
        ({"srt": b"no times"}, ClipReason.SUBTITLES_UNREADABLE),
        ({"srt": ImportReason.CAPTION_TOO_LARGE}, ImportReason.CAPTION_TOO_LARGE),
        ({"en.srt": SRT, "de.srt": SRT}, ClipReason.SUBTITLES_AMBIGUOUS),
    ],
)
def test_text_that_cannot_be_had_has_a_reason(texts: dict[str, bytes | ItemReason], reason: ItemReason) -> None:
    assert text_of_video(texts, None, "any").reason is reason


def test_one_of_several_subtitles_can_be_named() -> None:
    assert text_of_video({"en.srt": SRT, "de.srt": b"x"}, "en.srt", "any") == SPOKEN
    assert text_of_video({"en.srt": SRT}, None, "any") == SPOKEN
