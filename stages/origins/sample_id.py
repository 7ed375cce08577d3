"""The sample id of a row, which is the same in every run.

A sample id is the first 16 bytes of sha256 over the source's name and the fields that identify the row (URL and
caption, for example). The same fields may stand in several rows: the second such row is hashed with the ordinal 1, the
third with 2, and so on, so that ids are unique. `repeats.py` finds the ordinals.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeAlias

from stages.formats.sample_table import SAMPLE_ID_BYTES

Fields: TypeAlias = Sequence[bytes | None]
"""The fields that identify a row, as bytes: text from outside need not be UTF-8. None is a null."""


def sample_id(source: str, fields: Fields, ordinal: int = 0) -> bytes:
    """The id of a row, 16 bytes.

    Each field is hashed with its length, so that ("ab", "c") and ("a", "bc") differ: `3:web2:ab1:c` is hashed for the
    first, from the source "web". A null is a bare `-`.
    """
    everything = [source.encode(), *fields, *([str(ordinal).encode()] if ordinal else [])]
    spelled = b"".join(b"-" if field is None else b"%d:%b" % (len(field), field) for field in everything)
    return hashlib.sha256(spelled).digest()[:SAMPLE_ID_BYTES]
