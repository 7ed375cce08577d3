"""Messages between a reader and its decoder process: a JSON object, then the bytes that it announces.

Nothing that a decoder's process sends is unpickled: a file that takes it over can answer wrongly, and no more.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

HEAD: Final = struct.Struct(">I")
"""Length of the JSON object, in bytes."""
MAX_JSON_BYTES: Final = 256 * 2**20
"""Longest JSON object."""
MAX_BLOB_BYTES: Final = 2**30
"""Most bytes that follow one."""


class WireMessage(NamedTuple):
    """One request or one answer."""

    fields: dict[str, Any]
    """What it says."""
    blobs: list[bytes]
    """JPEGs or MP4s that it carries."""


def encoded(fields: dict[str, Any], blobs: Sequence[bytes] = ()) -> bytes:
    """The message as bytes."""
    text = json.dumps({"fields": fields, "blobs": [len(blob) for blob in blobs]}).encode()
    return b"".join([HEAD.pack(len(text)), text, *blobs])


def received(read: Callable[[int], bytes]) -> WireMessage:
    """The next message. `read(n)` gives exactly n bytes or raises. Raises `ValueError` for what is no message."""
    (num_bytes,) = HEAD.unpack(read(HEAD.size))
    if num_bytes > MAX_JSON_BYTES:
        raise ValueError(f"a message of {num_bytes} bytes")
    told = json.loads(read(num_bytes))
    sizes_bytes = [int(size) for size in told["blobs"]]
    if any(size < 0 for size in sizes_bytes) or sum(sizes_bytes) > MAX_BLOB_BYTES:
        raise ValueError(f"a message with {sum(sizes_bytes)} bytes after it")
    return WireMessage(dict(told["fields"]), [read(size) for size in sizes_bytes])
