"""Limits under which one video file is read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class VideoLimits(BaseModel):
    """Limits of one file and of one call about it. What exceeds them ends in a fault of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    max_file_bytes: int = Field(default=16 * 2**30, gt=0)
    """Largest file that is opened, in bytes."""
    max_duration_seconds: float = Field(default=4 * 3600.0, gt=0)
    """Longest stretch of time that the frames of a file may cover, in seconds."""
    max_frame_px: int = Field(default=8192 * 4320, gt=0)
    """Largest frame that is decoded, width times height, in pixels."""
    max_decoded_px: int = Field(default=10**12, gt=0)
    """Most pixels that one call decodes, pixels of a frame times frames; 10^12 is an hour of 1080p at 130 frames a
    second."""
    max_memory_bytes: int = Field(default=2 * 2**30, gt=0)
    """Most memory that the decoder's process takes beyond what it takes when it starts, in bytes."""
    deadline_seconds: float = Field(default=120.0, gt=0)
    """Longest that one step of work takes, in seconds of processor time. A long call, such as `scene_starts`, is many
    steps."""
