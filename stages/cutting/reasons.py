"""The closed list of reasons that only videos and clips have.

Reasons about addresses and answers of the web are `download/`'s, those about paths, texts and tars `importing/`'s.
Every fault that `video/` finds in a file has the same name here, where it also has a verdict.
"""

from __future__ import annotations

from stages.formats.sample_table import ItemReason, Verdict


class ClipReason(ItemReason):
    """Why a video or a clip of it was not kept: first the dropped ones, then the failed ones."""

    TOO_SHORT = "too_short"
    """The stretch is shorter than the recipe's `min_clip_seconds`."""
    CLIP_TOO_LONG = "clip_too_long"
    """The stretch is longer than the recipe's `max_clip_seconds`, and the recipe drops such stretches."""
    CAPTION_EMPTY = "caption_empty"
    """No text belongs to this stretch of time, and the recipe asks for captions."""
    OUTSIDE_VIDEO = "outside_video"
    """The stretch begins where the video has ended."""
    SEVERAL_VIDEOS = "several_videos"
    """The sample of a tar has several videos, and the recipe's `columns` does not say which is meant."""
    NAMES_NO_VIDEO = "names_no_video"
    """The row of the table names no video, as records of conversations about pictures or none do."""
    TOO_MANY_BYTES = "too_many_bytes"
    """The file of the video, or the packets of the clip, have more bytes than the recipe allows."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """A frame of the video has more pixels than the recipe allows."""
    TOO_LONG = "too_long"
    """The video covers more time than the recipe allows."""
    NO_VIDEO = "no_video"
    """The file holds no stream of moving pictures: sound alone, or sound with a cover picture."""
    HDR = "hdr"
    """The brightness is coded for HDR screens (PQ or HLG); shown as it is, such a picture is grey and pale."""

    BAD_TIMES = "bad_times", Verdict.FAILED
    """Start or end is no time, or the end does not lie behind the start."""
    VIDEO_MISSING = "video_missing", Verdict.FAILED
    """The video is named and is not in the source, or a sample of a tar or of Parquet has none."""
    VIDEO_AMBIGUOUS = "video_ambiguous", Verdict.FAILED
    """Several different videos of the source have this name."""
    SUBTITLES_UNREADABLE = "subtitles_unreadable", Verdict.FAILED
    """The subtitles beside the video cannot be read."""
    SUBTITLES_AMBIGUOUS = "subtitles_ambiguous", Verdict.FAILED
    """Several subtitles lie beside the video, and the recipe's `columns` does not say which are meant."""
    UNREADABLE_FILE = "unreadable_file", Verdict.FAILED
    """The file is not a plain file, or cannot be read."""
    PLAYLIST = "playlist", Verdict.FAILED
    """The file is a text that names other files or addresses (HLS, DASH, concat): none of them is opened."""
    UNKNOWN_FORMAT = "unknown_format", Verdict.FAILED
    """The first bytes are those of no video format that is read."""
    BROKEN_CONTAINER = "broken_container", Verdict.FAILED
    """The container's own tables are missing or damaged, such as the `moov` box of an MP4."""
    UNKNOWN_CODEC = "unknown_codec", Verdict.FAILED
    """The pictures are compressed in a way that is not read."""
    NO_FRAMES = "no_frames", Verdict.FAILED
    """The video holds no frame."""
    ABSURD_TIMES = "absurd_times", Verdict.FAILED
    """The frames' times cannot be true: all alike, running backwards, or thousands of frames a second."""
    FILE_CUT_SHORT = "file_cut_short", Verdict.FAILED
    """The file ends, or is damaged, before the end of the stretch."""
    NO_KEYFRAME = "no_keyframe", Verdict.FAILED
    """No frame can be decoded by itself, so that decoding cannot begin."""
    UNDECODABLE = "undecodable", Verdict.FAILED
    """The frames that were asked for are damaged."""
    NOT_IN_MP4 = "not_in_mp4", Verdict.FAILED
    """The packets cannot be put in an MP4 without decoding them; `store="frames"` would take the video."""
    TOO_MUCH_DECODING = "too_much_decoding", Verdict.FAILED
    """One step would decode more pixels than the recipe allows, as where keyframes are hours apart."""
    DEADLINE = "deadline", Verdict.FAILED, True
    """One step took longer than the recipe allows."""
    TOO_MUCH_MEMORY = "too_much_memory", Verdict.FAILED, True
    """One step needed more memory than the recipe allows."""
    CRASHED = "crashed", Verdict.FAILED, True
    """The decoder's process died."""
