"""Pins a source: finds its files and digests each once.

Files are digested in parallel and streamed, so memory does not grow with their size. Each digest is remembered with the
file's version, so that pinning again after Ctrl-C, or after one file of a thousand changed, reads the new files alone.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from stages.contract import PinnedFile, PinnedSource, StageError
from stages.contract.source import digest_of
from stages.origins.digests import Digested, DigestMemory
from stages.origins.files import open_file, open_place, select_files
from stages.origins.places.hub import HubPlace
from stages.origins.places.place import ListedFile, Place

CHUNK_BYTES = 8 * 2**20
NUM_READERS = 8
"""Files digested at a time; each holds one chunk of 8 MiB."""
FILES_AHEAD = 512
"""Files that are handed to the readers at a time."""


OWN_FILES = ("sources.toml", "sources.lock")
"""Files of ours in the folder that URIs are relative to, which are no data."""


class Pin(BaseModel):
    """A source as it was when it was pinned: what `sources.lock` keeps of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    uri: tuple[str, ...]
    """The URIs in `sources.toml`, as written there."""
    place: str
    """Folder or URL below which all files lie. A local one is relative to the lock file if its URI is."""
    commit: str | None = None
    """Commit of a hub's repository, 40 hex digits; None for other places."""
    columns: dict[str, str] = {}
    """Name and type of each column of the first Parquet file."""
    files: tuple[PinnedFile, ...]

    @cached_property
    def digest(self) -> str:
        """The digest that stands in recipes, 64 hex digits."""
        return digest_of(self.files)

    @property
    def size_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.size_bytes for file in self.files)

    @property
    def num_rows(self) -> int | None:
        """Rows of all files, where each is known."""
        rows = [file.num_rows for file in self.files]
        return None if None in rows else sum(number for number in rows if number is not None)

    def place_from(self, base: Path) -> str:
        """The place, absolute. `base` is the folder of the lock file."""
        return self.place if _is_remote(self.place) else str((base / Path(self.place).expanduser()).resolve())


