"""What a folder says that it holds: the record of a copy, or `lineage.json` of an exported checkpoint.

Owns which of the two a folder has, and what is wrong with it. The record is read, no other file of the folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from pipelines.exits import BadCommandError
from pipelines.outside.copy_record import FILES_FILE, read_files
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.kinds import LINEAGE_FILE
from stages.artifacts.merkle import MerkleTree, file_leaf
from stages.exporting.lineage_file import SEALED, LineageFileError, chain_problems, opened

OWN_RECORDS: Final = ("about.json", "lock", LINEAGE_FILE, FILES_FILE)
"""Files that a finished copy has in its hidden folder."""
HELP: Final = "neo verify --help"


class Recorded(NamedTuple):
    """A file that a folder should hold."""

    path: str
    """Path in the folder."""
    size_bytes: int
    """Length of the file, in bytes."""
    sha256: str
    """Digest of the file, 64 hex digits."""


class DamagedRecordError(Exception):
    """A record that is not as it was written: what the folder should hold cannot be told from it."""

    def __init__(self, path: str, told: str) -> None:
        super().__init__(told)
        self.path = path
        """Path of the record in the folder."""


@dataclass(frozen=True)
class FolderRecord:
    """What a folder says of itself."""

    folder: Path
    """The folder."""
    document: dict[str, Any]
    """The lineage, as it stands in the record."""
    is_copy: bool
    """Whether it is the record of a copy, in the hidden folder, or `lineage.json` of an export."""

    @property
    def artifact(self) -> dict[str, Any]:
        """The entry of the artifact that the folder holds; of an export without a record, of its checkpoint."""
        return dict(self.document["artifacts"][-1])

    @property
    def named(self) -> str:
        """The artifact in words: `export/0123456789ab`, or what the export of it was made of."""
        short = f"{self.artifact['stage']}/{self.artifact['fingerprint'][:SHOWN_DIGITS]}"
        return short if self.is_copy else f"an export of {short}"

    @property
    def root(self) -> str | None:
        """The root that stands for the artifact and all behind it; None where its ancestors were gone."""
        root: str | None = self.artifact["root"] if self.is_copy else self.document[SEALED]
        return root

    def files(self) -> Iterator[Recorded]:
        """The files that the folder should hold, one at a time.

        Of a copy, all files of the artifact are hashed into its files root on the way. Raises `DamagedRecordError`
        where a line cannot be used, and at the end where the lines are not those of the artifact.
        """
        if not self.is_copy:
            for file in self.document["files"]:
                yield Recorded(_inside(LINEAGE_FILE, file["name"]), file["size_bytes"], file["sha256"])
            return
        tree = MerkleTree()
        path = f"{HIDDEN}/{FILES_FILE}"
        try:
            for file in read_files(self.folder / path):
                named = (file["phase"], file["part"], file["name"], file["size_bytes"], file["sha256"])
                tree.add(file_leaf(*named))
                if file["copied"]:
                    yield Recorded(_inside(path, file["path"]), file["size_bytes"], file["sha256"])
        except (OSError, ValueError) as error:
            raise DamagedRecordError(path, str(error)) from error
        if tree.root != self.artifact["files_root"]:
            raise DamagedRecordError(path, f"lists other files than {self.named} has: their roots differ")

    def problems(self) -> Iterator[tuple[str, str]]:
        """Path and sentence of each thing that is wrong with the record itself."""
        path = f"{HIDDEN}/{LINEAGE_FILE}" if self.is_copy else LINEAGE_FILE
        if not self.document.get("lacking"):
            yield from ((path, problem) for problem in chain_problems(self.document))
        if self.is_copy:
            about = {"artifact": self.named, "content": self.artifact["content"], "layout": "files"}
            if (self.folder / HIDDEN / "about.json").read_bytes() != (json.dumps(about, indent=2) + "\n").encode():
                yield f"{HIDDEN}/about.json", "is not as it was written"
            if (self.folder / HIDDEN / "unfinished").exists():
                yield f"{HIDDEN}/unfinished", "tells that the copy was broken off; `neo get` of the same continues it"


def _inside(record: str, path: str) -> str:
    """A path that a record lists. Raises `DamagedRecordError` for one that leads out of the folder."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts:
        raise DamagedRecordError(record, f"lists {path!r}, which leads out of the folder")
    return path


def record_of(folder: Path) -> FolderRecord:
    """The record of a folder.

    Raises `BadCommandError` where it has none, and `DamagedRecordError` where it has one that cannot be used.
    """
    if not folder.is_dir():
        raise BadCommandError(f"{folder} is no folder", then=HELP)
    if any((folder / HIDDEN / name).exists() for name in ("about.json", LINEAGE_FILE)):
        return FolderRecord(folder, _opened(folder, f"{HIDDEN}/{LINEAGE_FILE}"), is_copy=True)
    return FolderRecord(folder, _opened(folder, LINEAGE_FILE), is_copy=False)


def _opened(folder: Path, path: str) -> dict[str, Any]:
    try:
        data = (folder / path).read_bytes()
    except FileNotFoundError as error:
        raise BadCommandError(
            f"{folder} has no {path}: it is neither an exported checkpoint nor a finished copy that `neo get` made",
            then="neo get REF FOLDER   (completes a copy, and writes what it is verified by)",
        ) from error
    try:
        return opened(data)
    except LineageFileError as error:
        if _is_of_before(data):
            raise BadCommandError(
                f"{folder / path} was written by a version that listed no digests; a copy by `neo get` has them",
                then="neo get REF FOLDER",
            ) from error
        raise DamagedRecordError(path, str(error)) from error


def _is_of_before(data: bytes) -> bool:
    """Whether these bytes are a lineage as it was written before it had a format."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "artifacts" in document and not {"format", SEALED} & document.keys()
