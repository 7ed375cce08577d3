"""Videos that are given as frames become pictures on lines that say when each is shown."""

from typing import Any

import pytest

from neo_model.inputs.video_text import VideoStyle
from stages.conversations.dialects import Dialect
from stages.conversations.placeholders import PlacingRule, message_of
from stages.conversations.reading import ReadingLimits, parse_record

LIMITS = ReadingLimits(max_chars=2000, max_images=3)
FRAMES = ["1.jpg", "2.jpg"]
PREFIX = (
    "The time range of this video is [00:00-00:08], and the following is a series of 2 frames sampled at 0.2 FPS.\n"
)
TIMED = "[00:00.00]:<image>\n[00:04.50]:<image>\n"
TIMES = {"timestamps": [0, 4.5]}


def text_part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def asked(content: Any, style: VideoStyle = "timestamps", **fields: Any) -> tuple[str, tuple[str, ...]]:
    turns = [{"role": "user", "content": content}, {"role": "assistant", "content": "Yes."}]
    read = parse_record({"messages": turns, **fields}, Dialect(), LIMITS, PlacingRule(video_style=style))
    return message_of(read.turns[0]).content, read.image_names


@pytest.mark.parametrize(
    ("content", "fields", "text"),
    [
        ("<video>\nWhy?", {"video": FRAMES, **TIMES, "duration": 8}, f"{PREFIX}{TIMED}Why?"),
        ("<video>Why?", {"video": FRAMES, **TIMES}, f"{TIMED}Why?"),
        ("<video>Why?", {"video": FRAMES}, "<image>\n<image>\nWhy?"),
        ("Why?", {"video": FRAMES}, "<image>\n<image>\nWhy?"),
        ("Look:\n<video>\nWhy?", {"video": FRAMES, "fps": 0.25},
         f"Look:\n{PREFIX}[00:00.00]:<image>\n[00:04.00]:<image>\nWhy?"),
        ("<image>\n<image>\nWhy?", {"images": FRAMES, **TIMES}, f"{TIMED}Why?"),
        ("<image><image>Why?", {"images": FRAMES, **TIMES, "duration": 8}, f"{PREFIX}{TIMED}Why?"),
        ("<video>\nWhy?", {"images": FRAMES}, "<image>\n<image>\nWhy?"),
        ("Why?", {"images": FRAMES, **TIMES}, f"{TIMED}Why?"),
        ("<image> or <image>?", {"images": FRAMES, **TIMES}, "<image> or <image>?"),
        ("<image>\n<image>\nWhy?", {"images": FRAMES, "timestamp_decimal": 1}, "<image>\n<image>\nWhy?"),
        ([text_part("Look:"), {"type": "video", "video": FRAMES, "fps": 0.25}, text_part("Why?")],
         {}, f"Look:\n{PREFIX}[00:00.00]:<image>\n[00:04.00]:<image>\nWhy?"),
    ],
)  # fmt: skip
def test_frames_stand_on_lines_with_their_times(content: Any, fields: dict[str, Any], text: str) -> None:
    got, names = asked(content, **fields)
    assert got == text
    assert names == tuple(FRAMES)


def test_frames_in_other_styles() -> None:
    assert asked("<video>\nWhy?", "spatial", video=FRAMES, **TIMES)[0] == (
        "Frame1 is at [00:00.00]:<image>\nFrame2 is at [00:04.50]:<image>\nWhy?"
    )
    assert asked("<video>\nWhy?", "spatial", video=FRAMES)[0] == "Frame-1: <image>\nFrame-2: <image>\nWhy?"
    assert asked("<video>\nWhy?", "bare", video=FRAMES, **TIMES)[0] == "<image>\n<image>\nWhy?"
    assert asked("<video>\nWhy?", "numbered", video=FRAMES, **TIMES)[0] == "Frame-1: <image>\nFrame-2: <image>\nWhy?"


def test_frames_are_not_counted_as_pictures() -> None:
    names = [f"{number}.jpg" for number in range(100)]
    assert asked("<video>\nWhy?", video=names)[1] == tuple(names)
