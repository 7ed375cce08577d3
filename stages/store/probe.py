"""What a store can do, found by trying it: the first command that opens a store probes it, and so does `neo doctor`.

Everything rests on exclusive creates (conditional writes). A server that ignores the condition accepts every write, so
two attempts would overwrite each other's records silently; the probe finds that before anything is made.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Final, Protocol

FOLDER: Final = "probes"
"""Key prefix of the probe's objects, which are removed again."""
FIRST: Final = b"the first writer's bytes"
SECOND: Final = b"another writer's bytes"


class Probed(Protocol):
    """What a probe needs of a store."""

    def create_conditionally(self, key: str, data: bytes) -> bool:
        """Create an object by a conditional write. True if this call made it."""

    def read(self, key: str) -> bytes | None:
        """The whole object, or None if there is none."""

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from offset `start`."""

    def delete(self, key: str) -> None:
        """Remove an object."""


@dataclass(frozen=True)
class ProbeResult:
    """What a store can do."""

    exclusive_creates: bool
    """Whether exactly one of two creates of one key won, and its bytes stayed."""
    reads_back: bool
    """Whether what was written was read back, whole and in part."""

    @property
    def problem(self) -> str:
        """What the store cannot do and how to deal with it, or ''."""
        if not self.reads_back:
            return "what is written does not read back the same; use another store"
        if not self.exclusive_creates:
            return (
                "two creates of one key both succeeded (the store does not support conditional writes, "
                "`If-None-Match: *`), so two commands would overwrite each other's records; use a store with "
                "conditional writes (a local folder, AWS S3, GCS, Azure, a current MinIO or Ceph), or, if never more "
                "than one command at a time will write there, say `single_writer = true` in the site file"
            )
        return ""


def probe(store: Probed) -> ProbeResult:
    """Try exclusive creates and reads under keys that are removed again. Raises `StoreError` if the store fails."""
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
