"""The closed list of reasons for which a video, or a part of it, cannot be used."""

from __future__ import annotations

from enum import StrEnum


class VideoFault(StrEnum):
    """Why a video cannot be used."""

    UNREADABLE_FILE = "unreadable_file"
    """The file is missing, is not a plain file, or cannot be read."""
    TOO_MANY_BYTES = "too_many_bytes"
    """The file is larger than the limit, or the packets of one clip are."""
    PLAYLIST = "playlist"
    """The file is a text that names other files or addresses (HLS, DASH, concat): none of them is opened."""
    UNKNOWN_FORMAT = "unknown_format"
    """The first bytes are those of no format that is read."""
    BROKEN_CONTAINER = "broken_container"
    """The container's own tables are missing or damaged, such as the `moov` box of an MP4."""
    NO_VIDEO = "no_video"
    """No stream of moving pictures: sound alone, or sound with a cover picture."""
    UNKNOWN_CODEC = "unknown_codec"
    """The pictures are compressed in a way that is not read."""
    NO_FRAMES = "no_frames"
    """The stream of pictures holds none."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """A frame is larger than the limit."""
    TOO_LONG = "too_long"
    """The frames cover more time than the limit."""
    ABSURD_TIMES = "absurd_times"
    """The frames' times cannot be true: all alike, running backwards, or thousands of frames a second."""
    NO_KEYFRAME = "no_keyframe"
    """No frame can be decoded by itself, so that decoding cannot begin."""
    HDR = "hdr"
    """The brightness is coded for HDR screens (PQ or HLG); shown as it is, such a picture is grey and pale."""
    UNDECODABLE = "undecodable"
    """The frames that were asked for are damaged."""
    NOT_IN_MP4 = "not_in_mp4"
    """The packets cannot be put in an MP4 without decoding them."""
    TOO_MUCH_DECODING = "too_much_decoding"
    """One call would decode more pixels than the limit, as where keyframes are hours apart."""
    DEADLINE = "deadline"
    """One call took longer than the limit."""
    TOO_MUCH_MEMORY = "too_much_memory"
    """One call needed more memory than the limit."""
    CRASHED = "crashed"
    """The decoder's process died."""


class VideoError(Exception):
    """A video, or a part of it, cannot be used."""

    def __init__(self, fault: VideoFault, detail: str = "") -> None:
        super().__init__(fault, detail)
        self.fault = fault
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.fault.value}: {self.detail}" if self.detail else self.fault.value
