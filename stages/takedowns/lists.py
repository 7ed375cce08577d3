"""Lists of what is to be forgotten, as the store keeps them: digests, sorted, of fixed width.

    takedowns/lists/<sha256 of the bytes>.bin   entries of 25 bytes, rising, each once: a letter for the kind of thing
                                                (`KINDS`), 16 bytes of its sha256, 8 bytes by which indexes know it

A list is named by its bytes, so keeping it again changes nothing. It holds no URL, name or caption: those who have the
list that was typed can tell whether something is in it, and nobody else can read it out of the store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from stages.store.errors import StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Entries = NDArray[np.void]

FOLDER: Final = "takedowns"
"""Prefix of all that is recorded about takedowns."""
DIGEST_BYTES: Final = 16
"""Bytes of a digest: the first of a sha256, or all of a sample id."""
ENTRY_BYTES: Final = 1 + DIGEST_BYTES + 8
KINDS: Final = {"url": b"u", "domain": b"d", "picture": b"p", "sample": b"s", "caption": b"c"}
"""What an entry may name, to the letter that stands for it: a URL or another name of a picture or video in its source;
a host with all below it; a picture or video by the sha256 of its bytes; a sample by its id; a caption or text."""


def text_digest(text: str) -> bytes:
    """The digest of a URL, host or caption."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:DIGEST_BYTES]


def entry(kind: str, digest: bytes, look_up: int) -> bytes:
    """The bytes of an entry; `look_up` is the number by which an index of the kind knows what is meant."""
    return KINDS[kind] + digest[:DIGEST_BYTES] + look_up.to_bytes(8, "big")


def sorted_entries(entries: bytes | bytearray) -> bytes:
    """The bytes of a list: these entries, which follow each other in any order, sorted, each once."""
    import numpy as np

    # Texts of one length compare as their bytes do, zeros at their ends included.
    return np.unique(np.frombuffer(entries, f"S{ENTRY_BYTES}")).tobytes()


def digest_of(data: bytes) -> str:
    """The name of a list: the sha256 of its bytes, in hex digits."""
    return hashlib.sha256(data).hexdigest()


def list_key(digest: str) -> str:
    """Key of a list, by the sha256 of its bytes in hex digits."""
    return f"{FOLDER}/lists/{digest}.bin"


def read_list(store: Store, digest: str) -> bytes:
    """The bytes of a list. Raises `StoreError` where they are missing or damaged."""
    data = store.read(list_key(digest))
    if data is None or digest_of(data) != digest:
        raise StoreError(
            f"{list_key(digest)} is {'missing' if data is None else 'damaged'}: it says what was taken down; put it "
            "back from a copy, or type `neo takedown` with the same list again, after moving a damaged one away"
        )
    return data


def entries_of(lists: Iterable[bytes]) -> Entries:
    """The entries of some lists as an array with the fields `kind`, `digest` and `look_up`, in their order."""
    import numpy as np

    fields = [("kind", "S1"), ("digest", f"S{DIGEST_BYTES}"), ("look_up", ">u8")]
    return np.frombuffer(b"".join(lists), fields)
