"""Why a conversation or a question is not kept: one closed list, and the error that carries a reason."""

from __future__ import annotations

from stages.formats.sample_table import ItemReason, Verdict


class ConversationReason(ItemReason):
    """Why a conversation was not kept: a closed list."""

    OTHER_SPLIT = "other_split"
    """It belongs to the other share of the table: held out where this step trains, or the reverse."""
    REPEATED_ROW = "repeated_row"
    """An earlier row holds the same conversation, id included."""
    ENCODING = "encoding"
    """A message is not valid UTF-8."""
    ROLES = "roles"
    """A role is unknown, no user or no assistant speaks, or a system message stands after the first turn."""
    TOOL_TURN = "tool_turn"
    """A turn calls a tool or answers for one, or the record offers tools: NEO has no form for these."""
    VIDEO = "video"
    """It is about a video, and no clips were given to find it among."""
    AUDIO = "audio"
    """It is about a sound: only pictures are read."""
    PART_KIND = "part_kind"
    """A part of a message is neither text nor a picture nor a video."""
    MESSAGE_EMPTY = "message_empty"
    """A message of the user has neither text nor picture nor video, or one of the assistant has no text."""
    PLACEHOLDERS = "placeholders"
    """Its places for pictures or videos are more or fewer than these, or one stands outside the user's messages."""
    TOO_LONG = "too_long"
    """All messages together have more than `max_conversation_chars` characters."""
    TOO_MANY_IMAGES = "too_many_images"
    """It has more than `max_images` pictures."""
    TOO_MANY_VIDEOS = "too_many_videos"
    """It has more than `max_videos` videos."""
    TOO_MANY_FRAMES = "too_many_frames"
    """A video that is given as its frames has more than `max_frames` of them."""
    TURN_WEIGHT = "turn_weight"
    """A turn's `weight`, `loss` or `is_input` is neither yes nor no: a turn is learned from wholly or not at all."""
    NOTHING_SUPERVISED = "nothing_supervised"
    """All turns of the assistant are marked as not to be learned from."""
    BOXES = "boxes"
    """A box or a point is impossible or on no picture, there are more or fewer boxes than places for them, or the
    picture's size is unknown."""
    GEOMETRY = "geometry"
    """Camera data that its text or the recipe asks for is missing, or is no matrix of finite numbers."""
    OPTIONS = "options"
    """A multiple-choice question has fewer than two options, or its answer is none of them."""
    NO_ANSWER = "no_answer"
    """A held-out question has no right answer in the table."""
    IMAGE_MISSING = "image_missing"
    """A picture was not collected, or not kept."""
    VIDEO_MISSING = "video_missing"
    """The stretch of the video that it means was not cut, or not kept."""
    VIDEO_AMBIGUOUS = "video_ambiguous"
    """It means a whole video that was cut into several clips, none of which covers all of it."""
    IMAGE_REFERENCE = "image_reference", Verdict.FAILED
    """A value that stands where a picture should is no URL, path, data: URI or bytes."""
    VIDEO_REFERENCE = "video_reference", Verdict.FAILED
    """A value that stands where a video should is no URL, path or list of frames, or its times are impossible."""
    MALFORMED_ROW = "malformed_row", Verdict.FAILED
    """The row cannot be read: a line that is no JSON, or one with more or fewer fields than the header."""
    SCHEMA = "schema", Verdict.FAILED
    """The messages, or a role or text in them, are null or of another type than in the rest of the table."""


class UnreadableRecordError(ValueError):
    """A record that cannot be used, for the reason `reason`."""

    def __init__(self, reason: ConversationReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
