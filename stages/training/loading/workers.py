"""Processes that load for one rank, and what comes back from them.

Owns the life of worker processes: each answers what it is asked in that order, one that dies is replaced and asked
again, and none outlives the rank. What is loaded is a function of the request, so any process gives the same answer.
Large arrays come in shared memory: no copy, no limit of `/dev/shm`, no descriptor kept, and the kernel frees it when
the processes end.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from itertools import count
from multiprocessing import get_context
from multiprocessing.reduction import recv_handle, send_handle
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import torch

from stages.contract import StageError

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import numpy as np
    from numpy.typing import NDArray

Ask: TypeAlias = tuple[int, int]
"""A step, and which of its micro-batches."""

NUM_ROW_READERS: Final = 8
"""Micro-batches whose rows one process reads at once: hides the answering time of an object store."""
MAX_DEATHS: Final = 3
"""How often the same micro-batch may be the end of a process: what kills each that loads it is no accident."""
PRELOADED: Final = ["torch", "stages.training.loading.micro_batches"]
"""Modules that the server imports before it forks a process: 8 loaders hold them once, and start in milliseconds."""
SHARED_BYTES: Final = 1024 * 1024
"""Arrays from this size on are shared; smaller ones are copied, so that what keeps them keeps nothing large."""


class Loading(Protocol):
    """What loads micro-batches, in two halves: one that waits for a store and one that computes. Pickles."""

    def fetch(self, step: int, number: int) -> Any:
        """Read what micro-batch `number` of a step is made of. Called from several threads."""

    def decode(self, fetched: Any) -> Any:
        """Make the micro-batch of what was read."""


class Thread:
    """Loads in this process: several threads read, one decodes."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._readers = ThreadPoolExecutor(NUM_ROW_READERS, thread_name_prefix="loader-reader")
        self._decoder = ThreadPoolExecutor(1, thread_name_prefix="loader-decoder")
        self._answers: dict[Ask, Future[Any]] = {}

    def ask(self, ask: Ask) -> None:
        fetched = self._readers.submit(self._loading.fetch, *ask)
        self._answers[ask] = self._decoder.submit(lambda: self._loading.decode(fetched.result()))

    def take(self, ask: Ask) -> Any:
        return self._answers.pop(ask).result()

    def close(self) -> None:
        self._readers.shutdown(cancel_futures=True)
        self._decoder.shutdown(cancel_futures=True)


class Processes:
    """Loads in worker processes, each asked in its turn. `notice` is told of each that died."""

    def __init__(self, loading: Loading, num_workers: int, notice: Callable[[str], None]) -> None:
        self._loading = loading
        self._notice = notice
        self._num_asked = 0
        self._asked_of: dict[Ask, int] = {}
        self._workers = [Worker(loading) for _ in range(num_workers)]

    def ask(self, ask: Ask) -> None:
        number = self._num_asked % len(self._workers)
        self._num_asked += 1
        self._asked_of[ask] = number
        self._workers[number].ask(ask)

    def take(self, ask: Ask) -> Any:
        """The answer. Raises what was met instead, and `StageError` where each process that tries it dies."""
        number = self._asked_of[ask]
        for num_deaths in count(1):
            worker = self._workers[number]
            try:
                answer = worker.take(ask)
                break
            except (EOFError, ConnectionError):
                died = f"a loader worker (process {worker.process_id}) {worker.end()}; step {ask[0] + 1} waits for it"
                if num_deaths == MAX_DEATHS:
                    raise StageError(
                        f"{died}, and {MAX_DEATHS - 1} before it died there: a picture crashes its decoder, or memory "
                        "is short; give the step more memory or fewer num_loader_workers in the site file"
                    ) from None
                self._notice(f"{died}, and a new one goes on ({num_deaths} of at most {MAX_DEATHS - 1})")
                self._workers[number] = worker.successor(self._loading)
        del self._asked_of[ask]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        for worker in self._workers:
            worker.end()


