"""Every way in which a row of a URL table can end without a picture: a closed list."""

from __future__ import annotations

from stages.formats.sample_table import ItemReason, Verdict


class Reason(ItemReason):
    """Why a row was not kept: dropped (not wanted) first, then failed (wanted, and not to be had)."""

    REPEATED_ROW = "repeated_row"
    """The same URL and caption stand earlier in the table."""
    URL_SCHEME = "url_scheme"
    """Neither http nor https."""
    URL_MALFORMED = "url_malformed"
    """Too long, with credentials or control characters, or no URL at all."""
    URL_FORBIDDEN_ADDRESS = "url_forbidden_address"
    """The host is, or resolves to, an address that is not on the public internet."""
    CAPTION_ENCODING = "caption_encoding"
    """The caption is not valid UTF-8."""
    OPT_OUT = "opt_out"
    """The server asks that this picture be used for no such purpose (X-Robots-Tag)."""
    UNSUPPORTED_FORMAT = "unsupported_format"
    """A format that is never handed to a decoder, such as SVG, PDF or HEIC."""
    ANIMATED = "animated"
    """More than one frame, where the recipe wants stills only."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The header announces more pixels than the recipe allows."""

    SCHEMA = "schema", Verdict.FAILED
    """URL or caption is null."""
    HOST_UNKNOWN = "host_unknown", Verdict.FAILED
    """There is no such name."""
    DNS_ERROR = "dns_error", Verdict.FAILED, True
    """Names cannot be resolved just now."""
    CONNECT_ERROR = "connect_error", Verdict.FAILED, True
    """No connection, or one that broke."""
    TLS_ERROR = "tls_error", Verdict.FAILED
    """The certificate or the handshake is no good."""
    TIMEOUT = "timeout", Verdict.FAILED, True
    """Not all of the answer came before the deadline."""
    CUT_SHORT = "cut_short", Verdict.FAILED, True
    """The connection closed before the announced end of the body."""
    BAD_RESPONSE = "bad_response", Verdict.FAILED
    """The answer is not HTTP."""
    BAD_ENCODING = "bad_encoding", Verdict.FAILED
    """A content encoding that was not asked for and cannot be undone."""
    TOO_LARGE = "too_large", Verdict.FAILED
    """More bytes than the recipe allows, announced, sent or unpacked."""
    REDIRECT_FORBIDDEN = "redirect_forbidden", Verdict.FAILED
    """A hop to an address, scheme or URL that would be refused at the start, or from https to http."""
    REDIRECT_LOOP = "redirect_loop", Verdict.FAILED
    """A hop back to where it came from, or more hops than allowed."""
    NOT_FOUND = "not_found", Verdict.FAILED
    """404 or 410."""
    REFUSED = "refused", Verdict.FAILED
    """401, 402, 403, 407 or 451."""
    RATE_LIMITED = "rate_limited", Verdict.FAILED, True
    """429."""
    SERVER_ERROR = "server_error", Verdict.FAILED, True
    """500 and above, 408 and 425."""
    HTTP_STATUS = "http_status", Verdict.FAILED
    """Any other status but success."""
    EMPTY_BODY = "empty_body", Verdict.FAILED
    """Success, and nothing in it."""
    NOT_IMAGE = "not_image", Verdict.FAILED
    """The first bytes belong to no picture, whatever the content type says."""
    TRUNCATED = "truncated", Verdict.FAILED
    """A picture that ends before its end."""
    UNDECODABLE = "undecodable", Verdict.FAILED
    """A known format with broken content."""
    UNEXPLAINED = "unexplained", Verdict.FAILED, True
    """The downloader itself stumbled; the part's notes say how."""


class RowError(Exception):
    """This row ends here, for a reason. Its text is the reason's value: img2dataset passes errors on as text."""

    def __init__(self, reason: Reason, retry_after_seconds: float = 0.0) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.retry_after_seconds = retry_after_seconds
        """How long the server asked us to stay away."""
