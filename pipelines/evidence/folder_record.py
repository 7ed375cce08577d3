"""What a folder says that it holds: the record of a copy, or `lineage.json` of an exported checkpoint.

Owns which of the two a folder has, and what is wrong with it. The record is read, no other file of the folder. Somebody
else may have written it: no field is used before it is known to be of its type, and no path before it is
known to stay in the folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipelines.exits import BadCommandError
from pipelines.outside.copy_record import FILES_FILE, part_of_model, read_files
from pipelines.outside.held_files import copied_path, path_problem
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.kinds import LINEAGE_FILE, MODEL_PREFIX
from stages.artifacts.merkle import MerkleTree, file_leaf
from stages.artifacts.records import STEPS_PHASE
from stages.exporting.lineage_file import SEALED, LineageFileError, chain_problems, opened
from stages.exporting.lineage_shape import shape_problem

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


class Totals(NamedTuple):
    """What a record lists."""

    num_listed: int = 0
    """Files of the export, or of the artifact that was copied."""
    num_not_copied: int = 0
    """Those of them that a copy was made without."""
    size_bytes: int = 0
    """Bytes of the others."""


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
        """The files that the folder should hold, one at a time. Raises like `totals`, at the end for some damage."""
        return (file for file, is_here in self._listed() if is_here)

    def totals(self) -> Totals:
        """How much the record lists; it is read from end to end.

        Of a copy, all files of the artifact are hashed into its files root on the way. Raises `DamagedRecordError`
        where a line or a path cannot be used, and where the lines are not those of the artifact.
        """
        num_listed = num_here = size_bytes = 0
        for file, is_here in self._listed():
            num_listed += 1
            num_here += is_here
            size_bytes += file.size_bytes * is_here
        return Totals(num_listed, num_listed - num_here, size_bytes)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Path and sentence of each thing that is wrong with the record itself."""
        path = f"{HIDDEN}/{LINEAGE_FILE}" if self.is_copy else LINEAGE_FILE
        if not self.document.get("lacking"):
            yield from ((path, problem) for problem in chain_problems(self.document))
        elif [one["fingerprint"] for one in self.document["artifacts"]] != [self.document["artifact"]] or self.root:
            yield path, "says that its lineage was not whole, and lists ancestors or a root all the same"
        if self.is_copy:
            about = {"artifact": self.named, "content": self.artifact["content"], "layout": "files"}
            if read_record(self.folder, f"{HIDDEN}/about.json") != (json.dumps(about, indent=2) + "\n").encode():
                yield f"{HIDDEN}/about.json", "is not as it was written"
            if os.path.lexists(self.folder / HIDDEN / "unfinished"):
                yield f"{HIDDEN}/unfinished", "tells that the copy was broken off; `neo get` of the same continues it"

    def _listed(self) -> Iterator[tuple[Recorded, bool]]:
        """Every file that the record lists, and whether the folder should hold it."""
        record = f"{HIDDEN}/{FILES_FILE}" if self.is_copy else LINEAGE_FILE
        seen = set() if self.is_copy else {LINEAGE_FILE}
        for file, is_here in self._lines(record) if self.is_copy else self._entries():
            if problem := path_problem(file.path):
                raise DamagedRecordError(record, f"lists {file.path!r}, which {problem}")
            if file.path.split("/", 1)[0] == HIDDEN:
                raise DamagedRecordError(record, f"lists {file.path!r}, which lies among the records of copies")
            if is_here and file.path in seen:
                raise DamagedRecordError(record, f"lists {file.path!r} twice")
            if is_here:
                seen.add(file.path)
            yield file, is_here

    def _entries(self) -> Iterator[tuple[Recorded, bool]]:
        """The files of an export."""
        for file in self.document["files"]:
            yield Recorded(file["name"], file["size_bytes"], file["sha256"]), True

    def _lines(self, record: str) -> Iterator[tuple[Recorded, bool]]:
        """The files of the artifact that was copied. What no root covers is compared with what it follows from."""
        tree, at_step = MerkleTree(), ""
        try:
            path = _checked(self.folder, record)
            model = part_of_model(path)
            for file in read_files(path):
                phase, part, name = file["phase"], file["part"], file["name"]
                is_model = _is_of_model(phase, part, name, model)
                if file["path"] != copied_path(phase, part, name, is_model=is_model):
                    raise DamagedRecordError(record, f"lists {phase}/{part}/{name} at {file['path']!r}: not its place")
                if problem := path_problem(f"{phase}/{part}/{name}"):
                    raise DamagedRecordError(record, f"lists {phase!r}, {part!r}, {name!r}: that {problem}")
                if phase == STEPS_PHASE and part < at_step:  # the leaf of a checkpoint leaves out its number
                    raise DamagedRecordError(record, f"lists checkpoint {part} behind {at_step}")
                at_step = part if phase == STEPS_PHASE else at_step
                tree.add(file_leaf(phase, part, name, file["size_bytes"], file["sha256"]))
                yield Recorded(file["path"], file["size_bytes"], file["sha256"]), file["copied"]
        except OSError as error:
            raise DamagedRecordError(record, f"cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise DamagedRecordError(record, str(error)) from error
        if tree.root != self.artifact["files_root"]:
            raise DamagedRecordError(record, f"lists other files than {self.named} has: their roots differ")


def _is_of_model(phase: str, part: str, name: str, model: tuple[str, str] | None) -> bool:
    """Whether a file is one of the model that an artifact holds, whose last part is `model`, as `ModelFolder` has it:
    of a training the last checkpoint alone, else all files of such names."""
    if model is None or not name.startswith(MODEL_PREFIX):
        return False
    return model[0] != STEPS_PHASE or (phase, part) == model


def record_of(folder: Path) -> FolderRecord:
    """The record of a folder.

    Raises `BadCommandError` where it has none, and `DamagedRecordError` where it has one that cannot be used.
    """
    if not os.path.isdir(folder):  # noqa: PTH112  `Path.is_dir` raises for a name that is too long
        raise BadCommandError(
            f"{folder} is no folder: this compares an exported folder, or a copy by `neo get`, without a store. What "
            "lies in a store is compared by `neo audit`",
            then=HELP,
        )
    if any((folder / HIDDEN / name).exists() for name in ("about.json", LINEAGE_FILE)):
        return FolderRecord(folder, _opened(folder, f"{HIDDEN}/{LINEAGE_FILE}", is_copy=True), is_copy=True)
    return FolderRecord(folder, _opened(folder, LINEAGE_FILE, is_copy=False), is_copy=False)


def read_record(folder: Path, path: str) -> bytes:
    """The bytes of a record. Raises `DamagedRecordError` where it cannot be read, or is no file of its own."""
    try:
        return _checked(folder, path).read_bytes()
    except OSError as error:
        raise DamagedRecordError(path, f"cannot be read: {error.strerror}") from error


def _checked(folder: Path, path: str) -> Path:
    """Where a record is. Raises `DamagedRecordError` for anything but a file; the records of a copy are no links."""
    place = folder / path
    if path.startswith(HIDDEN) and (place.is_symlink() or place.parent.is_symlink()):
        raise DamagedRecordError(path, "is a link, or lies behind one; `neo get` writes a file")
    if place.exists() and not place.is_file():
        raise DamagedRecordError(path, "is no file")
    return place


def _opened(folder: Path, path: str, *, is_copy: bool) -> dict[str, Any]:
    if not os.path.lexists(folder / path):
        raise BadCommandError(
            f"{folder} has no {path}: it is neither an exported checkpoint nor a finished copy that `neo get` made",
            then="neo get --help   (completes a copy, and writes what it is verified by)",
        )
    data = read_record(folder, path)
    try:
        document = opened(data)
    except LineageFileError as error:
        if _is_of_before(data):
            raise BadCommandError(
                f"{folder / path} was written by a version that listed no digests; a copy by `neo get` has them",
                then="neo get --help",
            ) from error
        raise DamagedRecordError(path, str(error)) from error
    if problem := shape_problem(document, "copy" if is_copy else "export"):
        raise DamagedRecordError(path, problem)
    return document


def _is_of_before(data: bytes) -> bool:
    """Whether these bytes are a lineage as it was written before it had a format."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "artifacts" in document and not {"format", SEALED} & document.keys()
