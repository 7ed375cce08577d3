"""Undoes the content codings of a response body, where there are any.

Nothing but `identity` is asked for, so a coding is either sent unasked (gzip, deflate) or a word without meaning for
the bytes (`aws-chunked`, `UTF-8`, a blank). The bytes decide: what is not coded as announced is taken as it is where
it begins like a picture.
"""

from __future__ import annotations

import zlib
from email.message import Message
from typing import Final

from neo_model.inputs.signatures import known_format
from stages.download.http.http_message import BodyCap, tokens
from stages.download.reasons import Reason, RowError

MAX_CODINGS: Final = 4
"""Most codings on top of each other that are undone."""
CODINGS: Final = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd", "compress"})
"""Codings that change the bytes of a body."""
_PLAIN: Final = frozenset({"identity", "chunked"})
_GZIP_START: Final = b"\x1f\x8b"
_GZIP: Final = zlib.MAX_WBITS | 16
_RAW: Final = -zlib.MAX_WBITS


def undo_codings(body: bytes, headers: Message, cap: BodyCap) -> bytes:
    """The body as it was before it was coded; never more than one byte beyond the cap is unpacked.

    Raises `RowError` (too_large, cut_short; bad_encoding where a body that is no picture has a coding that is not
    undone).
    """
    codings = _codings(headers)
    if not body or not has_codings(headers):
        return body
    num_undone = 0
    for coding in reversed(codings):
        if coding in ("gzip", "x-gzip") and body.startswith(_GZIP_START):
            body = _unpacked(body, _GZIP, cap)
        elif coding == "deflate" and known_format(body) is None:
            body = _unpacked(body, zlib.MAX_WBITS if _is_zlib(body) else _RAW, cap)
        else:
            continue
        num_undone += 1
        if num_undone > MAX_CODINGS:
            raise RowError(Reason.BAD_ENCODING)
    num_announced = sum(coding in CODINGS for coding in codings)
    if num_undone < num_announced and known_format(body) is None:
        raise RowError(Reason.BAD_ENCODING)
    return body


def has_codings(headers: Message) -> bool:
    """Whether the headers announce any coding, also one without meaning."""
    return not _PLAIN.issuperset(_codings(headers))


def _codings(headers: Message) -> list[str]:
    return [*tokens(headers, "Content-Encoding"), *tokens(headers, "Transfer-Encoding")]


def is_coded(headers: Message) -> bool:
    """Whether the headers announce a coding that changes the bytes of the body."""
    return not CODINGS.isdisjoint(_codings(headers))


def _is_zlib(body: bytes) -> bool:
    """Whether the body begins with a header of zlib (RFC 1950); some servers send deflate without it."""
    return body[0] & 15 == 8 and int.from_bytes(body[:2]) % 31 == 0


def _unpacked(body: bytes, window_bits: int, cap: BodyCap) -> bytes:
    """One or several members of gzip, or one deflate stream. Bytes behind the last one are ignored."""
    plain = b""
    while True:
        unpacker = zlib.decompressobj(window_bits)
        try:
            plain += unpacker.decompress(body, cap.num_bytes + 1 - len(plain))
        except zlib.error as error:
            if plain:  # bytes behind the last member only look like another
                return plain
            raise RowError(Reason.BAD_ENCODING) from error
        if len(plain) > cap.num_bytes:
            return plain[: cap.allowed(len(plain))]
        if not unpacker.eof and not cap.takes_beginning:
            raise RowError(Reason.CUT_SHORT)
        body = unpacker.unused_data
        if window_bits != _GZIP or not body.startswith(_GZIP_START):
            return plain
