"""Clips as text: the strings of the evaluation kit, by worked examples, and placeholders that are none."""

import doctest
from typing import Any

import pytest

from neo_model.inputs import video_text
from neo_model.inputs.conversation import ConversationError
from neo_model.inputs.video_text import (
    ClipText,
    clip_lines,
    clip_prefix,
    frame_time,
    images_first,
    media_of,
    write_out_clips,
)

PREFIX = (
    "The time range of this video is [00:00-00:08], and the following is a series of 2 frames sampled at 0.2 FPS.\n"
)
CLIP = ClipText((2.6667, 5.3333), 8.0)


def user(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def test_the_examples_in_the_text_hold() -> None:
    assert doctest.testmod(video_text).failed == 0


def test_each_frame_has_its_time_after_a_line_that_tells_range_number_and_rate() -> None:
    assert clip_lines(CLIP.frame_times, 8.0) == PREFIX + "[00:02.67]:<image>\n[00:05.33]:<image>\n"


def test_bare_frames_have_neither_times_nor_prefix() -> None:
    assert clip_lines(CLIP.frame_times, 8.0, "bare") == "<image>\n<image>\n"


def test_spatial_frames_are_numbered_from_one() -> None:
    lines = "Frame1 is at [00:02.67]:<image>\nFrame2 is at [00:05.33]:<image>\n"
    assert clip_lines(CLIP.frame_times, 8.0, "spatial") == PREFIX + lines
    assert clip_lines(CLIP.frame_times, 8.0, "numbered") == "Frame-1: <image>\nFrame-2: <image>\n"


@pytest.mark.parametrize(
    ("num_frames", "seconds", "told"),
    [
        (8, 16.0, "[00:00-00:16], and the following is a series of 8 frames sampled at 0.5 FPS"),
        (256, 3725.9, "[00:00-62:05], and the following is a series of 256 frames sampled at 0.1 FPS"),
        (10, 10.0, "[00:00-00:10], and the following is a series of 10 frames sampled at 1.0 FPS"),
        (1, 4.0, "[00:00-00:04], and the following is a series of 1 frames sampled at 0.2 FPS"),  # 0.25 to even
        (3, 4.0, "[00:00-00:04], and the following is a series of 3 frames sampled at 0.8 FPS"),  # 0.75 to even
        (4, 59.999, "[00:00-00:59], and the following is a series of 4 frames sampled at 0.1 FPS"),
        (1, 0.0, "[00:00-00:00], and the following is a series of 1 frames"),  # the kit would divide by zero
    ],
)
def test_the_prefix_is_rounded_as_the_kit_rounds(num_frames: int, seconds: float, told: str) -> None:
    assert clip_prefix(num_frames, seconds) == f"The time range of this video is {told}.\n"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "00:00.00"),
        (7.5, "00:07.50"),
        (59.994, "00:59.99"),
        (59.999, "00:60.00"),
        (60.0, "01:00.00"),
        (3599.996, "59:60.00"),
        (7322.25, "122:02.25"),
        (0.125, "00:00.12"),
    ],
)
def test_minutes_go_beyond_59_and_a_rounded_second_is_not_carried(seconds: float, text: str) -> None:
    assert frame_time(seconds) == text


@pytest.mark.parametrize(("times", "seconds"), [((), 8.0), ((-0.1,), 8.0), ((0.0,), -1.0)])
def test_a_clip_without_frames_or_before_its_start_is_refused(times: tuple[float, ...], seconds: float) -> None:
    with pytest.raises(ValueError, match="at least one, none negative"):
        clip_lines(times, seconds)


def test_a_clip_is_written_where_its_placeholder_stands() -> None:
    (message,) = write_out_clips([user("Look: <video>What moves?")], [CLIP], "bare")
    assert message == user("Look: <image>\n<image>\nWhat moves?", image_tags=[0, 1])


