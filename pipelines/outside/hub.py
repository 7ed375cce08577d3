"""An exported checkpoint on a model hub: what of it is there already, and one commit with the rest.

Owns what a push compares, uploads and deletes. Files are compared by the digests of the manifest and of the hub, so a
push of the same reads no weights and changes nothing. Large files are uploaded before the commit: broken off, the same
push continues, and nobody ever loads half of two models. Time and traffic grow with the bytes that differ.
"""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipelines.exits import BadCommandError, CommandError, ExitCode, RefusedError
from stages.artifacts.artifact import mended_by
from stages.artifacts.kinds import LINEAGE_FILE, MODEL_PREFIX, ExportedCheckpoint
from stages.artifacts.records import FileEntry, sha256_of
from stages.surfaces.first_few import first_few

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile

HELP: Final = "neo push --help"
TOKEN: Final = "HF_TOKEN"
"""The environment variable that holds the token. It is read from there alone, and never shown."""
OWN_FILES: Final = ("*.safetensors", "*.safetensors.index.json", "neo_*.py", "*_neo_chat.py")
"""Files in the root of a repository that a push deletes where the export has none of that name: weights, code."""
WEIGHTS: Final = ("*.safetensors", "*.bin", "*.gguf", "*.pt", "*.pth", "*.onnx")
"""Files by which a repository is seen to hold a model."""
REPOSITORY: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,95}/[0-9A-Za-z][0-9A-Za-z._-]{0,95}")


class HubError(CommandError):
    """A model hub did not take what was sent, or does not show it; the message says which. The same push continues."""

    code = ExitCode.STEP_FAILED


@dataclass(frozen=True)
class Pushed:
    """What a push came to."""

    address: str
    """Address of the repository."""
    revision: str
    """Commit that holds the export."""
    private: bool
    """Whether the repository can be seen by its owner alone."""
    uploaded: Sequence[str] = ()
    """Files that were new or differed."""
    deleted: Sequence[str] = ()
    """Files of an earlier push that the export does not have."""
    num_unchanged: int = 0
    """Files that were there already."""
    remarks: Sequence[str] = ()
    """What the hub remarked on the model card."""


def check_repository(repository: str) -> None:
    """Raise `BadCommandError` for a name that no repository can have, `RefusedError` without a token."""
    if not REPOSITORY.fullmatch(repository) or ".." in repository or "--" in repository:
        raise BadCommandError(
            f"{repository!r} is no repository: OWNER/NAME, each of letters, digits, single `-`, `_` and `.`", then=HELP
        )
    if not os.environ.get(TOKEN, "").strip():
        raise RefusedError(
            f"{TOKEN} is not set: a token that may write to {repository.partition('/')[0]!r} is read from this "
            "environment variable alone",
            then=f"export {TOKEN}=...   (then type the command again)",
        )