class Worker:
    """One process and the connection to it."""

    def __init__(self, loading: Loading) -> None:
        context = get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        self._connection, theirs = context.Pipe()
        work = (theirs, loading, dict(os.environ))  # the server that forks it knows those of when it began
        self._process = context.Process(target=_serve, args=work, name="loader", daemon=True)
        self._process.start()
        theirs.close()
        self._waiting: deque[Ask] = deque()
        self._answers: dict[Ask, Any] = {}

    @property
    def process_id(self) -> int | None:
        return self._process.pid

    def ask(self, ask: Ask) -> None:
        """Of a process that is dead, only `take` finds out."""
        self._waiting.append(ask)
        try:
            self._connection.send(ask)
        except ConnectionError:
            return

    def take(self, ask: Ask) -> Any:
        """The answer, or an Exception as a value. Raises EOFError or ConnectionError where the process is dead."""
        while ask not in self._answers:
            self._answers[self._waiting[0]] = _received(self._connection)
            self._waiting.popleft()
        return self._answers.pop(ask)

    def successor(self, loading: Loading) -> Worker:
        """Another process, asked what this one did not answer."""
        worker = Worker(loading)
        worker._answers = self._answers
        for ask in self._waiting:
            worker.ask(ask)
        return worker

    def end(self) -> str:
        """Kill the process if it still runs, even one that is stopped; returns how it ended, in words."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        code = self._process.exitcode or 0
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _serve(connection: Connection, loading: Loading, environment: Mapping[str, str]) -> None:
    """What a worker process does until its rank is gone."""
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    fetched: SimpleQueue[Future[Any]] = SimpleQueue()
    with ThreadPoolExecutor(1) as receiver, ThreadPoolExecutor(NUM_ROW_READERS) as readers:
        receiver.submit(_receive, connection, loading, readers, fetched)
        while True:
            _send(connection, _answer(loading, fetched.get()))


def _receive(
    connection: Connection, loading: Loading, readers: ThreadPoolExecutor, fetched: SimpleQueue[Future[Any]]
) -> None:
    """Start reading each request. Ends the process at once when the rank closes the connection."""
    try:
        while True:
            fetched.put(readers.submit(loading.fetch, *connection.recv()))
    finally:
        os._exit(0)


def _answer(loading: Loading, fetched: Future[Any]) -> Any:
    try:
        return loading.decode(fetched.result())
    except Exception as error:
        error.add_note(f"In a loader worker:\n{traceback.format_exc()}")
        return error


class _Pickler(pickle.Pickler):
    """Takes tensors as arrays: their own pickling copies twice."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return torch.from_numpy, (value.numpy(),)
        return NotImplemented


def _send(connection: Connection, value: Any) -> None:
    shared: list[memoryview] = []
    head = BytesIO()
    _Pickler(head, protocol=5, buffer_callback=lambda buffer: not _is_shared(buffer, shared)).dump(value)
    connection.send_bytes(pickle.dumps((head.getvalue(), [len(data) for data in shared])))
    for data in shared:
        descriptor = os.memfd_create("micro-batch")
        try:
            os.truncate(descriptor, len(data))
            with mmap.mmap(descriptor, len(data)) as place:
                place[:] = data
            send_handle(connection, descriptor, None)
        finally:
            os.close(descriptor)


def _is_shared(buffer: pickle.PickleBuffer, shared: list[memoryview]) -> bool:
    data = buffer.raw()
    if is_large := data.nbytes >= SHARED_BYTES:
        shared.append(data)
    return is_large


def _received(connection: Connection) -> Any:
    head, sizes_bytes = pickle.loads(connection.recv_bytes())  # noqa: S301 - from a process of our own
    return pickle.loads(head, buffers=[_mapped(connection, size_bytes) for size_bytes in sizes_bytes])  # noqa: S301


def _mapped(connection: Connection, size_bytes: int) -> NDArray[np.uint8]:
    """Shared memory without its descriptor, which Python's own `mmap` would keep."""
    descriptor = recv_handle(connection)
    try:
        path = f"/proc/self/fd/{descriptor}"
        mapped: NDArray[np.uint8] = torch.from_file(path, shared=True, size=size_bytes, dtype=torch.uint8).numpy()
        return mapped
    finally:
        os.close(descriptor)
