"""Repositories of a model hub as places: `hf://datasets/OWNER/NAME@COMMIT/folder`, `hf://OWNER/NAME@COMMIT`.

A repository is identified by its commit of 40 hex digits, under which files never change. A branch or tag is resolved
to its commit when the source is pinned. `HF_ENDPOINT` names another hub, `HF_TOKEN` opens private repositories.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from stages.contract import StageError
from stages.origins.places.place import ListedFile, is_hidden
from stages.origins.places.remote import WebPlace, WebReader
from stages.store.reader import StoreReader

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SCHEME = "hf://"
COMMIT = re.compile(r"[0-9a-f]{40}")
_ADDRESS = re.compile(
    r"hf://(?:(?P<type>datasets|models)/)?(?P<repo>[\w.-]+/[\w.-]+)"
    r"(?:@(?P<revision>refs/convert/[^/]+|refs/pr/\d+|[^/]+))?(?:/(?P<path>.*))?"
)


@dataclass(frozen=True)
class HubAddress:
    """A folder or file of a repository, at a revision."""

    type: str
    """`dataset` or `model`."""
    repo: str
    """Owner and name of the repository, such as `me/mine`."""
    revision: str
    path: str
    """Folder or file inside the repository; '' for all of it."""

    @classmethod
    def parse(cls, uri: str) -> HubAddress:
        """The address that a URI spells. Raises `StageError` with the right form."""
        match = _ADDRESS.fullmatch(uri)
        if match is None:
            raise StageError(
                f"{uri} names no repository; write hf://datasets/OWNER/NAME@COMMIT/path, or hf://OWNER/NAME@COMMIT "
                "for a model"
            )
        kind = "dataset" if match["type"] == "datasets" else "model"
        return cls(kind, match["repo"], unquote(match["revision"] or "main"), (match["path"] or "").strip("/"))

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit."""
        return COMMIT.fullmatch(self.revision) is not None

    def __str__(self) -> str:
        kind = "datasets/" if self.type == "dataset" else ""
        return f"{SCHEME}{kind}{self.repo}@{quote(self.revision, safe='')}{f'/{self.path}' if self.path else ''}"


class HubPlace(WebPlace):
    """A folder of a repository at a commit."""

    is_immutable = True

    @cached_property
    def address(self) -> HubAddress:
        return HubAddress.parse(self.url)

    @cached_property
    def _endpoint(self) -> str:
        return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")

    @cached_property
    def reader(self) -> StoreReader:
        from huggingface_hub import get_token

        address = self.address
        kind = "datasets/" if address.type == "dataset" else ""
        below = f"/{quote(address.path)}" if address.path else ""
        url = f"{self._endpoint}/{kind}{address.repo}/resolve/{quote(address.revision, safe='')}{below}"
        token = get_token()
        return WebReader(url, {"authorization": f"Bearer {token}"} if token else {})

    def list_files(self) -> Iterator[ListedFile]:
        """The files of the folder, from the hub's tree; of large files it states the sha256."""
        from huggingface_hub.errors import EntryNotFoundError
        from huggingface_hub.hf_api import RepoFile

        address = self.address
        try:
            tree = self._api.list_repo_tree(
                address.repo,
                address.path or None,
                recursive=True,
                revision=address.revision,
                repo_type=address.type,
            )
            for item in tree:
                path = item.path[len(address.path) :].lstrip("/")
                if isinstance(item, RepoFile) and not is_hidden(path):
                    sha256 = item.lfs.sha256 if item.lfs is not None else ""
                    yield ListedFile(path, item.size, version=item.blob_id, sha256=sha256)
        except EntryNotFoundError:
            return
        except Exception as error:  # those of the hub's HTTP client as well, whichever it has
            raise StageError(f"{self.url} cannot be listed: {_in_one_line(error)}") from error

    def listed(self, path: str) -> ListedFile | None:
        """One file, or None if there is none; asks for this path alone."""
        from huggingface_hub.hf_api import RepoFile

        address = self.address
        whole = f"{address.path}/{path}".lstrip("/")
        try:
            (*items,) = self._api.get_paths_info(
                address.repo, [whole], revision=address.revision, repo_type=address.type
            )
        except Exception as error:  # those of the hub's HTTP client as well, whichever it has
            raise StageError(f"{self.url} cannot be read: {_in_one_line(error)}") from error
        for item in items:
            if isinstance(item, RepoFile):
                sha256 = item.lfs.sha256 if item.lfs is not None else ""
                return ListedFile(path, item.size, version=item.blob_id, sha256=sha256)
        return None

    def at_commit(self) -> HubPlace:
        """This place under the commit that its revision names now. Raises `StageError` where there is none."""
        if self.address.is_pinned:
            return self

        address = self.address
        try:
            info = self._api.repo_info(address.repo, revision=address.revision, repo_type=address.type)
        except Exception as error:  # those of the hub's HTTP client as well, whichever it has
            raise StageError(f"{self.url} cannot be resolved to a commit: {_in_one_line(error)}") from error
        if info.sha is None:
            raise StageError(f"{self.url}: the hub names no commit for {address.revision!r}")
        return HubPlace(str(replace(address, revision=info.sha)))

    @cached_property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=self._endpoint)


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
