"""The closed list of reasons for which a row of a URL table ends without a picture."""

from __future__ import annotations

from stages.formats.sample_table import ItemReason, Verdict


class Reason(ItemReason):
    """Why a row was not kept: first the dropped ones (not wanted), then the failed ones (wanted, but not obtained)."""

    REPEATED_ROW = "repeated_row"
    """An earlier row of the table has the same URL and caption."""
    URL_SCHEME = "url_scheme"
    """The scheme is neither http nor https."""
    URL_MALFORMED = "url_malformed"
    """The URL is too long, has credentials or control characters, or cannot be parsed."""
    URL_FORBIDDEN_ADDRESS = "url_forbidden_address"
    """The host is, or resolves to, an address that is not on the public internet."""
    CAPTION_ENCODING = "caption_encoding"
    """The caption is not valid UTF-8."""
    OPT_OUT = "opt_out"
    """The server forbids this use of the picture (X-Robots-Tag)."""
    TDM_RESERVED = "tdm_reserved"
    """The server reserves text and data mining (`tdm-reservation: 1`)."""
    TRAINING_REFUSED = "training_refused"
    """The server, or its robots.txt, forbids the use for training (`Content-Usage: train-ai=n`)."""
    ROBOTS_DISALLOWED = "robots_disallowed"
    """The robots.txt of the host forbids this address to us, and the recipe respects it."""
    TAKEN_DOWN = "taken_down"
    """`neo takedown` names its URL, host, picture, caption or sample id; nothing of it is kept but the sample id."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """A format that is never handed to a decoder, such as SVG, PDF or HEIC."""
    ANIMATED = "animated"
    """The picture has several frames, and the recipe drops animations."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The picture's header announces more pixels than the recipe allows, of the picture or of a tile in it."""
    SIDE_TOO_LONG = "side_too_long"
    """A side of the picture is longer than 65,500 px, the most that a JPEG may have."""

    MALFORMED_ROW = "malformed_row", Verdict.FAILED
    """The row cannot be read from its file; the column `malformed_row` says why, and how it begins."""
    SCHEMA = "schema", Verdict.FAILED
    """URL or caption is null."""
    HASH_UNREADABLE = "hash_unreadable", Verdict.FAILED
    """The table's hash of the picture (`verify_hash`) is null, or no md5, sha1, sha256 or sha512 in hex digits."""
    HOST_UNKNOWN = "host_unknown", Verdict.FAILED
    """The host name does not exist."""
    DNS_ERROR = "dns_error", Verdict.FAILED, True
    """The resolver does not answer at the moment."""
    CONNECT_ERROR = "connect_error", Verdict.FAILED, True
    """The connection was refused, or it broke."""
    TLS_ERROR = "tls_error", Verdict.FAILED
    """The certificate is invalid or the handshake failed."""
    TIMEOUT = "timeout", Verdict.FAILED, True
    """The response was not complete before the deadline."""
    CUT_SHORT = "cut_short", Verdict.FAILED, True
    """The connection closed before the announced end of the body."""
    BAD_RESPONSE = "bad_response", Verdict.FAILED
    """The response is not valid HTTP."""
    BAD_ENCODING = "bad_encoding", Verdict.FAILED
    """The body has a content encoding that cannot be undone."""
    TOO_LARGE = "too_large", Verdict.FAILED
    """The body has more bytes than the recipe allows: announced, sent or decompressed."""
    REDIRECT_FORBIDDEN = "redirect_forbidden", Verdict.FAILED
    """A redirect leads to a URL or address that is not allowed, or from https to http."""
    REDIRECT_LOOP = "redirect_loop", Verdict.FAILED
    """Redirects lead back to the same URL again and again, or nowhere, or there were too many."""
    NOT_FOUND = "not_found", Verdict.FAILED
    """The status is 404 or 410."""
    REFUSED = "refused", Verdict.FAILED
    """The status is 401, 402, 403, 407 or 451."""
    RATE_LIMITED = "rate_limited", Verdict.FAILED, True
    """The status is 429."""
    SERVER_ERROR = "server_error", Verdict.FAILED, True
    """The status is 500 or above, 408 or 425."""
    ROBOTS_UNREACHABLE = "robots_unreachable", Verdict.FAILED, True
    """The robots.txt of the host could not be read at the moment, and the recipe respects it."""
    HTTP_STATUS = "http_status", Verdict.FAILED
    """The status is none of success (2xx) and none that has a reason of its own."""
    EMPTY_BODY = "empty_body", Verdict.FAILED
    """The status is one of success, but the body is empty."""
    HASH_MISMATCH = "hash_mismatch", Verdict.FAILED
    """The body has another hash than the table says (`verify_hash`): the server sends other bytes than it did."""
    NOT_IMAGE = "not_image", Verdict.FAILED
    """The body does not begin like a picture; the content type is ignored."""
    TRUNCATED = "truncated", Verdict.FAILED
    """The picture is cut off."""
    UNDECODABLE = "undecodable", Verdict.FAILED
    """The format is known, but its content is broken."""
    UNEXPLAINED = "unexplained", Verdict.FAILED, True
    """The downloader itself failed; the part's annotations hold its first errors."""


class RowError(Exception):
    """Ends the work on a row, for a reason."""

    def __init__(self, reason: Reason, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        """Seconds that the server asked to wait before the next try (`Retry-After`)."""
