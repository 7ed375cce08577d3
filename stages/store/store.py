"""The store: objects under keys, in a local folder or an object store; only exclusive creates make things true.

Owns every durable write. Data goes to private keys first; one exclusive create of a small record then makes it
visible. The same calls serve a local folder and object stores (`s3://`, `gs://`, `az://`) through obstore, which takes
credentials and addresses from the environment (`AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, ...).
"""

from __future__ import annotations

from contextlib import suppress
from functools import cached_property
from pathlib import Path

from stages.store.errors import StoreError
from stages.store.exclusive_create import create_after_looking, create_exclusively, put_despite_conflicts
from stages.store.local_folder import create_in_folder, make_durable, sync_folders
from stages.store.metadata import readable_json, supports_conditional_writes
from stages.store.numbering import first_missing
from stages.store.reader import CHUNK_BYTES, StoreReader


class Store(StoreReader):
    """Keeps objects under keys such as `artifacts/pack_rows/1f0c.../manifest.json`. See `StoreReader` for URLs."""

    def create(self, key: str, data: bytes, *, syncs_name: bool = True) -> bool:
        """Create an object exclusively and durably. True if this call made it, False if the key existed already.

        Without `syncs_name` a power cut may lose the object as a whole until `sync_names` is called: for many of them.
        """
        if self.has_conditional_writes:
            return self.create_conditionally(key, data, syncs_name=syncs_name)
        with self._doing(f"create {key}"):
            return create_after_looking(self.engine, key, data)

    def create_conditionally(self, key: str, data: bytes, *, syncs_name: bool = True) -> bool:
        """`create` by the store's own conditional write, whatever its metadata says: this is what a probe tries."""
        with self._doing(f"create {key}"):
            if self.folder is not None:
                return create_in_folder(self.folder, key, data, syncs_name=syncs_name)
            return create_exclusively(self.engine, key, data)

    def sync_names(self, prefix: str) -> None:
        """Make objects durable that were created without it directly below `prefix`; nothing in an object store."""
        if self.folder is not None:
            with self._doing(f"make the names below {prefix} durable"):
                sync_folders(self.folder / prefix, self.folder)

    @cached_property
    def has_conditional_writes(self) -> bool:
        """Whether the store supports conditional writes (`If-None-Match: *`), as its metadata says."""
        return supports_conditional_writes(self)

    def create_json(self, key: str, value: object, *, syncs_name: bool = True) -> bool:
        """`create` with a value as readable JSON: sorted keys, two spaces."""
        return self.create(key, readable_json(value), syncs_name=syncs_name)

    def overwrite(self, key: str, data: bytes) -> None:
        """Replace an object as a whole, or create it. For heartbeats; nothing is decided by such an object."""
        import obstore

        with self._doing(f"write {key}"):
            obstore.put(self.engine, key, data)

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to a private key, durably, and check that all of it arrived."""
        import obstore

        with self._doing(f"upload {key}"):
            put_despite_conflicts(lambda: obstore.put(self.engine, key, path, chunk_size=CHUNK_BYTES))
            if self.folder is not None:
                make_durable(self.folder, key)
        size_bytes, expected_bytes = self.size_bytes(key), path.stat().st_size
        if size_bytes != expected_bytes:
            raise StoreError(
                f"{key} has {size_bytes} bytes after the upload of {expected_bytes}; run the command again"
            )

    def delete(self, key: str) -> None:
        """Remove an object that no record names. Removing one that does not exist is no error."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"delete {key}"):
            obstore.delete(self.engine, key)

    def move(self, key: str, target: str) -> None:
        """Give an object another key, which no other object has."""
        import obstore

        with self._doing(f"move {key}"):
            obstore.rename(self.engine, key, target)

    def quarantine(self, key: str, why: str = "torn") -> str:
        """Move a record to `<key>.<why>-<n>`, so that what it stood for is made again; returns the new key."""
        import obstore

        target = self._quarantine_key(key, why)
        # Another attempt may have moved it already; then there is nothing left to do.
        with suppress(FileNotFoundError), self._doing(f"quarantine {key}"):
            obstore.rename(self.engine, key, target)
        return target

    def copy_to_quarantine(self, key: str, why: str) -> None:
        """Copy an object, if there is one, to `<key>.<why>-<n>`, before its committed bytes replace it."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"copy {key} to quarantine"):
            obstore.copy(self.engine, key, self._quarantine_key(key, why))

    def _quarantine_key(self, key: str, why: str) -> str:
        return f"{key}.{why}-{first_missing(lambda number: self.size_bytes(f'{key}.{why}-{number}') is not None)}"
