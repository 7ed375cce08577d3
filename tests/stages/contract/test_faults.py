"""What a machine can cause is told from what the work causes, through the words that a stage puts around it."""

import errno
import socket
import ssl

import pytest

from stages.contract import InterruptedRunError, NetworkDownError, StageError, SupersededError, machine_fault
from stages.store.errors import DiskFullError, StoreDeniedError, StoreError, StoreUnavailableError


class AcceleratorError(RuntimeError):
    """As torch's own."""


class DistBackendError(RuntimeError):
    """As torch's own."""


class NVMLError_GpuIsLost(Exception):  # noqa: N801, N818 NVIDIA's name
    """As NVIDIA's own."""


class OutOfMemoryError(RuntimeError):
    """As torch's own, which is not imported here."""


def raised_from(cause: BaseException) -> BaseException:
    """A stage's error, raised from this one."""
    try:
        try:
            raise cause
        except type(cause) as error:
            raise StageError("the part cannot be read") from error
    except StageError as worded:
        return worded


def raised_while(cause: BaseException, *, hides: bool) -> BaseException:
    """An error of the work, raised while another was dealt with."""
    try:
        try:
            raise cause
        except type(cause):
            if hides:
                raise ValueError("no such column") from None
            raise ValueError("no such column")  # noqa: B904
    except ValueError as error:
        return error


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk full"),
        (RuntimeError("write failed (os error 28)"), "disk full"),
        (DiskFullError("the store is full"), "disk full"),
        (OSError(errno.EIO, "Input/output error"), "input/output error"),
        (OSError(errno.ESTALE, "Stale file handle"), "input/output error"),
        (OSError(errno.EMFILE, "Too many open files"), "too many open files or processes"),
        (PermissionError(errno.EACCES, "Permission denied"), "access denied"),
        (StoreDeniedError("403"), "access denied"),
        (StoreUnavailableError("503"), "store unavailable"),
        (MemoryError(), "out of memory"),
        (OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"), "network"),
        (ConnectionResetError(), "network"),
        (TimeoutError(), "network"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "network"),
        (NetworkDownError("24 of 25 hosts could not be reached"), "network"),
    ],
)
def test_what_a_machine_can_cause_is_seen_also_where_a_stage_words_it(error: BaseException, fault: str) -> None:
    assert machine_fault(error) == fault
    assert machine_fault(raised_from(error)) == fault


@pytest.mark.parametrize(
    "error",
    [
        AcceleratorError(
            "CUDA error: uncorrectable ECC error encountered\nSearch for `cudaErrorECCUncorrectable' in https://docs.nvidia"
            ".com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more information."
        ),
        RuntimeError("CUDA error: unspecified launch failure"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: all CUDA-capable devices are busy or unavailable"),
        RuntimeError(
            "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx( handle, opa, opb, m, n, k)`"
        ),
        RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
        RuntimeError("CUDA driver error: unknown error"),
        RuntimeError(
            "cuda runtime error (39) : uncorrectable ECC error encountered at THCCachingHostAllocator.cpp:265"
        ),
        RuntimeError("Triton Error [CUDA]: an illegal memory access was encountered"),
        RuntimeError("No CUDA GPUs are available"),
        RuntimeError("NVRM: Xid (PCI:0000:65:00): 79, pid=1234, GPU has fallen off the bus."),
        DistBackendError("NCCL error in: ProcessGroupNCCL.cpp:1331, unhandled cuda error (run with NCCL_DEBUG=INFO)"),
        NVMLError_GpuIsLost("GPU is lost"),
    ],
)
def test_a_gpu_that_fails_is_a_fault_of_the_machine(error: BaseException) -> None:
    assert machine_fault(error) == machine_fault(raised_from(error)) == "GPU error"


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (RuntimeError("CUDA error: device-side assert triggered"), None),
        (RuntimeError("CUDA error: no kernel image is available for execution on the device"), None),
        (RuntimeError("CUDA error: CUBLAS_STATUS_NOT_SUPPORTED when calling `cublasLtMatmulAlgoGetHeuristic`"), None),
        (RuntimeError("expected m1 and m2 to have the same dtype"), None),
        (ValueError("a caption about a CUDA error: unspecified launch failure"), None),
        (RuntimeError("CUDA error: out of memory"), "out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "out of memory"),
        (
            DistBackendError("NCCL error in: NCCLUtils.hpp:268, remote process exited or there was a network error"),
            None,
        ),
    ],
)
def test_what_any_gpu_would_refuse_is_the_works_own(error: BaseException, fault: str | None) -> None:
    assert machine_fault(error) == fault


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no such column"),
        StageError("the parts do not balance"),
        StoreError("a record was edited"),
        FileNotFoundError(errno.ENOENT, "No such file or directory"),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
        ssl.SSLCertVerificationError("self-signed certificate"),
    ],
)
def test_what_the_work_causes_is_no_fault_of_the_machine(error: BaseException) -> None:
    assert machine_fault(error) is None


@pytest.mark.parametrize("kind", [InterruptedRunError, SupersededError])
def test_a_run_that_was_stopped_or_superseded_is_no_fault_of_the_machine(kind: type[StageError]) -> None:
    error = kind("stopped")
    error.__cause__ = ConnectionResetError()
    assert machine_fault(error) is None


def test_an_error_that_was_dealt_with_counts_as_a_traceback_shows_it() -> None:
    assert machine_fault(raised_while(ConnectionResetError(), hides=False)) == "network"
    assert machine_fault(raised_while(ConnectionResetError(), hides=True)) is None
