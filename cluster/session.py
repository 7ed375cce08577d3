"""The Ray of a run: started on this machine for its time, or a running cluster that is joined.

A local Ray is private: a folder, a token and an address of its own, so that it neither joins nor disturbs another. It
ends with the process that started it, however that ends, and what a killed one left in the temporary folder is swept
away by the next.
"""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray

from cluster.site import Site

LONGEST_FOLDER_CHARS = 12
"""Ray puts some 90 characters of its own behind it, and the path of a Unix socket has at most 107."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Data goes through the store, not through Ray: its memory holds little more than the work of a phase."""

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon the death of a rank is noticed; 2 s otherwise
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",  # a gang waits for its machines, it does not give up on them
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less for each gang
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Environment of every process of a run."""


@contextmanager
def ray_session(site: Site) -> Iterator[None]:
    """Ray, connected in this process. A session that this process has open already is used and left open."""
    if ray.is_initialized():
        yield
    elif site.is_embedded:
        with _local_ray(site):
            yield
    else:
        with _environment(SETTINGS), _kept_sigterm_handler():
            ray.init(address=site.ray.address, log_to_driver=False, runtime_env={"env_vars": SETTINGS})
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _local_ray(site: Site) -> Iterator[None]:
    with ExitStack() as stack:
        home = stack.enter_context(_private_folder("neo-ray-", _short_folder()))
        scratch = stack.enter_context(_private_folder("neo-scratch-", Path(tempfile.gettempdir())))
        private = {"RAY_TMPDIR": str(home), "TMPDIR": str(scratch), "RAY_AUTH_TOKEN": _token()}
        with _environment({**SETTINGS, **private}), _kept_sigterm_handler():
            ray.init(
                address="local",
                num_cpus=site.num_local_cpus(),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        stack.callback(ray.shutdown)
        yield


@functools.cache
def _token() -> str:
    """The secret that processes of this run's Ray show one another; Ray keeps the first it sees in a process."""
    return secrets.token_hex(32)


@contextmanager
def _private_folder(prefix: str, parent: Path) -> Iterator[Path]:
    """A folder that is held by a lock and removed at the end; those whose holder was killed are removed first."""
    for left in parent.glob(f"{prefix}*"):
        with _lock(left) as is_ours:
            if is_ours:
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    with _lock(folder):
        yield folder
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, or find that a living process does. The kernel lets go of it with its process."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(handle)


def _short_folder() -> Path:
    usual = Path(tempfile.gettempdir())
    return usual if len(str(usual)) <= LONGEST_FOLDER_CHARS else Path("/tmp")


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """These variables in the environment, which is afterwards as it was. Processes started inside inherit them."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _kept_sigterm_handler() -> Iterator[None]:
    """Ray sets a handler of its own; the one before it is put back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
