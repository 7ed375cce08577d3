"""The sample table of clips: its columns, and a row of it as a `Clip`.

A clip is a stretch of a video with the frames that were taken of it. Its frames are stored as JPEG files, or as packets
of the video (an MP4 cut without decoding) of which the frames are decoded when they are needed; which of the two is the
recipe's, and both give the same pictures at the same times.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from stages.contract import PartFacts
from stages.formats.pairs import StoredImage
from stages.formats.sample_table import sample_id_type
from stages.video.limits import VideoLimits

if TYPE_CHECKING:
    import pyarrow as pa

SHA256_BYTES = 32
"""Length of a digest, in bytes."""


class FrameFacts(PartFacts):
    """How the frames of a part of RawClips were made into JPEG files; those of packets are made when they are read."""

    max_frame_px: int
    """Largest frame, width times height, in pixels."""
    jpeg_quality: int
    """JPEG quality, 1 to 100."""
    limits: VideoLimits = VideoLimits()
    """Limits under which the part was cut, and its packets are decoded."""


def clip_schema() -> pa.Schema:
    """The columns of `samples.parquet` in RawClips; columns of the user's own follow them.

    A row without a clip (a video that could not be used) has a reason, its names, and null elsewhere. Of the columns of
    frames and packets, those of the other way of storing are null.
    """
    import pyarrow as pa

    return pa.schema(
        [
            ("sample_id", sample_id_type()),
            ("url", pa.string()),                   # address of the video, or `source:path`
            ("reference", pa.string()),             # name of the video in its source: conversations find it by this
            ("caption", pa.string()),               # text of this stretch of time, "" where there is none
            ("verdict", pa.string()),
            ("reason", pa.string()),
            ("retriable", pa.bool_()),
            ("sha256", pa.binary(SHA256_BYTES)),    # digest of the whole video file
            ("start_seconds", pa.float64()),        # where the clip begins and ends; 0 is the video's first frame
            ("end_seconds", pa.float64()),
            ("width_px", pa.int32()),               # of the frames as they are stored, upright, pixels square
            ("height_px", pa.int32()),
            ("video_seconds", pa.float64()),        # length of the whole video, where it was opened
            ("native_fps", pa.float64()),           # frames of the video in a second, on average over the clip
            ("num_native_frames", pa.int32()),      # frames of the video in the clip
            ("key", pa.string()),                   # key of its members in `clips.tar`
            ("frame_times", pa.list_(pa.float64())),    # seconds after the clip's start, of each frame that was taken
            ("frame_offsets", pa.list_(pa.int64())),    # first byte of each JPEG file in `clips.tar`
            ("frame_sizes_bytes", pa.list_(pa.int32())),
            ("frame_sha256", pa.list_(pa.binary(SHA256_BYTES))),
            ("packets_offset", pa.int64()),         # first byte of the MP4 in `clips.tar`
            ("packets_size_bytes", pa.int64()),
            ("packets_sha256", pa.binary(SHA256_BYTES)),
            ("frame_pts", pa.list_(pa.int64())),    # presentation time of each frame in the MP4, in its time base
        ]
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Clip:
    """One kept clip of n frames: what its sample table says."""

    sample_id: bytes
    """Sample id, 16 bytes."""
    url: str
    """Address of the video, or `source:path`."""
    reference: str
    """Name of the video in its source."""
    caption: str
    """Text of this stretch of the video, "" where there is none."""
    video_sha256: bytes
    """Digest of the whole video file."""
    start_seconds: float
    """Where the clip begins in its video, in seconds after the first frame."""
    end_seconds: float
    """Where it ends."""
    width_px: int
    """Width of its frames, upright, in pixels."""
    height_px: int
    """Height of its frames, upright, in pixels."""
    frames: tuple[StoredImage, ...]
    """[n] where each frame lies."""
    frame_times: tuple[float, ...]
    """[n] when each frame is shown, in seconds after the clip's start."""
    part: str
    """Part that lists the clip; KeptClips and RawClips have the same part names."""
    position: int
    """Row of `verdicts.parquet` (KeptClips) or `samples.parquet` (RawClips) in its part."""

    @property
    def duration_seconds(self) -> float:
        """Length of the clip, in seconds."""
        return self.end_seconds - self.start_seconds

    def taking(self, numbers: Sequence[int]) -> Clip:
        """The clip with these of its frames alone, counted from 0."""
        frames = tuple(self.frames[number] for number in numbers)
        return replace(self, frames=frames, frame_times=tuple(self.frame_times[number] for number in numbers))

    @classmethod
    def of(cls, row: dict[str, Any], part: str) -> Clip:
        """The clip of a kept row of the sample table, `position` included."""
        return cls(
            sample_id=row["sample_id"],
            url=row["url"],
            reference=row["reference"],
            caption=row["caption"],
            video_sha256=row["sha256"],
            start_seconds=row["start_seconds"],
            end_seconds=row["end_seconds"],
            width_px=row["width_px"],
            height_px=row["height_px"],
            frames=_frames(row, part),
            frame_times=tuple(row["frame_times"]),
            part=part,
            position=row["position"],
        )


def _frames(row: dict[str, Any], part: str) -> tuple[StoredImage, ...]:
    if row["packets_sha256"] is None:
        places = zip(row["frame_sha256"], row["frame_offsets"], row["frame_sizes_bytes"], strict=True)
        frames = ((row["sample_id"], sha256, offset, size, part) for sha256, offset, size in places)
        return tuple(StoredImage(*frame, is_frame=True) for frame in frames)
    packets = (row["sample_id"], row["packets_sha256"], row["packets_offset"], row["packets_size_bytes"], part)
    return tuple(StoredImage(*packets, pts, is_frame=True) for pts in row["frame_pts"])
