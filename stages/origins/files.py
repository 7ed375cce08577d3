"""Files of sources: what a URI selects, and each file as a stream with seeks.

A URI is a folder, a file or a pattern with `*`, `?` and `**`: on this machine, in a bucket (`s3://`, `gs://`, `az://`),
in a repository of a hub (`hf://datasets/OWNER/NAME@COMMIT/path`), or of the toy world (`toy:urls.jsonl`). A single file
may also be an `https://` URL.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

from stages.contract import PinnedFile, StageError
from stages.origins.places.folder import FolderPlace
from stages.origins.places.hub import SCHEME as HUB
from stages.origins.places.hub import HubAddress, HubPlace
from stages.origins.places.place import ListedFile, Place
from stages.origins.places.remote import RemotePlace, WebPlace
from stages.origins.places.toy import SCHEME as TOY
from stages.origins.places.toy import ToyPlace, split_toy
from stages.store.range_stream import buffered_ranges
from stages.surfaces.credentials import has_credentials, without_credentials

if TYPE_CHECKING:
    from stages.origins.routes import Routes

BUFFER_BYTES = 4 * 2**20
"""Bytes that one request for a remote file asks for at least: a row group's footer, or some thousand lines."""
CHUNK_BYTES = 16 * 2**20
"""Bytes of a file that are held at a time while it is copied."""
_PATTERN_SIGNS = re.compile(r"[*?]")


def open_place(url: str) -> Place:
    """The place that a URL names. Nothing is asked of it yet."""
    if has_credentials(url):
        raise StageError(
            f"{without_credentials(url)}: the place of a source is recorded, so it takes no user, password or token; "
            "keys of object stores and hubs stand in the environment, other files are copied first"
        )
    if url.startswith(TOY):
        return ToyPlace(url)
    if url.startswith(HUB):
        return HubPlace(url)
    if url.startswith(("https://", "http://")):
        return WebPlace(url)
    if url.startswith(("s3://", "gs://", "az://")):
        return RemotePlace(url)
    if "://" in url:
        raise StageError(f"{url}: sources lie in folders, s3://, gs://, az://, hf:// and https://")
    return FolderPlace(Path(url))


def select_files(uri: str, base: Path) -> tuple[Place, list[ListedFile]]:
    """The place of a URI and the files that it selects, sorted by path. A relative path is below the folder `base`.

    Raises `StageError` where there is nothing, or the place cannot be read.
    """
    if uri.startswith(TOY):
        url, path = split_toy(uri)
        place: Place = ToyPlace(url)
        return place, _some([file for file in place.list_files() if path in ("", file.path)], uri)
    if "?" in uri and uri.startswith(("https://", "http://")):
        raise StageError(
            f"{without_credentials(uri)}: a URL with a query is not read, for it may hold a secret; copy the file, and "
            "name it"
        )
    root, rest = _split_pattern(uri if "://" in uri else str(_local(uri, base)))
    place = open_place(root)
    if isinstance(place, HubPlace):
        place = place.at_commit()
    if rest:
        matches = _matcher(rest)
        max_depth = None if "**" in rest else rest.count("/")
        return place, _some([file for file in _walk(place, uri, max_depth) if matches(file.path)], uri)
    single = _single_file(place)
    if single is not None:
        return single[0], [single[1]]
    return place, _some(list(_walk(place, uri)), uri)


def open_file(place: str, file: PinnedFile) -> BinaryIO:
    """A pinned file as a buffered stream of bytes with seeks; a remote one is read by ranges.

    Raises `StageError` if it is missing or has another size than when it was pinned.
    """
    opened = open_place(place)
    size_bytes = opened.size_bytes(file.path)
    if size_bytes != file.size_bytes:
        now = "is missing" if size_bytes is None else f"has {size_bytes:,} bytes"
        raise StageError(
            f"{place}/{file.path} {now}; {file.size_bytes:,} bytes were pinned. Put the file back, or run `neo pin` to "
            "take the files as they are now"
        )
    local = opened.local_path(file.path)
    if local is not None:
        return local.open("rb")

    def read_range(start: int, length: int) -> bytes:
        return opened.read_range(file.path, start, length, file.etag)

    return buffered_ranges(file.size_bytes, read_range, BUFFER_BYTES)


