"""Named places at which a test can make the system fail: before and after every commit.

Owns the names and the faults that the environment can ask for. Without such a request, a fault point costs one look
into the environment. Every commit happens inside `with fault_point(name)`; a test checks the sources for that.

    NEO_FAULT=part.recorded:before@2=kill    point:edge, @ its occurrence in this process (1 if left out), action
    NEO_FAULT_SECONDS=3                      how long the action `sleep` lasts; an hour if left out
    NEO_FAULT_ONCE=/a/file                   only for the process that creates this file, so not after a restart as well
    NEO_FAULT_TRACE=/a/folder                each process writes the edges it passes to `<process id>.txt` there
"""

from __future__ import annotations

import errno
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FAULT: Final = "NEO_FAULT"
SECONDS: Final = "NEO_FAULT_SECONDS"
ONCE: Final = "NEO_FAULT_ONCE"
TRACE: Final = "NEO_FAULT_TRACE"
EXIT_CODE: Final = 70

POINTS: Final = frozenset(
    {
        "store.metadata_created",
        "source.kept",
        "run.frozen",
        "attempt.begun",
        "attempt.ended",
        "cancel.asked",
        "submission.recorded",
        "job.submitted",
        "submission.ended",
        "log.kept",
        "picture.kept",
        "step.noted",
        "ref.set",
        "claim.taken",
        "claim.released",
        "inputs.recorded",
        "fork.held",
        "fork.recorded",
        "phase.listed",
        "part.taken_over",
        "phase.gathered",
        "part.files_written",
        "part.uploaded",
        "profile.kept",
        "part.recorded",
        "repair.recorded",
        "record.quarantined",
        "artifact.manifest_created",
        "artifact.head_written",
        "rows.mapped",
        "index.uploaded",
        "index.recorded",
        "index.deleted",
        "checkpoint.files_written",
        "checkpoint.uploaded",
        "checkpoint.gathered",
        "checkpoint.recorded",
        "checkpoint.retired",
        "audit.noted",
        "checkpoint.deleted",
        "outbox.appended",
        "outbox.marked_sent",
        "tracker.op_sent",
        "run.settled",
        "takedown.list_kept",
        "takedown.found",
        "takedown.recorded",
        "gc.listed",
        "gc.forgotten",
        "gc.marked",
        "gc.quarantined",
        "gc.put_back",
        "gc.deleted",
        "gc.ended",
    }
)
"""All names, in the order in which a run passes them, by what they commit."""


def _raise(number: int) -> Callable[[], None]:
    def action() -> None:
        raise OSError(number, f"{os.strerror(number)} (asked for by {FAULT})")

    return action


ACTIONS: Final[Mapping[str, Callable[[], None]]] = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda: os.kill(os.getpid(), signal.SIGTERM),
    "exit": lambda: os._exit(EXIT_CODE),
    "raise": _raise(errno.EIO),
    "enospc": _raise(errno.ENOSPC),
    "sleep": lambda: time.sleep(float(os.environ.get(SECONDS, "3600"))),
}

_SHAPE: Final = re.compile(r"(?P<point>[a-z_.]+):(?P<edge>before|after)(?:@(?P<occurrence>[1-9]\d*))?=(?P<action>\w+)")
_passed: Final[Counter[str]] = Counter()
_lock: Final = threading.Lock()


@dataclass(frozen=True)
class Fault:
    """The fault that `NEO_FAULT` asks for."""

    edge: str
    occurrence: int
    action: str

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Raises ValueError where the text has another shape, or names a point or an action that does not exist."""
        match = _SHAPE.fullmatch(text)
        if match is None:
            raise ValueError(f"{FAULT}={text!r} has not the shape point:edge@occurrence=action")
        if match["point"] not in POINTS:
            raise ValueError(f"{FAULT}={text!r}: there is no point {match['point']!r}; there are {sorted(POINTS)}")
        if match["action"] not in ACTIONS:
            raise ValueError(f"{FAULT}={text!r}: there is no action {match['action']!r}; there are {sorted(ACTIONS)}")
        return cls(f"{match['point']}:{match['edge']}", int(match["occurrence"] or 1), match["action"])


@contextmanager
def fault_point(name: str, about: str = "") -> Iterator[None]:
    """Surrounds a commit. `about` is what is committed, such as a key, for the trace."""
    if name not in POINTS:
        raise ValueError(f"there is no fault point {name!r}; add it to `stages.store.fault_points.POINTS`")
    is_active = FAULT in os.environ or TRACE in os.environ
    if is_active:
        _pass(f"{name}:before", about)
    yield
    if is_active:
        _pass(f"{name}:after", about)


def _pass(edge: str, about: str) -> None:
    if folder := os.environ.get(TRACE):
        with _lock, (Path(folder) / f"{os.getpid()}.txt").open("a", encoding="utf-8") as file:
            file.write(f"{edge} {about}".rstrip() + "\n")
    if text := os.environ.get(FAULT):
        fault = Fault.parse(text)
        if edge == fault.edge and _count(edge) == fault.occurrence and _first():
            ACTIONS[fault.action]()


def _count(edge: str) -> int:
    with _lock:
        _passed[edge] += 1
        return _passed[edge]


def _first() -> bool:
    """Whether no other process has carried out the action before, if it must happen once (`NEO_FAULT_ONCE`)."""
    try:
        if path := os.environ.get(ONCE):
            Path(path).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
