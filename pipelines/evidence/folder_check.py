"""A folder compared with what it says that it holds: every file, by its digest, without a store or a network.

Owns what counts as damage of a folder, and the threads that read its files. A bit that differs, a file that is gone, is
called otherwise or was added, and a record that does not fit are each a finding. What is read lies in the folder; of a
link in the place of a file, as caches of model hubs and `neo get --link` have them, the bytes are compared, and it is
named.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path, PurePosixPath
from threading import Event
from typing import Final, Literal, NamedTuple, TypeAlias

from pipelines.evidence.folder_record import (
    OWN_RECORDS,
    DamagedRecordError,
    FolderRecord,
    Recorded,
    Totals,
    read_record,
    record_of,
)
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.kinds import LINEAGE_FILE
from stages.artifacts.records import sha256_of
from stages.formats.read_ahead import ahead

NUM_READERS: Final = 8
"""Files that are hashed side by side."""
CHUNK_BYTES: Final = 4 * 2**20
"""Bytes of a file that are read at a time."""
SIGNATURE_FILE: Final = "model.sig"
"""Name of the signature in a folder, as model-signing calls it."""
NOT_LOOKED_AT: Final = (".git", ".gitattributes", ".github", ".gitignore", ".cache")
"""What model hubs and git put at the top of a folder: no part of an artifact, and never read by a loader."""

Progress: TypeAlias = Callable[[int], AbstractContextManager[Callable[[int], object]]]
"""Opens a display of progress for a number of bytes."""


@dataclass(frozen=True)
class FolderFinding:
    """One thing that is wrong with a folder."""

    kind: Literal["changed", "missing", "extra", "record", "signature"]
    """What it is about: a file that differs, is not there, or is not listed; the record; the signature."""
    path: str
    """Path in the folder."""
    told: str
    """What is wrong, as a phrase that follows the path."""


@dataclass
class FolderReport:
    """What was found in a folder."""

    folder: Path
    """The folder."""
    record: FolderRecord | None = None
    """What it says that it holds; None where that cannot be read."""
    findings: list[FolderFinding] = field(default_factory=list)
    """All that is wrong."""
    digests: dict[str, str] = field(default_factory=dict)
    """Path to the sha256 of each listed file that is there, the record of an export included: some 250 bytes each."""
    size_bytes: int = 0
    """Bytes of these files."""
    listed: Totals = field(default_factory=Totals)
    """What the record lists."""
    links: dict[str, str] = field(default_factory=dict)
    """Path to the target of each link in the place of a file: the bytes that were read lie there."""
    skipped: list[str] = field(default_factory=list)
    """Names that were found and not looked at, of `NOT_LOOKED_AT`."""

    @property
    def num_files(self) -> int:
        """Files that are as they were recorded, or differ."""
        return len(self.digests)


def check_folder(folder: Path, progress: Progress = lambda _: nullcontext(lambda _: None)) -> FolderReport:
    """Compare all files of a folder with its record.

    Raises `BadCommandError` where the folder has no record.
    """
    report = FolderReport(folder)
    try:
        report.record = record = record_of(folder)
        report.findings += [FolderFinding("record", path, told) for path, told in record.problems()]
        report.listed = record.totals()  # all paths are judged before the first is opened
        with progress(report.listed.size_bytes) as told_bytes:
            _compare(report, record, told_bytes)
        _find_extra(report, record)
    except DamagedRecordError as error:
        report.findings.append(FolderFinding("record", error.path, str(error)))
    return report


class _Looked(NamedTuple):
    """What was found in the place of a file."""

    file: Recorded
    """What the record says of it."""
    digest: str | None = None
    """sha256 of its bytes, 64 hex digits; None where it was not read."""
    finding: FolderFinding | None = None
    """What is wrong with it."""
    link: str = ""
    """Where it leads, if it is a link."""


def _compare(report: FolderReport, record: FolderRecord, told: Callable[[int], object]) -> None:
    """Hash what the record lists, many files side by side."""
    stop = Event()

    def look(file: Recorded) -> _Looked:
        looked = _look(report.folder, file, stop, told)
        if looked.digest is None:
            told(file.size_bytes)
        return looked

    for file, digest, finding, link in ahead(look, _each(record), NUM_READERS, at_end=stop.set):
        if finding:
            report.findings.append(finding)
        if link:
            report.links[file.path] = link
        if digest is not None:
            report.digests[file.path] = digest
            report.size_bytes += file.size_bytes


def _look(folder: Path, file: Recorded, stop: Event, told: Callable[[int], object]) -> _Looked:
    """Read the file in the place of a recorded one, if it has its length."""

    def without(kind: Literal["changed", "missing"], what: str) -> _Looked:
        return _Looked(file, None, FolderFinding(kind, file.path, what))

    path = folder / file.path
    try:
        if problem := _not_to_be_opened(folder, file.path):
            return without("missing", problem)
        link = str(path.readlink()) if path.is_symlink() else ""
        with FileIO(os.open(path, os.O_RDONLY | os.O_NONBLOCK | (0 if link else os.O_NOFOLLOW))) as data:
            size_bytes = os.fstat(data.fileno()).st_size
            if size_bytes != file.size_bytes:
                return without("changed", f"has {size_bytes:,} bytes, {file.size_bytes:,} were recorded")
            digest = _sha256(data, size_bytes, stop, told)
    except (FileNotFoundError, NotADirectoryError):
        return without("missing", "is missing")
    except OSError as error:
        return without("missing", f"cannot be read: {error.strerror}")
    if digest == file.sha256:
        return _Looked(file, digest, link=link)
    changed = f"has other bytes: its sha256 begins with {digest[:12]}, {file.sha256[:12]} was recorded"
    return _Looked(file, digest, FolderFinding("changed", file.path, changed), link)


def _not_to_be_opened(folder: Path, path: str) -> str:
    """Why what lies at a path is not opened: it is behind a link, or a pipe, a device or a folder; '' for a file."""
    for above in [*PurePosixPath(path).parents][:-1]:
        if (folder / above).is_symlink():
            return f"lies behind {above}, which is a link, and was not read"
    return "" if stat.S_ISREG((folder / path).stat().st_mode) else "is missing: what lies in its place is no file"


def _each(record: FolderRecord) -> Iterator[Recorded]:
    """What is to be read: all files that the record lists, and `lineage.json` itself, of which it has no digest."""
    yield from record.files()
    if not record.is_copy:
        data = read_record(record.folder, LINEAGE_FILE)
        yield Recorded(LINEAGE_FILE, len(data), hashlib.sha256(data).hexdigest())


def _find_extra(report: FolderReport, record: FolderRecord) -> None:
    """Find files that nothing lists; one with the bytes of a missing file was called otherwise."""
    missing = {finding.path for finding in report.findings if finding.kind == "missing"}
    lost = {file.sha256: file.path for file in record.files() if file.path in missing} if missing else {}
    listed = report.digests.keys() | {finding.path for finding in report.findings}
    for path in _present(report, is_copy=record.is_copy):
        place = report.folder / path
        if path == SIGNATURE_FILE and place.is_symlink():
            report.links[path] = str(place.readlink())
        if path in listed or path == SIGNATURE_FILE:
            continue
        called = lost.get(_digest_of(place)) if lost else None
        told = f"is not listed; it has the bytes of {called}" if called else "is not listed"
        report.findings.append(FolderFinding("extra", path, told))


def _present(report: FolderReport, *, is_copy: bool) -> Iterator[str]:
    """The path of each file and each link that is in the folder, but for the records of a copy and `NOT_LOOKED_AT`.

    A folder that cannot be looked into is a finding.
    """

    def failed(error: OSError) -> None:
        path = Path(os.fsdecode(error.filename)).relative_to(report.folder).as_posix()
        report.findings.append(FolderFinding("extra", path, f"cannot be looked into: {error.strerror}"))

    try:
        for folder, folders, files in os.walk(report.folder, onerror=failed):
            at = Path(folder).relative_to(report.folder)
            links = {name for name in folders if os.path.islink(f"{folder}/{name}")}  # noqa: PTH114  never raises
            names = [*files, *links]
            folders[:] = sorted(name for name in folders if name not in links)
            if not at.parts:
                report.skipped = sorted({*folders, *names} & set(NOT_LOOKED_AT))
                folders[:] = [name for name in folders if name not in NOT_LOOKED_AT]
                names = [name for name in names if name not in NOT_LOOKED_AT]
            if is_copy and at == Path(HIDDEN):
                names = [name for name in names if not (name in _OWN and _is_regular(f"{folder}/{name}"))]
            yield from ((at / name).as_posix() for name in sorted(names))
    except RecursionError:
        report.findings.append(FolderFinding("extra", ".", "has more folders in folders than can be looked into"))


_OWN: Final = (*OWN_RECORDS, "unfinished")


def _is_regular(path: str | Path) -> bool:
    """Whether a path is that of a file itself: no link, folder, pipe or device."""
    return stat.S_ISREG(os.lstat(path).st_mode)


def _digest_of(path: Path) -> str:
    """sha256 of a file, 64 hex digits; '' of what is none, or cannot be read."""
    try:
        return sha256_of(path) if _is_regular(path) else ""
    except OSError:
        return ""


def _sha256(file: FileIO, size_bytes: int, stop: Event, told: Callable[[int], object]) -> str:
    """sha256 of a file, 64 hex digits; of its beginning, once it is to stop."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(CHUNK_BYTES, max(1, size_bytes))))
    while (num_read := file.readinto(buffer)) and not stop.is_set():
        digest.update(buffer[:num_read])
        told(num_read)
    return digest.hexdigest()
