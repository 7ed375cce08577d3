"""Files of an artifact in bounded lists, and the machines of a site that look at them: an audit on many machines.

Owns how files are cut into lists, what a machine does with one and returns, and the lines that tell how far it is. A
list says where in the manifest its parts stand, and a machine reads these lines alone: the driver holds the bytes of
one manifest and half a KB for each list, and never all files of an artifact.
"""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.lineage.file_checks import (
    ArtifactFiles,
    Depth,
    FileCheck,
    FileReader,
    PlacedFile,
    check_files,
    placed,
)
from pipelines.screen.progress import queued_words
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import parsed_lines
from stages.artifacts.records import PartRecord
from stages.contract import (
    Event,
    InterruptedRunError,
    MachinesAwaited,
    Part,
    PartTask,
    Post,
    WarningPosted,
)
from stages.store.errors import StoreError
from stages.store.store import Store

if TYPE_CHECKING:
    from cluster.parts.machines import Machines

MAX_FILES_OF_LIST = 256
"""Files of a list, at most: a round trip each where sizes alone are compared."""
MAX_BYTES_OF_LIST = 8_000_000_000
"""Bytes that are read for a list, at most, unless a single file is larger: half a minute of one CPU."""
NUM_READERS_OF_LIST = 8
"""Files of a list that are read side by side. A machine works on as many lists as the site's `cpus` let it."""
SECONDS_BETWEEN_LINES = 10.0
"""A line tells how far an artifact is after this long, and then as often."""


class FileList(PartTask):
    """Some files of an artifact, one after the other: the task of a part of an audit."""

    lines: tuple[int, int] = (0, 0)
    """Where the lines of the parts that hold them begin and end in the manifest."""
    sha256: str = ""
    """sha256 of these lines; '' where `parts` holds the parts."""
    parts: tuple[PartRecord, ...] = ()
    """The parts themselves, where they have no lines of their own in the manifest."""
    first: int
    """Place of its first file among all files of the artifact."""
    skipped: int
    """Files of its first part that belong to the list before."""
    num_files: int
    """Number of its files."""
    versions: tuple[str, ...] = ()
    """The version under which an unfinished audit has read each file, or ''; empty if it has read none of them."""

    def files(self, lines: bytes) -> Iterator[PlacedFile]:
        """Its files; `lines` are those bytes of the manifest."""
        parts = self.parts or parsed_lines(lines)
        own = placed(parts, self.first - self.skipped)
        return (file for file in own if self.first <= file.place < self.first + self.num_files)


@dataclass
class _Cut:
    """A list that is being filled."""

    first: int
    skipped: int
    lines: list[tuple[int, int] | None] = field(default_factory=list)
    parts: list[PartRecord] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)
    num_bytes: int = 0

    def add(self, lines: tuple[int, int] | None, file: PlacedFile, num_bytes: int, version: str) -> None:
        if not self.parts or self.parts[-1] is not file.part:
            self.lines.append(lines)
            self.parts.append(file.part)
        self.num_bytes += num_bytes
        self.versions.append(version)

    def is_full(self, num_bytes: int) -> bool:
        """Whether another file of this many bytes to be read is too much."""
        return len(self.versions) >= MAX_FILES_OF_LIST or self.num_bytes + num_bytes > MAX_BYTES_OF_LIST

    def task(self, manifest: bytes) -> FileList:
        """The list that is to be sent to a machine; `manifest` are the bytes of the manifest, a line a part."""
        known = tuple(self.versions) if any(self.versions) else ()
        task = FileList(first=self.first, skipped=self.skipped, num_files=len(self.versions), versions=known)
        begin, end = self.lines[0], self.lines[-1]
        if begin is None or end is None:
            return task.model_copy(update={"parts": tuple(self.parts)})
        lines = (begin[0], end[1])
        digest = hashlib.sha256(manifest[slice(*lines)]).hexdigest()
        return task.model_copy(update={"lines": lines, "sha256": digest})


def lists_of(files: ArtifactFiles) -> Iterator[FileList]:
    """The files of an artifact in lists, in order. Those of checkpoints that it went past have lists of their own."""
    cut: _Cut | None = None
    place = 0
    for lines, part in _with_lines(files):
        for skipped, entry in enumerate(part.files):
            num_bytes = entry.size_bytes if files.depth.reads(entry) else 0
            if cut is not None and (cut.is_full(num_bytes) or (cut.lines[0] is None) != (lines is None)):
                yield cut.task(files.manifest.data)
                cut = None
            cut = cut or _Cut(place, skipped)
            cut.add(lines, PlacedFile(place, part, entry), num_bytes, files.noted(entry))
            place += 1
    if cut is not None:
        yield cut.task(files.manifest.data)


