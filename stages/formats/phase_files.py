"""Files that an earlier phase of the same artifact made, read by what its records say.

There is no manifest yet that an `Artifact` could be opened by; the check and the words are like its.
"""

from __future__ import annotations

from stages.artifacts.artifact import mended_by
from stages.artifacts.records import FileEntry, PartRecord
from stages.store.errors import StoreError
from stages.store.store import Store


def read_file(store: Store, record: PartRecord, name: str) -> bytes:
    """A file that an earlier phase made. Raises `StoreError` where it is not what was recorded."""
    return read_entry(store, record.file(name))


def read_entry(store: Store, entry: FileEntry) -> bytes:
    """The same, by its entry in the record."""
    data = store.read(entry.key)
    if data is None or len(data) != entry.size_bytes:
        found = "missing" if data is None else f"{len(data)} bytes"
        raise damaged(entry.key, f"is {found}, {entry.size_bytes} bytes were recorded")
    return data


def damaged(key: str, said: str) -> StoreError:
    """What to raise where a file that an earlier phase made is not as it was recorded."""
    _, stage, fingerprint, *_ = key.split("/")
    return StoreError(f"{key} {said}; {mended_by(f'{stage}/{fingerprint}')}")
