"""The messages that img2dataset has left in public folders, and the reasons that they become."""

import pytest

from stages.download.reasons import Reason
from stages.formats.sample_table import ItemReason
from stages.importing.img2dataset_reasons import reason_of
from stages.importing.reasons import ImportReason

MESSAGES: list[tuple[str, ItemReason]] = [
    ("HTTP Error 404: Not Found", Reason.NOT_FOUND),
    ("HTTP Error 410: Gone", Reason.NOT_FOUND),
    ("HTTP Error 403: Forbidden", Reason.REFUSED),
    ("HTTP Error 429: Too Many Requests", Reason.RATE_LIMITED),
    ("HTTP Error 503: Service Unavailable", Reason.SERVER_ERROR),
    ("HTTP Error 520: ", Reason.SERVER_ERROR),
    ("HTTP Error 400: Bad Request", Reason.HTTP_STATUS),
    (
        "HTTP Error 302: The HTTP server returned a redirect error that would lead to an infinite loop.\n"
        "The last 30x error message was:\nFound",
        Reason.REDIRECT_LOOP,
    ),
    ("<urlopen error [Errno -2] Name or service not known>", Reason.HOST_UNKNOWN),
    ("<urlopen error [Errno -5] No address associated with hostname>", Reason.HOST_UNKNOWN),
    ("<urlopen error [Errno -3] Temporary failure in name resolution>", Reason.DNS_ERROR),
    ("<urlopen error [Errno 111] Connection refused>", Reason.CONNECT_ERROR),
    ("<urlopen error [Errno 113] No route to host>", Reason.CONNECT_ERROR),
    ("<urlopen error [Errno 101] Network is unreachable>", Reason.CONNECT_ERROR),
    ("[Errno 104] Connection reset by peer", Reason.CONNECT_ERROR),
    ("Remote end closed connection without response", Reason.CONNECT_ERROR),
    ("<urlopen error timed out>", Reason.TIMEOUT),
    ("The read operation timed out", Reason.TIMEOUT),
    ("<urlopen error _ssl.c:1114: The handshake operation timed out>", Reason.TIMEOUT),
    (
        "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: certificate has expired "
        "(_ssl.c:1131)>",
        Reason.TLS_ERROR,
    ),
    (
        "<urlopen error [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is "
        "not valid for 'a.b'. (_ssl.c:1131)>",
        Reason.TLS_ERROR,
    ),
    ("<urlopen error [SSL: SSLV3_ALERT_HANDSHAKE_FAILURE] sslv3 alert handshake failure>", Reason.TLS_ERROR),
    ("IncompleteRead(8023 bytes read, 2022 more expected)", Reason.CUT_SHORT),
    ("Use of image disallowed by X-Robots-Tag directive", Reason.OPT_OUT),
    ("<urlopen error unknown url type: gopher>", Reason.URL_SCHEME),
    ("unknown url type: 'not a url'", Reason.URL_SCHEME),
    ("<urlopen error no host given>", Reason.URL_MALFORMED),
    ("URL can't contain control characters. '/a b.jpg' (found at least ' ')", Reason.URL_MALFORMED),
    ("'ascii' codec can't encode character '\\xe9' in position 12: ordinal not in range(128)", Reason.URL_MALFORMED),
    ("nonnumeric port: 'x'", Reason.URL_MALFORMED),
    ("hash mismatch", ImportReason.HASH_MISMATCH),
    ("something never seen before", Reason.UNEXPLAINED),
]


@pytest.mark.parametrize(("message", "reason"), MESSAGES)
def test_a_message_of_the_download_becomes_a_reason(message: str, reason: ItemReason) -> None:
    assert reason_of("failed_to_download", message) is reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Image decoding error", Reason.UNDECODABLE),
        ("image too small", ImportReason.LEFT_OUT_BEFORE),
        ("aspect ratio too large", ImportReason.LEFT_OUT_BEFORE),
        ("OpenCV(4.6.0) error: (-215:Assertion failed)", Reason.UNDECODABLE),
    ],
)
def test_a_message_of_the_resizer_becomes_a_reason(message: str, reason: ItemReason) -> None:
    assert reason_of("failed_to_resize", message) is reason


def test_a_success_has_no_reason_and_a_status_without_message_is_unexplained() -> None:
    assert reason_of("success", None) is None
    assert reason_of(None, None) is reason_of("failed_to_download", None) is Reason.UNEXPLAINED
