"""Object stores (`s3://`, `gs://`, `az://`) and web servers (`https://`) as places.

Requests, their retries and their errors are those of the artifact store. A web server cannot be listed: its files are
named one by one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from stages.contract import StageError
from stages.origins.places.place import ListedFile, is_hidden
from stages.store.errors import CutShortError, store_errors
from stages.store.reader import RETRIES, StoreReader

if TYPE_CHECKING:
    from obstore.store import ObjectStore


class WebReader(StoreReader):
    """Reads below an `https://` URL, or an `http://` one where the URL says so."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        super().__init__(url)
        self.headers = dict(headers)

    @cached_property
    def engine(self) -> ObjectStore:
        from obstore.store import HTTPStore

        return HTTPStore.from_url(
            self.url,
            client_options={
                "user_agent": "neo-pipelines",
                "allow_http": self.url.startswith("http://"),
                "default_headers": {name: value.encode() for name, value in self.headers.items()},
            },
            retry_config=RETRIES,
        )


class RemotePlace:
    """A prefix of a bucket. Credentials and addresses come from the environment, as for the artifact store."""

    is_immutable = False

    def __init__(self, url: str) -> None:
        self.url = url

    @cached_property
    def reader(self) -> StoreReader:
        """What sends the requests."""
        return StoreReader(self.url)

    def list_files(self) -> Iterator[ListedFile]:
        """Every object below the prefix, in pages: memory does not grow with their number."""
        import obstore

        with store_errors(self.url, "list"):
            for batch in obstore.list(self.reader.engine):
                for item in batch:
                    if not is_hidden(item["path"]):
                        yield _listed(item["path"], item["size"], item.get("e_tag"))

    def listed(self, path: str) -> ListedFile | None:
        """One object, or None if there is none."""
        import obstore

        with suppress(FileNotFoundError), store_errors(self.url, f"look at {path}"):
            head = obstore.head(self.reader.engine, path)
            return _listed(path, head["size"], head.get("e_tag"))
        return None

    def size_bytes(self, path: str) -> int | None:
        return self.reader.size_bytes(path)

    def read_range(self, path: str, start: int, length: int, etag: str = "") -> bytes:
        if not etag:
            return self.reader.read_range(path, start, length)
        import obstore
        from obstore.exceptions import PreconditionError

        try:
            with store_errors(self.url, f"read bytes {start} to {start + length} of {path}"):
                options = {"range": (start, start + length), "if_match": etag}
                data = bytes(obstore.get(self.reader.engine, path, options=options).bytes())  # type: ignore[arg-type]
        except Exception as error:
            if not isinstance(error.__cause__, PreconditionError):
                raise
            raise StageError(f"{self.url}/{path} changed since it was pinned: its entity tag is another") from error
        if len(data) != length:
            raise CutShortError(f"{self.url}/{path} ends at byte {start + len(data)}, not {start + length}")
        return data

    def local_path(self, path: str) -> Path | None:  # noqa: ARG002
        return None


class WebPlace(RemotePlace):
    """A folder of a web server. Its files cannot be listed."""

    @cached_property
    def reader(self) -> StoreReader:
        return WebReader(self.url, {})

    def list_files(self) -> Iterator[ListedFile]:
        raise StageError(f"{self.url}: a web server cannot be listed; name each file of the source by its https URL")


def _listed(path: str, size_bytes: int, etag: str | None) -> ListedFile:
    # A weak tag (`W/"..."`) never satisfies If-Match, so it tells versions apart and is not sent.
    strong = "" if etag is None or etag.startswith("W/") else etag
    return ListedFile(path, size_bytes, version=etag or "", etag=strong)
