"""A folder compared with what it says that it holds: every file, by its digest, without a store or a network.

Owns what counts as damage of a folder, and the threads that read its files. A bit that differs, a file that is gone, is
called otherwise or was added, and a record that does not fit are each a finding.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final, Literal, TypeAlias

from pipelines.evidence.folder_record import OWN_RECORDS, DamagedRecordError, FolderRecord, Recorded, record_of
from pipelines.outside.target_folder import HIDDEN
from stages.artifacts.kinds import LINEAGE_FILE
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
        with progress(sum(file.size_bytes for file in record.files())) as told_bytes:
            _compare(report, record, told_bytes)
    except DamagedRecordError as error:
        report.findings.append(FolderFinding("record", error.path, str(error)))
        return report
    _find_extra(report, record)
    return report


def _compare(report: FolderReport, record: FolderRecord, told: Callable[[int], object]) -> None:
    """Hash what the record lists, many files side by side."""
    stop = Event()

    def look(file: Recorded) -> tuple[Recorded, str | None]:
        path = report.folder / file.path
        try:
            if not path.is_file() or path.stat().st_size != file.size_bytes:
                told(file.size_bytes)
                return file, None
            return file, _sha256(path, stop, told)
        except FileNotFoundError:
            return file, None

    for file, digest in ahead(look, _each(record), NUM_READERS, at_end=stop.set):
        if digest is None:
            report.findings.append(_other_length(report.folder, file))
        elif digest != file.sha256:
            changed = f"has other bytes: its sha256 begins with {digest[:12]}, {file.sha256[:12]} was recorded"
            report.findings.append(FolderFinding("changed", file.path, changed))
        if digest is not None:
            report.digests[file.path] = digest
            report.size_bytes += file.size_bytes


def _each(record: FolderRecord) -> Iterator[Recorded]:
    """What is to be read: all files that the record lists, and `lineage.json` itself, of which it has no digest."""
    yield from record.files()
    if not record.is_copy:
        data = (record.folder / LINEAGE_FILE).read_bytes()
        yield Recorded(LINEAGE_FILE, len(data), hashlib.sha256(data).hexdigest())


def _other_length(folder: Path, file: Recorded) -> FolderFinding:
    path = folder / file.path
    if path.is_file():
        return FolderFinding(
            "changed", file.path, f"has {path.stat().st_size:,} bytes, {file.size_bytes:,} were recorded"
        )
    return FolderFinding("missing", file.path, "is missing")


def _find_extra(report: FolderReport, record: FolderRecord) -> None:
    """Find files that nothing lists; one with the bytes of a missing file was called otherwise."""
    missing = {finding.path for finding in report.findings if finding.kind == "missing"}
    lost = {file.sha256: file.path for file in record.files() if file.path in missing} if missing else {}
    listed = report.digests.keys() | {finding.path for finding in report.findings}
    for path in _present(report, is_copy=record.is_copy):
        if path in listed or path == SIGNATURE_FILE:
            continue
        told = "is not listed"
        if lost and (report.folder / path).is_file():
            called = lost.get(_sha256(report.folder / path, Event(), lambda _: None))
            told = f"is not listed; it has the bytes of {called}" if called else told
        report.findings.append(FolderFinding("extra", path, told))


def _present(report: FolderReport, *, is_copy: bool) -> Iterator[str]:
    """The path of each file and each link that is in the folder, but for the records of a copy and `NOT_LOOKED_AT`."""
    for folder, folders, files in os.walk(report.folder):
        at_top = Path(folder) == report.folder
        if at_top:
            report.skipped = sorted({*folders, *files} & set(NOT_LOOKED_AT))
        in_hidden = is_copy and Path(folder) == report.folder / HIDDEN
        passed: Collection[str] = NOT_LOOKED_AT if at_top else (*OWN_RECORDS, "unfinished") if in_hidden else ()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        folders[:] = sorted(name for name in folders if name not in passed and name not in links)
        for name in sorted([*files, *links]):
            if name not in passed:
                yield (Path(folder) / name).relative_to(report.folder).as_posix()


def _sha256(path: Path, stop: Event, told: Callable[[int], object]) -> str:
    """sha256 of a file, 64 hex digits; of its beginning, once it is to stop."""
    digest, buffer = hashlib.sha256(), memoryview(bytearray(min(CHUNK_BYTES, max(1, path.stat().st_size))))
    with path.open("rb", buffering=0) as file:
        while (num_read := file.readinto(buffer)) and not stop.is_set():
            digest.update(buffer[:num_read])
            told(num_read)
    return digest.hexdigest()
