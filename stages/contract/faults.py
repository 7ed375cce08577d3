"""Which failures a machine can cause, as opposed to the work itself: its disk, memory, GPU, network, rights, the store.

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
    "GPU error",
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
CLASSES_BY_NAME: Final[Mapping[str, MachineFault]] = {
    "OutOfMemoryError": "out of memory",
    "NVMLError_GpuIsLost": "GPU error",
}
"""Classes of libraries that are not imported here: torch's error of a full GPU, NVIDIA's of a GPU that is gone."""
GPU_TEXTS: Final = (
    "CUDA error",
    "CUDA driver error",
    "CUDA unknown error",
    "cuda runtime error",
    "Triton Error [CUDA]",
    "cuDNN error",
    "CUBLAS_STATUS_",
    "unhandled cuda error",
    "uncorrectable ECC error",
    "GPU is lost",
    "fallen off the bus",
    "NVRM: Xid",
    "No CUDA GPUs are available",
)
"""Parts of the messages of errors that a GPU, its driver or a library on it raises: torch has a class of its own for
some of them only, and NCCL raises "unhandled cuda error" on the rank whose GPU failed."""
GPU_TEXTS_OF_THE_WORK: Final = (
    "device-side assert triggered",
    "no kernel image is available",
    "invalid device function",
    "invalid configuration argument",
    "invalid argument",
    "driver version is insufficient",
    "CUBLAS_STATUS_INVALID_VALUE",
    "CUBLAS_STATUS_NOT_SUPPORTED",
    "CUBLAS_STATUS_ARCH_MISMATCH",
    "CUDNN_STATUS_BAD_PARAM",
    "CUDNN_STATUS_NOT_SUPPORTED",
)
"""Parts of such messages that any GPU of the kind would give for the same work."""
GPU_FULL_TEXTS: Final = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""Parts of such messages that mean a full GPU, which another of its kind would be as well."""


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
    by_name = next((CLASSES_BY_NAME[name] for name in names if name in CLASSES_BY_NAME), None)
    return by_class or by_name or (_gpu_fault(str(error)) if isinstance(error, RuntimeError) else None)


def _gpu_fault(message: str) -> MachineFault | None:
    if not _has_any(message, GPU_TEXTS) or _has_any(message, GPU_TEXTS_OF_THE_WORK):
        return None
    return "out of memory" if _has_any(message, GPU_FULL_TEXTS) else "GPU error"


def _has_any(message: str, texts: tuple[str, ...]) -> bool:
    return any(text in message for text in texts)
