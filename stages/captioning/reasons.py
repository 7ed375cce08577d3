"""Why a pair got no new caption: a closed list."""

from stages.formats.sample_table import ItemReason, Verdict


class CaptionReason(ItemReason):
    """Why a pair got no new caption: a closed list."""

    REFUSED = "refused"
    """The model, or a filter of its provider, refused to answer."""
    CAPTION_EMPTY = "caption_empty"
    """The answer has no visible character."""
    CAPTION_CUT = "caption_cut"
    """The answer was cut at `max_new_tokens`."""
    PICTURE_UNREADABLE = "picture_unreadable", Verdict.FAILED
    """The stored picture cannot be decoded, so nothing was asked."""
    REQUEST_REJECTED = "request_rejected", Verdict.FAILED
    """The endpoint rejected the request for this picture, such as one that is too long for the model (HTTP 4xx)."""
    ANSWER_UNREADABLE = "answer_unreadable", Verdict.FAILED, True
    """The answer is no JSON with a caption in it, at the last try too."""
    RATE_LIMITED = "rate_limited", Verdict.FAILED, True
    """The endpoint asked to wait at each try (HTTP 429)."""
    SERVER_ERROR = "server_error", Verdict.FAILED, True
    """The endpoint failed at each try (HTTP 5xx)."""
    UNREACHABLE = "unreachable", Verdict.FAILED, True
    """No connection, or no answer within `timeout_seconds`, at each try."""
