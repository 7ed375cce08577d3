"""What a store can do, found out by doing it: the first command that opens a store probes it, and so does `neo doctor`.

Everything rests on exclusive creates. A server that does not know the condition takes every write, so two attempts
would overwrite each other's records without a word; that is seen here, before anything is made.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from stages.store.store import Store

FOLDER: Final = "probes"
FIRST: Final = b"the first writer's bytes"
SECOND: Final = b"another writer's bytes"


@dataclass(frozen=True)
class ProbeResult:
    """What was seen."""

    exclusive_creates: bool
    """Of two creates of one key exactly one won, and its bytes stayed."""
    reads_back: bool
    """What was written was read back, whole and in part."""

    @property
    def problem(self) -> str:
        """What the store cannot do and what to do about it, or ''."""
        if not self.reads_back:
            return "what is written does not read back the same; use another store"
        if not self.exclusive_creates:
            return (
                "two creates of one key both succeeded (conditional writes, `If-None-Match: *`, are not heeded), so "
                "two commands would overwrite each other's records; use a store with conditional writes (a local "
                "folder, AWS S3, GCS, Azure, a current MinIO or Ceph), or, if never more than one command at a time "
                "will write there, say `single_writer = true` in the site file"
            )
        return ""


def probe(store: Store) -> ProbeResult:
    """Try what everything rests on, under keys that are removed again. Raises `StoreError` if the store fails."""
    key = f"{FOLDER}/{uuid.uuid4().hex}"
    try:
        won = (store.create_conditionally(key, FIRST), store.create_conditionally(key, SECOND))
        kept = store.read(key)
        return ProbeResult(
            exclusive_creates=won == (True, False) and kept == FIRST,
            reads_back=kept in (FIRST, SECOND) and store.read_range(key, 4, 5) == kept[4:9],
        )
    finally:
        store.delete(key)