@dataclass(frozen=True)
class Selected:
    """The files that the URIs of a source select now, without their digests."""

    place: Place
    files: tuple[ListedFile, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all files, in bytes."""
        return sum(file.size_bytes for file in self.files)


def select(uris: Sequence[str], base: Path) -> Selected:
    """What the URIs select, below one common place. Raises `StageError` where there is none, or nothing is there."""
    chosen = [select_files(uri, base) for uri in uris]
    root = _common([place.url for place, _ in chosen])
    files: dict[str, ListedFile] = {}
    for place, listed in chosen:
        below = place.url[len(root) :].strip("/")
        for file in listed:
            path = f"{below}/{file.path}" if below else file.path
            files[path] = ListedFile(path, file.size_bytes, file.version, file.etag, file.sha256)
    ordered = tuple(files[path] for path in sorted(files) if not (root == str(base) and path in OWN_FILES))
    return Selected(chosen[0][0] if len(chosen) == 1 else open_place(root), ordered)


def pin(
    uris: Sequence[str],
    base: Path,
    *,
    memory: Path | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Pin:
    """Pin the files that `uris` select; relative ones are below `base`.

    `memory` is the file of remembered digests, by default the user's. `progress` receives the bytes digested so far
    and in all. Raises `StageError`.
    """
    selected = select(uris, base)
    files = digest_files(selected, memory, progress)
    place = selected.place
    return Pin(
        uri=tuple(uris),
        place=_portable(place.url, uris[0], base),
        commit=place.address.revision if isinstance(place, HubPlace) else None,
        columns=_columns(place.url, files),
        files=files,
    )


def pin_source(name: str, uris: str | Sequence[str], base: Path | None = None) -> PinnedSource:
    """Pin the files of a source and open it, in one go: for tests and notebooks."""
    folder = (base or Path.cwd()).resolve()
    found = pin([str(uris)] if isinstance(uris, str | Path) else list(uris), folder)
    return PinnedSource(name=name, place=found.place_from(folder), files=found.files)


def digest_files(
    selected: Selected, memory: Path | None, progress: Callable[[int, int], None]
) -> tuple[PinnedFile, ...]:
    """The files with their digests, in order: remembered, stated by the place, or computed."""
    total_bytes, done_bytes = selected.size_bytes, 0
    results: dict[str, PinnedFile] = {}
    with closing(DigestMemory(memory)) as remembered, ThreadPoolExecutor(NUM_READERS) as readers:
        unread: list[ListedFile] = []
        for file in selected.files:
            known = remembered.recall(selected.place.url, file)
            if known is None:
                unread.append(file)
            else:
                results[file.path] = _pinned(file, known)
                done_bytes += file.size_bytes
        progress(done_bytes, total_bytes)
        try:
            for start in range(0, len(unread), FILES_AHEAD):
                waiting = {
                    readers.submit(_digest, selected.place, file): file for file in unread[start : start + FILES_AHEAD]
                }
                for future in as_completed(waiting):
                    file, found = waiting[future], future.result()
                    remembered.keep(selected.place.url, file, found)
                    results[file.path] = _pinned(file, found)
                    done_bytes += file.size_bytes
                    progress(done_bytes, total_bytes)
        except BaseException:
            readers.shutdown(wait=False, cancel_futures=True)
            raise
    return tuple(results[file.path] for file in selected.files)


def _digest(place: Place, file: ListedFile) -> Digested:
    """The digest of one file, and its rows where a footer or its lines tell them."""
    counts_lines = file.path.endswith((".jsonl", ".ndjson"))
    if file.sha256 and not counts_lines:
        return Digested(file.sha256, _parquet_rows(place, file))
    digest, num_lines, last = hashlib.sha256(), 0, b"\n"
    for start in range(0, file.size_bytes, CHUNK_BYTES):
        chunk = place.read_range(file.path, start, min(CHUNK_BYTES, file.size_bytes - start), file.etag)
        digest.update(chunk)
        if counts_lines:
            num_lines, last = num_lines + chunk.count(b"\n"), chunk[-1:]
    if counts_lines:
        return Digested(digest.hexdigest(), num_lines + (last != b"\n"))
    return Digested(digest.hexdigest(), _parquet_rows(place, file))


def _parquet_rows(place: Place, file: ListedFile) -> int | None:
    """Rows by the footer of a Parquet file; None for other files, and for one that does not parse."""
    if not file.path.endswith(".parquet"):
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    unread = PinnedFile(path=file.path, size_bytes=file.size_bytes, sha256="", etag=file.etag)
    try:
        with open_file(place.url, unread) as opened:
            return int(pq.read_metadata(opened).num_rows)
    except (pa.ArrowException, OSError):  # the stage that reads it says what is wrong with it
        return None


def _columns(place: str, files: Sequence[PinnedFile]) -> dict[str, str]:
    """Name and type of the columns of the first Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    first = next((file for file in files if file.num_rows is not None and file.path.endswith(".parquet")), None)
    if first is None:
        return {}
    try:
        with open_file(place, first) as opened:
            return {field.name: str(field.type) for field in pq.read_schema(opened)}
    except (pa.ArrowException, OSError):
        return {}


def _pinned(file: ListedFile, found: Digested) -> PinnedFile:
    return PinnedFile(
        path=file.path, size_bytes=file.size_bytes, sha256=found.sha256, num_rows=found.num_rows, etag=file.etag
    )


def _common(places: Sequence[str]) -> str:
    """The deepest folder above all places. Raises `StageError` if they have no bucket or repository in common."""
    if len(set(places)) == 1:
        return places[0]
    split = [place.split("/") for place in places]
    depth = 0
    while depth < min(map(len, split)) and len({names[depth] for names in split}) == 1:
        depth += 1
    root_depth = (
        (5 if places[0].startswith("hf://datasets/") else 4 if places[0].startswith("hf://") else 3)
        if (_is_remote(places[0]))
        else 1
    )
    if depth < root_depth:
        raise StageError(f"one source lies in one place, these are several: {', '.join(sorted(set(places)))}")
    return "/".join(split[0][:depth]) or "/"


def _portable(place: str, uri: str, base: Path) -> str:
    """A local place as the lock file keeps it: relative if its URI is, under `~` if that is, else absolute."""
    if _is_remote(place):
        return place
    if uri.startswith("~"):
        return f"~/{os.path.relpath(place, Path.home())}"
    return place if Path(uri).is_absolute() else os.path.relpath(place, base)


def _is_remote(place: str) -> bool:
    return "://" in place or place.startswith("toy:")
