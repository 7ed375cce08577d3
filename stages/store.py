"""Storage and the commit: the store is the truth, and only create-exclusive writes make things true.

Owns every key that is written and every durable byte. Data goes to private keys first; one exclusive create of a
small record then makes it visible. Nothing is decided by listing. The same calls serve a local folder and object
stores (`s3://`, `gs://`, `az://`), with obstore as the engine.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from stages.faults import fault_point

if TYPE_CHECKING:
    from obstore.store import ObjectStore

LAYOUT_VERSION = 1
UPLOAD_CHUNK_BYTES = 16 * 1024 * 1024


class StoreError(RuntimeError):
    """The store refused or lost something; the message names the key and what to do."""


class Store:
    """A place that keeps objects under keys such as `artifacts/pack_rows/1f0c.../manifest.json`.

    `url` is a folder, or `s3://bucket/prefix`, `gs://...`, `az://...`. Pickles by its URL, so that it can travel to
    other processes and machines; each opens its own connection at first use.
    """

    def __init__(self, url: str | Path) -> None:
        text = str(url)
        self.url = text if "://" in text else str(Path(text).expanduser().resolve())

    def __getstate__(self) -> dict[str, str]:
        return {"url": self.url}

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    @cached_property
    def folder(self) -> Path | None:
        """The local folder that holds the objects, or None for an object store."""
        return None if "://" in self.url else Path(self.url)

    @cached_property
    def _engine(self) -> ObjectStore:
        from obstore.store import LocalStore, from_url

        if self.folder is None:
            return from_url(self.url)
        return cast("ObjectStore", LocalStore(str(self.folder), mkdir=True))

    def create(self, key: str, data: bytes) -> bool:
        """Create an object exclusively and durably. True if this call made it, False if the key existed already."""
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        try:
            obstore.put(self._engine, key, data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        self._make_durable(key)
        return True

    def create_json(self, key: str, value: object) -> bool:
        """`create` with a value as readable JSON: sorted keys, two spaces."""
        text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return self.create(key, text.encode() + b"\n")

    def overwrite(self, key: str, data: bytes) -> None:
        """Put an object in the place of an older one, whole. For counters that show life; it decides nothing."""
        import obstore

        obstore.put(self._engine, key, data)

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to a private key, durably, and check that all of it arrived."""
        import obstore

        obstore.put(self._engine, key, path, chunk_size=UPLOAD_CHUNK_BYTES)
        self._make_durable(key)
        size_bytes, expected_bytes = self.size_bytes(key), path.stat().st_size
        if size_bytes != expected_bytes:
            raise StoreError(
                f"{key} has {size_bytes} bytes after the upload of {expected_bytes}; run the command again"
            )

    def read(self, key: str) -> bytes | None:
        """The whole object, or None if there is none."""
        import obstore

        try:
            return bytes(obstore.get(self._engine, key).bytes())
        except FileNotFoundError:
            return None

    def read_json(self, key: str) -> Any:
        """The object parsed as JSON, or None if there is none. Raises `StoreError` when it does not parse."""
        data = self.read(key)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise StoreError(f"{self.url}/{key} does not parse as JSON ({error}); it is torn or was edited") from error

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from offset `start`. Raises FileNotFoundError if there is no such object."""
        data = self._local_range(key, start, length) if self.folder else self._remote_range(key, start, length)
        if len(data) != length:
            raise StoreError(f"{key} ends at byte {start + len(data)}, not {start + length}: it was cut short")
        return data

    def _local_range(self, key: str, start: int, length: int) -> bytes:
        """A range of a local file without the engine, which takes ten times as long over small ones."""
        handle = os.open(f"{self.url}/{key}", os.O_RDONLY)
        try:
            return os.pread(handle, length, start)
        finally:
            os.close(handle)

    def _remote_range(self, key: str, start: int, length: int) -> bytes:
        import obstore
        from obstore.exceptions import GenericError

        try:
            return bytes(obstore.get_range(self._engine, key, start=start, length=length))
        except GenericError as error:
            raise StoreError(f"{key}: bytes {start} to {start + length} cannot be read: {error}") from error

    def size_bytes(self, key: str) -> int | None:
        """The object's size, or None if there is none."""
        import obstore

        try:
            return int(obstore.head(self._engine, key)["size"])
        except FileNotFoundError:
            return None

    def local_path(self, key: str, cache: Path) -> Path:
        """A local file with the object's bytes: the object itself in a local folder, else a copy under `cache`."""
        if self.folder is not None:
            path = self.folder / key
            if not path.is_file():
                raise FileNotFoundError(f"{path} is missing from the store {self.url}")
            return path
        target = cache / hashlib.sha256(self.url.encode()).hexdigest()[:12] / key
        if not target.is_file():
            self._download(key, target)
        return target

    def keys(self, prefix: str) -> Iterator[str]:
        """All keys under a folder, in order. For showing and clearing up; never for deciding what is committed."""
        import obstore

        found = [item["path"] for batch in obstore.list(self._engine, prefix) for item in batch]
        return iter(sorted(found))

    def folders(self, prefix: str) -> list[str]:
        """The names directly under a folder, in order. For showing, like `keys`."""
        import obstore

        listing = obstore.list_with_delimiter(self._engine, prefix)
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in listing["common_prefixes"])

    def delete(self, key: str) -> None:
        """Remove an object that no record names. Removing what is not there is no error."""
        import contextlib

        import obstore

        with contextlib.suppress(FileNotFoundError):
            obstore.delete(self._engine, key)

    def set_aside(self, key: str, why: str = "torn") -> str:
        """Move a record out of the way, so that what it stood for is made again; returns the new key."""
        import obstore

        number = 0
        while self.size_bytes(f"{key}.{why}-{number}") is not None:
            number += 1
        obstore.rename(self._engine, key, f"{key}.{why}-{number}")
        return f"{key}.{why}-{number}"

    def set_ref(self, name: str, value: dict[str, Any]) -> int:
        """Point a human name at `value`; returns the number of this version. The highest number wins."""
        number = self._last_ref(name) + 1
        while not self.create_json(f"refs/{name}/{number}.json", value):
            number += 1
        return number

    def ref(self, name: str) -> dict[str, Any] | None:
        """What a human name points at now, or None."""
        number = self._last_ref(name)
        return None if number < 0 else cast("dict[str, Any]", self.read_json(f"refs/{name}/{number}.json"))

    def open(self) -> dict[str, Any]:
        """Create or read `store.json`, the store's identity card. Raises `StoreError` on a foreign layout."""
        with fault_point("store.carded"):
            self.create_json("store.json", {"uuid": str(uuid.uuid4()), "layout": LAYOUT_VERSION})
        card = cast("dict[str, Any]", self.read_json("store.json"))
        if card.get("layout") != LAYOUT_VERSION:
            raise StoreError(f"{self.url} has layout {card.get('layout')!r}; this version reads {LAYOUT_VERSION}")
        return card

    def _last_ref(self, name: str) -> int:
        return first_missing(lambda number: self.size_bytes(f"refs/{name}/{number}.json") is not None) - 1

    def _download(self, key: str, target: Path) -> None:
        import obstore

        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        with draft.open("wb") as file:
            for chunk in obstore.get(self._engine, key):
                file.write(chunk)
        draft.replace(target)

    def _make_durable(self, key: str) -> None:
        """fsync the file and every folder up to the root: the engine does not, and a power cut would undo a commit."""
        if self.folder is None:
            return
        path = self.folder / key
        for place in (path, *path.parents):
            handle = os.open(place, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            if place == self.folder:
                break


def first_missing(exists: Callable[[int], bool]) -> int:
    """The least number, from 0, that does not exist, where those that exist have no gap. Asks about 2 log2(n) times."""
    above = 1
    while exists(above - 1):
        above *= 2
    below = above // 2
    while below < above - 1:
        middle = (below + above) // 2
        below, above = (middle, above) if exists(middle - 1) else (below, middle)
    return below