@dataclass(frozen=True)
class HubPush:
    """One push of the files of an export into a repository."""

    export: ExportedCheckpoint
    repository: str
    is_public: bool = False
    """Whether a repository that is made by this push can be seen by everyone."""
    replaces: bool = False
    """Whether weights in the repository that no push put there may be replaced."""
    endpoint: str = field(default_factory=lambda: os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/"))

    def run(self, folder: Path) -> Pushed:
        """Push what `folder` holds, links to the files of the export.

        Raises `HubError`, and `RefusedError` for a damaged file or a repository that holds another model.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        api = HfApi(endpoint=self.endpoint, token=os.environ[TOKEN].strip(), library_name="neo-pipelines")
        with self._in_words("open"):
            before, private = self._opened(api)
            there = self._tree(api, before)
        self._check_is_ours(there)
        changed = [file for file in self.files if not _is_same(folder, file, there.get(hub_path(file)))]
        stale = self._stale(there)
        found = Pushed(
            address=f"{self.endpoint}/{self.repository}",
            revision=before,
            private=private,
            num_unchanged=len(self.files) - len(changed),
        )
        if not changed and not stale:
            return found
        self._check(folder, changed)
        uploads = [CommitOperationAdd(hub_path(file), folder / hub_path(file)) for file in changed]
        deletions = [CommitOperationDelete(path) for path in stale]
        with self._in_words("write"), warnings.catch_warnings(record=True) as remarks:
            warnings.simplefilter("always", UserWarning)
            commit = api.create_commit(
                self.repository,
                [*uploads, *deletions],
                commit_message=f"Export {self.export.stage}/{self.export.short}",
                parent_commit=before,
            )
        with self._in_words(f"read back what was committed as {commit.oid} in"):
            after = self._tree(api, commit.oid)
        lacking = [hub_path(file) for file in self.files if not _is_same(folder, file, after.get(hub_path(file)))]
        if lacking:
            raise HubError(f"{found.address} holds something else after the commit: {lacking[:4]}", then=HELP)
        return Pushed(
            address=found.address,
            revision=commit.oid,
            private=private,
            uploaded=[hub_path(file) for file in changed],
            deleted=stale,
            num_unchanged=found.num_unchanged,
            remarks=[" ".join(str(one.message).split()) for one in remarks if one.category is UserWarning],
        )

    @property
    def files(self) -> Sequence[FileEntry]:
        """The files of the export."""
        return self.export.model_files

    def _opened(self, api: HfApi) -> tuple[str, bool]:
        """Newest commit of the repository, which is made where it is not there, and whether it is private."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = api.model_info(self.repository)
        except RepositoryNotFoundError:
            api.create_repo(self.repository, private=not self.is_public)
            info = api.model_info(self.repository)
        if info.sha is None:
            raise HubError(f"{self.endpoint} names no commit of {self.repository}", then=HELP)
        return info.sha, bool(info.private)

    def _tree(self, api: HfApi, revision: str) -> dict[str, RepoFile]:
        """The files of the repository, by path."""
        from huggingface_hub.hf_api import RepoFile

        tree = api.list_repo_tree(self.repository, recursive=True, revision=revision)
        return {item.path: item for item in tree if isinstance(item, RepoFile)}

    def _stale(self, there: Mapping[str, Any]) -> list[str]:
        names = {hub_path(file) for file in self.files}
        in_root = [path for path in there if "/" not in path and path not in names]
        return [path for path in in_root if any(fnmatchcase(path, own) for own in OWN_FILES)]

    def _check_is_ours(self, there: Mapping[str, Any]) -> None:
        """Raise `RefusedError` for a repository with weights that no export brought: its name may be a slip."""
        weights = [path for path in there if any(fnmatchcase(path, kind) for kind in WEIGHTS)]
        if weights and LINEAGE_FILE not in there and not self.replaces:
            raise RefusedError(
                f"{self.repository} holds a model that was not pushed from here ({first_few(weights, 4)}); name "
                "another repository, or replace what it holds with --replace",
                then=HELP,
            )

    def _check(self, folder: Path, files: Sequence[FileEntry]) -> None:
        """Raise `RefusedError` where a file is not the one that was committed to the store."""
        damaged = [hub_path(file) for file in files if sha256_of(folder / hub_path(file)) != file.sha256]
        if damaged:
            raise RefusedError(
                f"{self.export!r} is damaged in {damaged}; {mended_by(self.export.short)}",
                then=f"neo audit {self.export.short}",
            )

    @contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        """Turn what the hub's client raises into a `HubError` of one line, without the token."""
        try:
            yield
        except CommandError:
            raise
        except Exception as error:  # those of the HTTP client below it as well, whichever it has
            told = " ".join(str(error).split()).replace(os.environ[TOKEN].strip(), "***")[:500]
            status = getattr(getattr(error, "response", None), "status_code", None)
            raise HubError(
                f"{self.endpoint}: cannot {what} {self.repository}: {_meant(status)}{told}", then=HELP
            ) from None


def _meant(status: int | None) -> str:
    """What a status of HTTP means here, as the beginning of a sentence.

    >>> _meant(412)
    'it was changed meanwhile, push again; '
    """
    meanings = {
        401: f"{TOKEN} is not accepted; ",
        403: f"{TOKEN} may not write there; ",
        412: "it was changed meanwhile, push again; ",
    }
    return meanings.get(status or 0, "")


def hub_path(file: FileEntry) -> str:
    """Where a file of an export lies in a repository."""
    return file.name.removeprefix(MODEL_PREFIX)


def _is_same(folder: Path, file: FileEntry, there: RepoFile | None) -> bool:
    """Whether a hub holds this file: by sha256 where it is a large file there, else by the digest of git."""
    if there is None or there.size != file.size_bytes:
        return False
    if there.lfs is not None:
        return bool(there.lfs.sha256 == file.sha256)
    data = (folder / hub_path(file)).read_bytes()
    return bool(there.blob_id == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
