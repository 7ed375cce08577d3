"""Reading from a store: whole objects, ranges, sizes, listings.

Nothing is decided by listing: an object store may list a new object late. What must be known is asked for by key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from stages.store.errors import (
    CutShortError,
    StoreError,
    StoreUnavailableError,
    TornRecordError,
    store_errors,
)
from stages.store.local_folder import read_range_of

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")

CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes of an upload or a download in one request, each with its own time limit and retries."""
NUM_READERS = 32
"""Small objects read at a time from an object store: each waits for a round trip."""
RETRIES: RetryConfig = {
    "max_retries": 12,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 4},
    "retry_timeout": timedelta(minutes=3),
}
"""Retries of server errors, lost connections and timeouts, by obstore. Jitter draws each pause between the first one
and `base` times the last: half a minute to a minute in all."""


class StoreReader:
    """Reads objects under keys such as `artifacts/pack_rows/1f0c.../manifest.json`.

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
    def engine(self) -> ObjectStore:
        """The obstore engine behind this store, opened at first use."""
        from obstore.store import LocalStore, from_url

        if self.folder is None:
            return from_url(self.url, retry_config=RETRIES)
        return cast("ObjectStore", LocalStore(str(self.folder), mkdir=True))

    def _doing(self, what: str) -> AbstractContextManager[None]:
        return store_errors(self.url, what)

    def read(self, key: str) -> bytes | None:
        """The whole object, or None if there is none."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"read {key}"):
            return bytes(obstore.get(self.engine, key).bytes())
        return None

    def read_json(self, key: str) -> Any:
        """The object parsed as JSON, or None if there is none. Raises `TornRecordError` when it does not parse."""
        data = self.read(key)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            if len(data) != self.size_bytes(key):
                raise StoreError(f"{self.url}/{key} was cut short on its way; run the command again") from error
            message = f"{self.url}/{key} does not parse as JSON ({error}); it is torn or was edited"
            raise TornRecordError(message) from error

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """`read` of each key, in order; many at a time where each takes a round trip."""
        return self.each(self.read, keys)

    def each(self, ask: Callable[[AskedT], AnswerT], about: Sequence[AskedT]) -> list[AnswerT]:
        """`ask` of each, in order; many at a time where an answer of the store takes a round trip."""
        if self.folder is not None or len(about) < 2:
            return [ask(one) for one in about]
        with ThreadPoolExecutor(NUM_READERS) as readers:
            return list(readers.map(ask, about))

    def read_range(self, key: str, start: int, length: int, *, keep_open: bool = False) -> bytes:
        """`length` bytes from offset `start`. Raises FileNotFoundError if there is no such object.

        `keep_open` keeps a local file open for the next read, for callers that check what they read: if another file
        replaces it, the old one is read until `close_kept_files`. Raises `CutShortError` where the object ends early.
        """
        if self.folder is not None:
            data = read_range_of(f"{self.url}/{key}", start, length, keep_open=keep_open)
        else:
            data = self._remote_range(key, start, length)
        if len(data) != length:
            raise CutShortError(f"{key} ends at byte {start + len(data)}, not {start + length}: it was cut short")
        return data

    def _remote_range(self, key: str, start: int, length: int) -> bytes:
        import obstore

        try:
            with self._doing(f"read bytes {start} to {start + length} of {key}"):
                return bytes(obstore.get_range(self.engine, key, start=start, length=length))
        except StoreUnavailableError as error:  # servers refuse a range that begins beyond the end
            size_bytes = self.size_bytes(key)
            if size_bytes is None or size_bytes >= start + length:
                raise
            raise CutShortError(f"{key} ends at byte {size_bytes}, not {start + length}: it was cut short") from error

    def size_bytes(self, key: str) -> int | None:
        """The object's size, or None if there is none."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"look at {key}"):
            return int(obstore.head(self.engine, key)["size"])
        return None

    def version(self, key: str) -> str | None:
        """A text that differs once the object is written again (its entity tag, else its time and size), or None."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"look at {key}"):
            found = obstore.head(self.engine, key)
            return str(found["e_tag"] or f"{found['last_modified'].isoformat()} {found['size']}")
        return None

    def keys(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """All keys under a folder, in order; with `after`, those that come later in that order than it.

        For display and clean-up; never for deciding what is committed.
        """
        import obstore

        with self._doing(f"list {prefix}"):
            keys = [item["path"] for batch in obstore.list(self.engine, prefix, offset=after) for item in batch]
        return iter(sorted(keys))

    def objects(self, prefix: str) -> Iterator[tuple[str, int, datetime]]:
        """Key, size in bytes and time of writing, by the store's clock, of each object under a folder, as they come.

        Pages of a listing are passed on one by one, so memory does not grow with their number. For clean-up, like
        `keys`.
        """
        import obstore

        with self._doing(f"list {prefix}"):
            for batch in obstore.list(self.engine, prefix):
                for item in batch:
                    yield item["path"], int(item["size"]), item["last_modified"]

    def some_keys(self, prefix: str, most: int) -> list[str]:
        """`most` of the keys under a folder at the most, in order: the first page of a listing, not all of it."""
        import obstore

        with self._doing(f"list {prefix}"):
            return sorted(item["path"] for item in next(iter(obstore.list(self.engine, prefix, chunk_size=most)), []))

    def files(self, prefix: str) -> list[str]:
        """The names of the objects directly under a folder, in order, whatever its folders hold. For display."""
        return sorted(str(item["path"]).rsplit("/", 1)[-1] for item in _listing(self, prefix)["objects"])

    def folders(self, prefix: str) -> list[str]:
        """The names directly under a folder, in order. For display, like `keys`."""
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in _listing(self, prefix)["common_prefixes"])


def _listing(store: StoreReader, prefix: str) -> Any:
    """The objects and folders directly under a folder."""
    import obstore

    with store_errors(store.url, f"list {prefix}"):
        return obstore.list_with_delimiter(store.engine, prefix)