def _with_lines(files: ArtifactFiles) -> Iterator[tuple[tuple[int, int] | None, PartRecord]]:
    """The parts of an artifact with the places of their lines; None for those that have none in the stored manifest."""
    for lines, part in files.manifest.lines():
        yield lines if files.manifest.is_as_stored else None, part
    for part in files.kept:
        yield None, part


@dataclass(frozen=True)
class ListResult:
    """What a machine found out about the files of a list."""

    host: str
    found: list[tuple[int, dict[str, Any]]]
    """Place of each file that was looked at, with the other fields of its `FileCheck`. Where a stop was asked for, the
    files that were not looked at are missing."""


def check_list(
    part: Part, _post: Post, stop_asked: Callable[[], bool], *, store: Store, manifest_key: str, depth: Depth
) -> ListResult:
    """Look at the files of a list, on one of the machines. Once a stop is asked for, returns what is done."""
    task = FileList.of(part)
    start, stop = task.lines
    lines = store.read_range(manifest_key, start, stop - start) if task.sha256 else b""
    if task.sha256 and hashlib.sha256(lines).hexdigest() != task.sha256:
        raise StoreError(f"{manifest_key} was changed while its artifact was audited; audit it again")
    files = list(task.files(lines))
    known = {file.entry.key: version for file, version in zip(files, task.versions, strict=False)}
    found = []
    for check in check_files(store, files, depth, lambda entry: known.get(entry.key, ""), NUM_READERS_OF_LIST):
        fields = {name: value for name, value in vars(check).items() if name != "file"}
        found.append((check.file.place, fields))
        if stop_asked():
            break
    return ListResult(socket.gethostname(), found)


@dataclass
class _Telling:
    """Tells people how far an artifact is, and what its lists wait for."""

    say: Callable[[str], None]
    num_files: int
    num_done: int = 0
    num_bytes: int = 0
    hosts: set[str] = field(default_factory=set)
    _told_at_seconds: float = field(default_factory=time.monotonic)

    def event(self, event: Event) -> None:
        if isinstance(event, WarningPosted):
            self.say(f"  {event.message}")
        elif isinstance(event, MachinesAwaited):
            self.say(f"  {queued_words(event) or 'goes on: machines have come'}")

    def done(self, check: FileCheck) -> None:
        self.num_done += 1
        self.num_bytes += check.file.entry.size_bytes if check.was_read else 0

    def line(self, host: str) -> None:
        self.hosts.add(host)
        if time.monotonic() - self._told_at_seconds >= SECONDS_BETWEEN_LINES:
            self._told_at_seconds = time.monotonic()
            num = len(self.hosts)
            machines = f"{num} machine{'' if num == 1 else 's'}"
            self.say(f"  {self.num_done:,} of {self.num_files:,} files, {self.num_bytes:,} bytes, by {machines}")


def reader_on(
    machines: Machines, say: Callable[[str], None], stopping: Callable[[], AbstractContextManager[None]]
) -> FileReader:
    """A reader that has the machines of a site look at files.

    `say` gets lines for people. Within `stopping`, a signal sets `machines.stop`; the reader then raises
    `InterruptedRunError`, within `GRACE_SECONDS` of `cluster/parts/machines.py` and a second.
    """

    def read(files: ArtifactFiles, take: Callable[[FileCheck], None]) -> None:
        manifest = files.manifest
        parts = [Part(name=f"{number:06d}", task=one.dump()) for number, one in enumerate(lists_of(files))]
        num_files = manifest.num_files + sum(len(part.files) for part in files.kept)
        telling = _Telling(say, num_files)

        def keep(part: Part, result: ListResult) -> None:
            task = FileList.of(part)
            places = {file.place: file for file in task.files(manifest.data[slice(*task.lines)])}
            for place, fields in result.found:
                check = FileCheck(places[place], **fields)
                telling.done(check)
                take(check)
            telling.line(result.host)

        work = partial(check_list, store=files.store, manifest_key=manifest.key, depth=files.depth)
        head = manifest.head
        with stopping():
            if parts:
                machines.each(
                    work, parts, phase=f"{head.stage}-{head.fingerprint[:SHOWN_DIGITS]}", keep=keep, post=telling.event
                )
        if telling.num_done < num_files:
            raise InterruptedRunError("the audit was stopped")

    return read