def copy_file(source: str, place: str, file: PinnedFile, target: Path) -> None:
    """Copy a pinned file of a source, hashed on its way, so that memory does not grow with its size.

    Raises `StageError` where its bytes are not those that were pinned, and as `open_file` does.
    """
    digest = hashlib.sha256()
    with open_file(place, file) as opened, target.open("wb") as written:
        while chunk := opened.read(CHUNK_BYTES):
            digest.update(chunk)
            written.write(chunk)
    if file.sha256 not in ("", digest.hexdigest()):
        raise StageError(
            f"source {source!r}: {file.path} has other bytes than were pinned (sha256 {digest.hexdigest()[:12]}, "
            f"{file.sha256[:12]} was pinned); put the file back, or run `neo pin` to take it as it is now"
        )


@contextmanager
def hosts_of(place: str) -> Iterator[Routes]:
    """Serve the hosts that a source's URLs lead to, while the block runs; gives their routes.

    Only the toy world has such hosts. For every other place there are none.
    """
    if not place.startswith(TOY):
        yield {}
        return
    from stages.toy_world.addresses import HOST
    from stages.toy_world.server import serve

    with serve() as web:
        yield {HOST: (web.ip, web.port)}


def _local(uri: str, base: Path) -> Path:
    try:
        return base / Path(uri).expanduser()
    except RuntimeError as error:
        raise StageError(f"{uri}: {error}") from error


def _split_pattern(uri: str) -> tuple[str, str]:
    """The folder before the first name with `*` or `?`, and the rest: `a/b/*.tar` is (`a/b`, `*.tar`)."""
    names = uri.split("/")
    first = next((number for number, name in enumerate(names) if _PATTERN_SIGNS.search(name)), len(names))
    return "/".join(names[:first]).rstrip("/") or "/", "/".join(names[first:])


def _matcher(pattern: str) -> Callable[[str], bool]:
    """Whether a path matches: `*` and `?` stay inside a name, `**` leads through any number of folders."""
    spelled = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*\*", ".*")
    expression = re.compile(spelled.replace(r"\*", "[^/]*").replace(r"\?", "[^/]"))
    return lambda path: expression.fullmatch(path) is not None


def _walk(place: Place, uri: str, max_depth: int | None = None) -> Iterator[ListedFile]:
    try:
        yield from place.list_files(max_depth) if isinstance(place, FolderPlace) else place.list_files()
    except FileNotFoundError as error:
        raise StageError(f"{uri} is not there ({error.filename or error})") from error
    except OSError as error:
        raise StageError(f"{uri} cannot be read: {error}") from error


def _single_file(place: Place) -> tuple[Place, ListedFile] | None:
    """A place that is a file itself: its parent folder and the file. None if it is a folder, or nothing."""
    if isinstance(place, FolderPlace):
        if not place.folder.is_file():
            return None
        return FolderPlace(place.folder.parent), FolderPlace(place.folder.parent).listed(place.folder.name)
    if isinstance(place, HubPlace):
        address = place.address
        folder, _, name = address.path.rpartition("/")
        parent: RemotePlace = HubPlace(str(HubAddress(address.type, address.repo, address.revision, folder)))
    else:
        url, _, name = place.url.rpartition("/")
        if url.endswith("/") or not name:  # a bucket, or a host
            return None
        parent = open_place(url)  # type: ignore[assignment]
    if isinstance(place, WebPlace) and not isinstance(place, HubPlace):
        name = unquote(name)  # requests quote it
    listed = parent.listed(name) if name else None
    if listed is None and isinstance(place, WebPlace) and not isinstance(place, HubPlace):
        raise StageError(f"{place.url} is not there")
    return None if listed is None else (parent, listed)


def _some(files: list[ListedFile], uri: str) -> list[ListedFile]:
    if not files:
        raise StageError(f"{uri} selects no file; it may be a file, a folder, or a pattern such as data/*.parquet")
    return sorted(files, key=lambda file: file.path)
