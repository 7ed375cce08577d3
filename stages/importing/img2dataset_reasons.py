"""Takes over why img2dataset did not get a picture: its `status` and `error_message` as reasons of our closed lists.

The messages are those of Python's `urllib`, which differ a little between systems, and of img2dataset itself; what is
not recognised becomes `unexplained`, and the message stays in the carried column `error_message`.
"""

from __future__ import annotations

import re
from typing import Final

from stages.download.reasons import Reason
from stages.formats.sample_table import ItemReason
from stages.importing.reasons import ImportReason

SUCCESS: Final = "success"
_STATUS = re.compile(r"HTTP Error (\d{3})")
_OF_STATUS: Final = {
    **dict.fromkeys((404, 410), Reason.NOT_FOUND),
    **dict.fromkeys((401, 402, 403, 407, 451), Reason.REFUSED),
    **dict.fromkeys((408, 425), Reason.SERVER_ERROR),
    429: Reason.RATE_LIMITED,
}
_OF_WORDS: Final[tuple[tuple[str, ItemReason], ...]] = (
    ("x-robots-tag", Reason.OPT_OUT),
    ("hash mismatch", ImportReason.HASH_MISMATCH),
    ("image too small", ImportReason.LEFT_OUT_BEFORE),
    ("image area too large", ImportReason.LEFT_OUT_BEFORE),
    ("aspect ratio too large", ImportReason.LEFT_OUT_BEFORE),
    ("image decoding error", Reason.UNDECODABLE),
    ("infinite loop", Reason.REDIRECT_LOOP),
    ("redirection to url", Reason.REDIRECT_FORBIDDEN),
    ("temporary failure in name resolution", Reason.DNS_ERROR),
    ("name or service not known", Reason.HOST_UNKNOWN),
    ("no address associated with hostname", Reason.HOST_UNKNOWN),
    ("nodename nor servname", Reason.HOST_UNKNOWN),
    ("getaddrinfo failed", Reason.HOST_UNKNOWN),
    ("timed out", Reason.TIMEOUT),
    ("timeout", Reason.TIMEOUT),
    ("ssl", Reason.TLS_ERROR),
    ("certificate", Reason.TLS_ERROR),
    ("incompleteread", Reason.CUT_SHORT),
    ("connection refused", Reason.CONNECT_ERROR),
    ("connection reset", Reason.CONNECT_ERROR),
    ("connection aborted", Reason.CONNECT_ERROR),
    ("remote end closed connection", Reason.CONNECT_ERROR),
    ("broken pipe", Reason.CONNECT_ERROR),
    ("no route to host", Reason.CONNECT_ERROR),
    ("unreachable", Reason.CONNECT_ERROR),
    ("unknown url type", Reason.URL_SCHEME),
    ("no host given", Reason.URL_MALFORMED),
    ("url can't contain control characters", Reason.URL_MALFORMED),
    ("nonnumeric port", Reason.URL_MALFORMED),
    ("invalid ipv6", Reason.URL_MALFORMED),
    ("invalid url", Reason.URL_MALFORMED),
    ("codec can't encode", Reason.URL_MALFORMED),
    ("label empty or too long", Reason.URL_MALFORMED),
    ("nonetype", Reason.SCHEMA),
    ("badstatusline", Reason.BAD_RESPONSE),
    ("got more than", Reason.BAD_RESPONSE),
)


def reason_of(status: str | None, message: str | None) -> ItemReason | None:
    """Why a row of img2dataset's table has no picture; None where its status is `success`.

    `("failed_to_download", "HTTP Error 404: Not Found")` is `not_found`.
    """
    if status == SUCCESS:
        return None
    words = (message or "").lower()
    found = _STATUS.search(message or "")
    for known, reason in _OF_WORDS:
        if known in words:
            return reason
    if found:
        code = int(found[1])
        return _OF_STATUS.get(code, Reason.SERVER_ERROR if code >= 500 else Reason.HTTP_STATUS)
    return Reason.UNDECODABLE if status == "failed_to_resize" else Reason.UNEXPLAINED
