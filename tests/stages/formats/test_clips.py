"""Rows of the sample table of clips, in both ways of storing frames."""

from typing import Any

import pyarrow as pa

from stages.formats.clips import Clip, clip_schema

ROW: dict[str, Any] = {
    "sample_id": bytes(range(16)),
    "url": "films:a.mp4",
    "reference": "a.mp4",
    "caption": "A film.",
    "verdict": "kept",
    "sha256": bytes(32),
    "start_seconds": 2.0,
    "end_seconds": 4.5,
    "width_px": 64,
    "height_px": 48,
    "frame_times": [0.0, 1.25],
}
FRAMES = {"frame_offsets": [512, 2048], "frame_sizes_bytes": [700, 800], "frame_sha256": [b"a" * 32, b"b" * 32]}
PACKETS = {
    "packets_offset": 512,
    "packets_size_bytes": 9000,
    "packets_sha256": b"c" * 32,
    "frame_pts": [180_000, 292_500],
}


def clip(stored: dict[str, Any]) -> Clip:
    (row,) = pa.Table.from_pylist([ROW | stored], schema=clip_schema()).to_pylist()
    return Clip.of({**row, "position": 3}, "00007")


def test_frames_are_found_one_by_one() -> None:
    shown = clip(FRAMES)
    assert [(frame.offset, frame.size_bytes, frame.pts) for frame in shown.frames] == [
        (512, 700, None),
        (2048, 800, None),
    ]
    assert shown.duration_seconds == 2.5 and shown.frame_times == (0.0, 1.25)
    assert {frame.part for frame in shown.frames} == {shown.part} == {"00007"}


def test_frames_of_packets_share_their_bytes_and_differ_in_time() -> None:
    shown = clip(PACKETS)
    assert [frame.pts for frame in shown.frames] == [180_000, 292_500]
    assert {(frame.offset, frame.size_bytes, frame.sha256) for frame in shown.frames} == {(512, 9000, b"c" * 32)}
