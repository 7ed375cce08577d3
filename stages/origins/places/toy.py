"""The toy world as a place: `toy:urls.jsonl`, `toy:documents.jsonl?num_documents=500&seed=3`.

The query gives fields of `ToyWorld`. Its files are written once on each machine, below the temporary folder, from the
seed; under one version of the code they never change.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from pydantic import ValidationError

from stages.contract import StageError
from stages.origins.places.folder import FolderPlace
from stages.origins.places.place import ListedFile
from stages.toy_world.files import write_files
from stages.toy_world.world import ToyWorld

SCHEME = "toy:"


class ToyPlace:
    """The folder of files of one toy world."""

    is_immutable = True

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self.world = ToyWorld.model_validate(dict(parse_qsl(url.removeprefix(SCHEME).lstrip("?"))))
        except ValidationError as error:
            fault = error.errors()[0]
            raise StageError(f"{url}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error

    def list_files(self) -> Iterator[ListedFile]:
        return self._folder.list_files()

    def size_bytes(self, path: str) -> int | None:
        return self._folder.size_bytes(path)

    def read_range(self, path: str, start: int, length: int, etag: str = "") -> bytes:
        return self._folder.read_range(path, start, length, etag)

    def local_path(self, path: str) -> Path | None:
        return self._folder.local_path(path)

    @cached_property
    def _folder(self) -> FolderPlace:
        """The folder on this machine. Written under another name and renamed, so that it is whole or absent."""
        name = hashlib.sha256(self.world.model_dump_json().encode() + _code()).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"neo-toy-world-{os.getuid()}" / name
        if not folder.is_dir():
            draft = folder.with_name(f"{name}-{uuid.uuid4().hex[:8]}")
            draft.mkdir(parents=True, mode=0o700)
            try:
                write_files(self.world, draft)
                draft.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was faster
                    raise
            finally:
                shutil.rmtree(draft, ignore_errors=True)
        return FolderPlace(folder)


def split_toy(uri: str) -> tuple[str, str]:
    """URL of the place and path of the file: `toy:urls.jsonl?seed=3` is file `urls.jsonl` of `toy:?seed=3`."""
    path, _, query = uri.removeprefix(SCHEME).partition("?")
    fields = urlencode(sorted(parse_qsl(query)))
    return f"{SCHEME}?{fields}" if fields else SCHEME, path


def _code() -> bytes:
    """The sources that the files are drawn by: another version of them writes another folder."""
    folder = Path(__file__).parents[2] / "toy_world"
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*.py")))
