"""Which failures a machine can cause, as opposed to the work itself: its disk, memory, network, rights, the store.

Owns the judgement that decides whether work that failed may succeed on another machine.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias

from stages.contract.errors import InterruptedRunError, NetworkDownError, SupersededError
from stages.store.errors import DENIED, DiskFullError, StoreDeniedError, StoreUnavailableError, is_full

MachineFault: TypeAlias = Literal[
    "disk full",
    "out of memory",
    "network",
    "access denied",
    "input/output error",
    "too many open files or processes",
    "store unavailable",
]
"""What was wrong with a machine, in words for people."""

LASTING_FAULTS: Final[frozenset[MachineFault]] = frozenset({"disk full", "access denied"})
"""Faults that do not pass by themselves within minutes: where no other machine could do the work, waiting is no use."""

NUMBERS: Final[Mapping[MachineFault, frozenset[int]]] = {
    "out of memory": frozenset({errno.ENOMEM}),
    "access denied": DENIED,
    "input/output error": frozenset(
        {errno.EIO, errno.EREMOTEIO, errno.ESTALE, errno.ENOTCONN, errno.ENODEV, errno.ENXIO}
    ),
    "too many open files or processes": frozenset({errno.EMFILE, errno.ENFILE, errno.EAGAIN}),
    "network": frozenset(
        {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.ETIMEDOUT}
    ),
}
"""Error numbers of an `OSError`. ENOENT is none: it may be a lost mount, or a file that never was."""
CLASSES: Final[Mapping[MachineFault, tuple[type[BaseException], ...]]] = {
    "disk full": (DiskFullError,),
    "access denied": (StoreDeniedError,),
    "store unavailable": (StoreUnavailableError,),
    "out of memory": (MemoryError,),
    "network": (NetworkDownError, ConnectionError, TimeoutError, socket.gaierror, socket.herror),
}
CLASSES_BY_NAME: Final[Mapping[str, MachineFault]] = {"OutOfMemoryError": "out of memory"}
"""Classes of libraries that are not imported here: torch's error of a full GPU."""


def machine_fault(error: BaseException) -> MachineFault | None:
    """What about the machine made `error` happen, by its class, its number, or one of its causes; None if nothing did.

    Causes are followed as a traceback shows them, because a stage words what a library raised: a `StageError` that was
    raised from a full disk is a fault of the machine, and a `ValueError` is not.
    """
    if isinstance(error, InterruptedRunError | SupersededError):
        return None
    return next((fault for fault in map(_own_fault, _with_causes(error)) if fault is not None), None)


def _with_causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        yield one
        seen.add(id(one))
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)


def _own_fault(error: BaseException) -> MachineFault | None:
    """The fault that this error tells of, without its causes."""
    if is_full(error):
        return "disk full"
    if isinstance(error, BrokenPipeError):  # the other end of a pipe, a child process, ended
        return None
    by_class = next((fault for fault, classes in CLASSES.items() if isinstance(error, classes)), None)
    if by_class is None and isinstance(error, OSError):
        return next((fault for fault, numbers in NUMBERS.items() if error.errno in numbers), None)
    names = [kind.__name__ for kind in type(error).__mro__]
    return by_class or next((CLASSES_BY_NAME[name] for name in names if name in CLASSES_BY_NAME), None)
