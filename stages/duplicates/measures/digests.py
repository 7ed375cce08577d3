"""Digests of 64 bits of what pairs have in common: URLs, the bytes of pictures, texts.

Two different URLs or captions have one digest with a chance of 1 to 18 quintillion: among 390 million, one wrong
duplicate is to be expected in 240 runs.
"""

from __future__ import annotations

from typing import Final

import xxhash

from stages.mixing.held_out import plain_text, plain_url

DIGEST_BYTES: Final = 8


def url_digest(url: str) -> int | None:
    """A digest of a URL without scheme, fragment and letter case of the host; None for an empty one."""
    return _digest(plain_url(url))


def text_digest(text: str) -> int | None:
    """A digest of a text without letter case and amount of white space; None for an empty one."""
    return _digest(plain_text(text))


def bytes_digest(sha256: bytes) -> int:
    """The first 64 bits of a digest of 256."""
    return int.from_bytes(sha256[:DIGEST_BYTES], "little")


def _digest(text: str) -> int | None:
    """None for an empty text, which pairs have in common without being alike."""
    return xxhash.xxh3_64_intdigest(text.encode("utf-8", "surrogatepass")) if text else None
