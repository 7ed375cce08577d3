"""Videos of a record in every form that people write: their names, their stretches, their frames."""

import hashlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.conversations.image_references import ImageReferenceError
from stages.conversations.records import read_record, spell_record
from stages.conversations.videos.references import (
    FrameList,
    VideoReference,
    VideoReferenceError,
    field_videos,
    frame_times_of,
    part_video,
    pictures_of,
    time_of,
)

HELD = f"sha256:{hashlib.sha256(b'film').hexdigest()}"
A = VideoReference("a/b.mp4")

FIELDS: list[tuple[dict[str, Any], list[VideoReference]]] = [
    ({"video": "a/b.mp4"}, [A]),
    ({"video": "./a/b.mp4"}, [A]),
    ({"video": "file:///a/b%20c.mp4"}, [VideoReference("/a/b c.mp4")]),
    ({"video": ["a/b.mp4", "c.webm"]}, [A, VideoReference("c.webm")]),
    ({"videos": '["a/b.mp4"]', "video": "x"}, [A]),
    ({"video": [], "videos": None, "video_path": "a/b.mp4"}, [A]),
    ({"video": {"path": "a/b.mp4"}}, [A]),
    ({"video": {"bytes": b"film", "path": "a/b.mp4"}}, [VideoReference(HELD)]),
    ({"video": {"bytes": None, "path": "a/b.mp4"}}, [A]),
    ({"video": b"film"}, [VideoReference(HELD)]),
    ({"video": "data:video/mp4;base64,ZmlsbQ=="}, [VideoReference(HELD)]),
    ({"video_url": {"url": "http://a.test/1.mp4"}}, [VideoReference("http://a.test/1.mp4")]),
    ({"video": "a/b.mp4", "start": 1, "end": "2.5"}, [A._replace(start_seconds=1.0, end_seconds=2.5)]),
    ({"video": "a/b.mp4", "start_time": "01:00", "end_time": "01:02:03"},
     [A._replace(start_seconds=60.0, end_seconds=3723.0)]),
    ({"videos": ["a/b.mp4", "c"], "start": [1, None]}, [A._replace(start_seconds=1.0), VideoReference("c")]),
    ({"video": {"path": "a/b.mp4", "start": 3}, "start": 7}, [A._replace(start_seconds=3.0)]),
    *(({"video": nothing}, []) for nothing in (None, "", " ", [], {}, "[]", "null", "{}", "nan")),
]  # fmt: skip


@pytest.mark.parametrize(("record", "videos"), FIELDS)
def test_videos_of_fields(record: dict[str, Any], videos: list[VideoReference]) -> None:
    assert field_videos(record) == videos


FRAMES: list[tuple[dict[str, Any], list[str], Any, Any]] = [
    ({"video": ["1.jpg", "2.jpg"]}, ["1.jpg", "2.jpg"], None, None),
    ({"videos": [["1.jpg", "2.png"]]}, ["1.jpg", "2.png"], None, None),
    ({"video": ["1.jpg", "2.jpg"], "fps": 2}, ["1.jpg", "2.jpg"], (0.0, 0.5), 1.0),
    ({"video": {"frames": ["1.jpg"], "timestamps": [3.5], "duration": 9}}, ["1.jpg"], (3.5,), 9.0),
    ({"video": ["1.jpg", "2.jpg"], "timestamps": [1, 0]}, ["1.jpg", "2.jpg"], None, None),
]


@pytest.mark.parametrize(("record", "names", "times", "duration"), FRAMES)
def test_a_list_of_pictures_is_a_video_of_frames(
    record: dict[str, Any], names: list[str], times: Any, duration: Any
) -> None:
    (video,) = field_videos(record)
    assert isinstance(video, FrameList)
    assert [frame.name for frame in video.frames] == names
    assert (video.times, video.duration_seconds) == (times, duration)
    assert [one.name for one in pictures_of(record)] == names


PARTS: list[tuple[dict[str, Any], VideoReference | None]] = [
    ({"type": "video", "video": "a/b.mp4"}, A),
    ({"type": "video_url", "video_url": {"url": "a/b.mp4"}}, A),
    ({"type": "video_url", "video_url": "a/b.mp4"}, A),
    ({"type": "video", "path": "a/b.mp4", "start": 2}, A._replace(start_seconds=2.0)),
    ({"video": "a/b.mp4"}, A),
    ({"type": "video"}, None),
    ({"type": "text", "text": "a"}, None),
    ({"type": "image", "image": "a.jpg"}, None),
]


@pytest.mark.parametrize(("part", "video"), PARTS)
def test_videos_of_parts(part: dict[str, Any], video: VideoReference | None) -> None:
    assert part_video(part) == video


BAD: list[dict[str, Any]] = [
    {"video": 7},
    {"video": {"width": 3}},
    {"video": "a.mp4", "start": 2, "end": 1},
    {"video": "a.mp4", "end": 0},
    {"video": "a.mp4", "start": -1},
    {"video": "a.mp4", "start": "soon"},
    {"video": "a.mp4", "start": float("nan")},
    {"video": "a.mp4", "end": 1e400},
    {"video": "a.mp4", "start": [1, 2]},
    {"video": "data:,"[:5]},
]


@pytest.mark.parametrize("record", BAD)
def test_what_is_no_video_is_refused(record: dict[str, Any]) -> None:
    with pytest.raises((VideoReferenceError, ImageReferenceError)):
        field_videos(record)
    spelled = read_record(spell_record(record))
    assert spelled is not None
    with pytest.raises(VideoReferenceError):
        field_videos(spelled)


@pytest.mark.parametrize("record", [*(record for record, _ in FIELDS), *(record for record, *_ in FRAMES)])
def test_a_spelled_record_has_the_same_videos(record: dict[str, Any]) -> None:
    """A record travels as JSON text without bytes: its videos are the same when it is read."""
    spelled = read_record(
        spell_record({**record, "messages": [{"role": "user", "content": [{"type": "video", **record}]}]})
    )
    assert spelled is not None
    assert [plain(one) for one in field_videos(spelled)] == [plain(one) for one in field_videos(record)]
    assert len(json.dumps(spelled)) < 1000


def plain(video: Any) -> Any:
    """A video without the bytes of its frames."""
    return ([one.name for one in video.frames], *video[1:]) if isinstance(video, FrameList) else video


def test_times_of_pictures() -> None:
    assert frame_times_of({"timestamps": [0, 1.5]}, 2) == (0.0, 1.5)
    assert frame_times_of({"timestamps": "[0, 1.5]"}, 2) == (0.0, 1.5)
    assert frame_times_of({"timestamp_decimal": 1}, 1) is None
    assert frame_times_of({"timestamp_decimal": [0.5]}, 1) == (0.5,)
    assert frame_times_of({"timestamps": [0, 1.5]}, 3) is None
    assert frame_times_of({"timestamps": [1, "x"]}, 2) is None
    assert time_of("1:30") == 90.0


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.binary(max_size=4)
    | st.sampled_from(["a.mp4", "1.jpg", "[", "[]", "data:", "00:01"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["path", "bytes", "url", "frames", "fps", "start", "type", "video"]), inner),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["video", "videos", "video_url", "start", "end", "timestamps", "fps"]), JUNK))
def test_any_value_is_a_video_or_refused(record: dict[str, Any]) -> None:
    spell_record(record)
    try:
        field_videos(record)
        part_video({"type": "video", **record})
    except (VideoReferenceError, ImageReferenceError):
        pass
