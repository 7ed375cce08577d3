"""Storage and the commit: the store is the truth, and only create-exclusive writes make things true.

Owns every key that is written and every durable byte. Data goes to private keys first; one exclusive create of a
small record then makes it visible. Nothing is decided by listing. The same calls serve a local folder and object
stores (`s3://`, `gs://`, `az://`), with obstore as the engine; it takes credentials and addresses from the environment
(`AWS_ENDPOINT_URL`, `AWS_ALLOW_HTTP`, ...). Left to others: creates in a local folder (`store_folder.py`), who won a
create whose answer was lost (`store_creates.py`), what a store can do (`store_probe.py`), errors in words
(`store_errors.py`).
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from stages.store.errors import (
    CutShortError,
    StoreError,
    StoreUnavailableError,
    TornRecordError,
    local_disk_errors,
    store_errors,
)
from stages.store.exclusive_create import create_after_a_look, create_exclusively, put_despite_conflicts
from stages.store.fault_points import fault_point
from stages.store.local_folder import create_in_folder, make_durable, read_range_of
from stages.store.probe import ProbeResult, probe

if TYPE_CHECKING:
    from obstore.store import ObjectStore, RetryConfig

__all__ = ["CARD", "LAYOUT_VERSION", "Store", "StoreError", "first_missing"]

LAYOUT_VERSION = 2
CARD = "store.json"
"""Key of the store's identity card."""
CHUNK_BYTES = 16 * 1024 * 1024
"""Of an upload or a download in one request, each with its own time and retries."""
NUM_READERS = 32
"""Small objects read at a time from an object store: each waits for a round trip."""
RETRIES: RetryConfig = {
    "max_retries": 12,
    "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=15), "base": 4},
    "retry_timeout": timedelta(minutes=3),
}
"""Of server errors, lost connections and silence, by the engine. Jitter draws each pause between the first one and
`base` times the last: half a minute to a minute in all."""


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
            return from_url(self.url, retry_config=RETRIES)
        return cast("ObjectStore", LocalStore(str(self.folder), mkdir=True))

    def create(self, key: str, data: bytes) -> bool:
        """Create an object exclusively and durably. True if this call made it, False if the key existed already."""
        if self.has_conditional_writes:
            return self.create_conditionally(key, data)
        with self._doing(f"create {key}"):
            return create_after_a_look(self._engine, key, data)

    def create_conditionally(self, key: str, data: bytes) -> bool:
        """`create` by the store's own conditional write, whatever its card says of it: this is what a probe tries."""
        with self._doing(f"create {key}"):
            if self.folder is not None:
                return create_in_folder(self.folder, key, data)
            return create_exclusively(self._engine, key, data)

    def create_json(self, key: str, value: object) -> bool:
        """`create` with a value as readable JSON: sorted keys, two spaces."""
        return self.create(key, _readable_json(value))

    def overwrite(self, key: str, data: bytes) -> None:
        """Put an object in the place of an older one, whole. For counters that show life; it decides nothing."""
        import obstore

        with self._doing(f"write {key}"):
            obstore.put(self._engine, key, data)

    def upload(self, path: Path, key: str) -> None:
        """Copy a local file to a private key, durably, and check that all of it arrived."""
        import obstore

        with self._doing(f"upload {key}"):
            put_despite_conflicts(lambda: obstore.put(self._engine, key, path, chunk_size=CHUNK_BYTES))
            if self.folder is not None:
                make_durable(self.folder, key)
        size_bytes, expected_bytes = self.size_bytes(key), path.stat().st_size
        if size_bytes != expected_bytes:
            raise StoreError(
                f"{key} has {size_bytes} bytes after the upload of {expected_bytes}; run the command again"
            )

    def read(self, key: str) -> bytes | None:
        """The whole object, or None if there is none."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"read {key}"):
            return bytes(obstore.get(self._engine, key).bytes())
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
            said = f"{self.url}/{key} does not parse as JSON ({error}); it is torn or was edited"
            raise TornRecordError(said) from error

    def read_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """`read` of each key, in order; many at a time where each takes a round trip."""
        if self.folder is not None:
            return [self.read(key) for key in keys]
        with ThreadPoolExecutor(NUM_READERS) as readers:
            return list(readers.map(self.read, keys))

    def read_range(self, key: str, start: int, length: int, *, keep_open: bool = False) -> bytes:
        """`length` bytes from offset `start`. Raises FileNotFoundError if there is no such object.

        `keep_open` spares the opening of a local file each time, for those who check what they read: a file that was
        put in its place meanwhile is found only after `close_kept_files`.
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
                return bytes(obstore.get_range(self._engine, key, start=start, length=length))
        except StoreUnavailableError as error:  # servers refuse a range that begins beyond the end
            size_bytes = self.size_bytes(key)
            if size_bytes is None or size_bytes >= start + length:
                raise
            raise CutShortError(f"{key} ends at byte {size_bytes}, not {start + length}: it was cut short") from error

    def size_bytes(self, key: str) -> int | None:
        """The object's size, or None if there is none."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"look at {key}"):
            return int(obstore.head(self._engine, key)["size"])
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

    def keys(self, prefix: str, after: str | None = None) -> Iterator[str]:
        """All keys under a folder, in order; with `after`, those that come later in that order than it.

        For showing and clearing up; never for deciding what is committed.
        """
        import obstore

        with self._doing(f"list {prefix}"):
            found = [item["path"] for batch in obstore.list(self._engine, prefix, offset=after) for item in batch]
        return iter(sorted(found))

    def folders(self, prefix: str) -> list[str]:
        """The names directly under a folder, in order. For showing, like `keys`."""
        import obstore

        with self._doing(f"list {prefix}"):
            listing = obstore.list_with_delimiter(self._engine, prefix)
        return sorted(str(path).rstrip("/").rsplit("/", 1)[-1] for path in listing["common_prefixes"])

    def delete(self, key: str) -> None:
        """Remove an object that no record names. Removing what is not there is no error."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"delete {key}"):
            obstore.delete(self._engine, key)

    def quarantine(self, key: str, why: str = "torn") -> str:
        """Move a record out of the way, so that what it stood for is made again; returns the new key."""
        import obstore

        aside = self._quarantine_key(key, why)
        # Another attempt may have moved it meanwhile: then it is out of the way as well.
        with suppress(FileNotFoundError), self._doing(f"move {key} aside"):
            obstore.rename(self._engine, key, aside)
        return aside

    def copy_to_quarantine(self, key: str, why: str) -> None:
        """Keep a copy of an object, if there is one, before it is put back as it was committed."""
        import obstore

        with suppress(FileNotFoundError), self._doing(f"copy {key} aside"):
            obstore.copy(self._engine, key, self._quarantine_key(key, why))

    def _quarantine_key(self, key: str, why: str) -> str:
        return f"{key}.{why}-{first_missing(lambda number: self.size_bytes(f'{key}.{why}-{number}') is not None)}"

    def set_ref(self, name: str, value: dict[str, Any]) -> int:
        """Point a human name at `value`; returns the number of this version. The highest number wins."""
        number = self._last_ref(name) + 1
        while not self.create_json(f"refs/{name}/{number}.json", value):
            number += 1
        return number

    def ref(self, name: str) -> dict[str, Any] | None:
        """What a human name points at now, or None."""
        for number in range(self._last_ref(name), -1, -1):
            with suppress(TornRecordError):  # as if it had not been written
                return cast("dict[str, Any]", self.read_json(f"refs/{name}/{number}.json"))
        return None

    def open(self, *, single_writer: bool = False) -> dict[str, Any]:
        """Read `store.json`, the store's identity card; made, after a probe of what the store can do, where there is
        none. Raises `StoreError` on a foreign layout, and where exclusive creates do not work, unless the site says
        that never more than one command at a time writes there.
        """
        card = self.read_json(CARD) or self._make_card()
        if card.get("layout") != LAYOUT_VERSION:
            raise StoreError(
                f"{self.url} has layout {card.get('layout')!r}; this version reads {LAYOUT_VERSION}: use another "
                "store, or the version that made this one"
            )
        found = ProbeResult(**card["probe"])
        if found.problem and not (found.reads_back and single_writer):
            raise StoreError(f"the store {self.url} cannot be used: {found.problem}")
        return cast("dict[str, Any]", card)

    def _make_card(self) -> Any:
        found = probe(self)
        card = {"uuid": str(uuid.uuid4()), "layout": LAYOUT_VERSION, "probe": asdict(found)}
        with fault_point("store.carded"):
            self.create_conditionally(CARD, _readable_json(card))
        return self.read_json(CARD)

    @cached_property
    def has_conditional_writes(self) -> bool:
        """Whether exclusive creates work here, as the card says; a store without one is taken to be whole."""
        card = self.read_json(CARD)
        return card is None or bool(card.get("probe", {}).get("exclusive_creates", True))

    def _doing(self, what: str) -> AbstractContextManager[None]:
        return store_errors(self.url, what)

    def _last_ref(self, name: str) -> int:
        return first_missing(lambda number: self.size_bytes(f"refs/{name}/{number}.json") is not None) - 1

    def _download(self, key: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.{uuid.uuid4().hex}")
        try:
            with local_disk_errors(target.parent), draft.open("wb") as file:
                file.writelines(self._chunks(key))
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def _chunks(self, key: str) -> Iterator[bytes]:
        size_bytes = self.size_bytes(key)
        if size_bytes is None:
            raise FileNotFoundError(f"{key} is missing from the store {self.url}")
        for start in range(0, size_bytes, CHUNK_BYTES):
            yield self.read_range(key, start, min(CHUNK_BYTES, size_bytes - start))


def _readable_json(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False).encode() + b"\n"


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