def test_a_line_break_after_the_placeholder_is_that_of_the_last_frame() -> None:
    written = [write_out_clips([user(f"<video>{text}")], [CLIP], "bare")[0] for text in ("Why?", "\nWhy?", "\n\nWhy?")]
    assert [one["content"].removeprefix("<image>\n<image>\n") for one in written] == ["Why?", "Why?", "\nWhy?"]


def test_pictures_keep_their_places_between_clips() -> None:
    messages = [user("<image>\n<video>and<video>"), {"role": "assistant", "content": "A <video>.", "video_tags": []}]
    first, second = write_out_clips(messages, [CLIP, ClipText((0.0,), 1.0)], "bare")
    assert first == user("<image>\n<image>\n<image>\nand<image>\n", image_tags=[0, 1, 2, 3])
    assert second == {"role": "assistant", "content": "A <video>."}, "not a clip: it stays as it was"
    assert list(media_of(messages)) == ["<image>", "<video>", "<video>"]


def test_text_that_spells_a_placeholder_is_text() -> None:
    message = user("Write <image> or <video> as in <video>, <image>", image_tags=[1], video_tags=[1])
    assert list(media_of([message])) == ["<video>", "<image>"]
    (written,) = write_out_clips([message], [CLIP], "bare")
    assert written == user("Write <image> or <video> as in <image>\n<image>\n, <image>", image_tags=[1, 2, 3])


@pytest.mark.parametrize("clips", [[], [CLIP, CLIP]])
def test_as_many_clips_as_placeholders_or_it_is_refused(clips: list[ClipText]) -> None:
    with pytest.raises(ConversationError, match=f"1 <video> placeholders for {len(clips)} clips"):
        write_out_clips([user("<video>")], clips)


def test_messages_are_not_changed() -> None:
    message = user("<video>", video_tags=None)
    write_out_clips([message], [CLIP])
    assert message == user("<video>", video_tags=None)


def test_images_come_first_and_the_text_names_them() -> None:
    message = user("Is <image> like <image>?")
    assert images_first(message, "muirbench") == user(
        "<Image-1>: <image>\n<Image-2>: <image>\nIs <Image-1> like <Image-2>?", image_tags=[0, 1]
    )
    assert images_first(message, "spatial")["content"] == (
        "Image-1: <image>\nImage-2: <image>\nIs <Image-1> like <Image-2>?"
    )


def test_images_that_stand_together_are_not_named_in_the_spatial_form() -> None:
    content = images_first(user("<image><image>How far?"), "spatial")["content"]
    assert content == "Image-1: <image>\nImage-2: <image>\nHow far?"
    assert images_first(user("<image>How far?"), "spatial")["content"] == "<image>\nHow far?"
    assert images_first(user("<image>How far?"), "muirbench")["content"] == "<Image-1>: <image>\n<Image-1>How far?"
    assert images_first(user("How far?"), "spatial") == user("How far?", image_tags=[])


def test_an_image_tag_that_is_text_stays_where_it_is() -> None:
    written = images_first(user("The tag <image> and <image>", image_tags=[1]), "spatial")
    assert written == user("<image>\nThe tag <image> and ", image_tags=[0])


def test_a_clip_among_images_that_come_first_is_written_out_before() -> None:
    with pytest.raises(ConversationError, match="write it out before"):
        images_first(user("<image><video>"), "spatial")


def test_very_many_tags_that_are_text_are_read_once() -> None:
    """The longest conversation full of them, which took minutes when each tag had the rest of the text copied."""
    spelled = "<video>" * 14_000 + "<image>" * 14_000
    messages = [user(f"{spelled}<video>", video_tags=[14_000], image_tags=[])]
    assert list(media_of(messages)) == ["<video>"]
    (written,) = write_out_clips(messages, [ClipText([0.0], 1.0)], "bare")
    assert written["content"] == f"{spelled}<image>\n"
    assert written["image_tags"] == [14_000]
