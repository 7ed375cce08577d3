"""The Ray of a run: started on this machine for its time, or a running cluster that is joined.

A local Ray is private: a folder, a token and an address of its own, so that it neither joins nor disturbs another. It
ends with the process that started it, however that ends, and leaves neither processes nor files.
"""

from __future__ import annotations

import functools
import logging
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.import_path import SAFE_PATH, package_folders, python_path
from cluster.listening import look_for
from cluster.site import Site

REAPER = Path(__file__).with_name("reaper.py")
LONGEST_FOLDER_CHARS = 12
"""Ray puts some 90 characters of its own behind it, and the path of a Unix socket has at most 107."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Data goes through the store, not through Ray: its memory holds little more than the work of a phase."""
AUTH_MODE = "RAY_AUTH_MODE"
"""Where it is not set, a Ray that is started here asks for a token. Ray reads it once, when it is imported, so setting
it to `token` would come too late; a user's own `disabled` would open the run's Ray to everybody on the network."""
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set where this driver is itself a Ray job. Its workers get the job's variables; Ray refuses one that both state."""

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # how soon the death of a rank is noticed; 2 s otherwise
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "86400",  # a gang waits for its machines, it does not give up on them
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less for each gang
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    **SAFE_PATH,
}
"""Environment of every process of a run."""


class SessionError(RuntimeError):
    """Ray could not be started or joined; the message says where and what to do. Nothing was begun."""


@contextmanager
def ray_session(site: Site) -> Iterator[None]:
    """Ray, connected in this process. A session that this process has open already is used and left open.

    Raises `SessionError` where there is no Ray to be had.
    """
    if ray.is_initialized():
        yield
    elif site.is_embedded:
        with _local_ray(site):
            yield
    else:
        with _kept_sigterm_handler():
            _connect(site, runtime_env=_runtime_env(site))
        try:
            yield
        finally:
            ray.shutdown()


def on_this_machine() -> NodeAffinitySchedulingStrategy:
    """For what is to live as long as the driver: placed on the driver's own machine, it is lost only with it."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _connect(site: Site, **settings: Any) -> None:
    """Connect to Ray, or start it, so that it prints nothing: deaths come back as outcomes."""
    try:
        look_for(site.ray.address)
        ray.init(
            address=site.ray.address,
            job_config=_DriverJob(),
            log_to_driver=False,
            logging_level=logging.ERROR,
            **settings,
        )
    except Exception as error:
        hint = (
            "the machine may be too busy or short of memory; run the same command again"
            if site.is_embedded
            else "see that the cluster is up and its address is right, or name another site with --site"
        )
        raise SessionError(f"site {site.name!r}: no Ray at {site.ray.address!r}: {error}; {hint}") from error
    # `log_to_driver` leaves out what raylets say of workers that died; Ray's debugger silences them so.
    ray._private.worker._worker_logs_enabled = False


class _DriverJob(JobConfig):  # type: ignore[misc]  # mypy does not follow imports of Ray
    """This driver's connection. Workers import as it does, without its current folder.

    Ray puts the folder of the driver's script and its current folder first on the import path of every worker, unless
    the job brings a working folder of its own. There is no setting for that, so this job says that it brings one.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _runtime_env(site: Site) -> dict[str, Any]:
    """What the processes of a running cluster are given for this run."""
    if site.code == "wheel":
        return {"env_vars": SETTINGS, "py_modules": package_folders()}
    if site.code == "local" and JOB_VARIABLE not in os.environ:
        return {"env_vars": {**SETTINGS, **python_path()}}
    return {"env_vars": SETTINGS}


@contextmanager
def _local_ray(site: Site) -> Iterator[None]:
    home = tempfile.mkdtemp(prefix="neo-ray-", dir=_short_folder())
    scratch = tempfile.mkdtemp(prefix="neo-scratch-")
    private = {
        "RAY_TMPDIR": home,
        "TMPDIR": scratch,
        "RAY_AUTH_TOKEN": _token(),
        "RAY_worker_niceness": "0",  # of 15, a busy program beside it leaves a worker a thirtieth of the machine
    }
    with _reaped(home, scratch):
        with _environment({**SETTINGS, **python_path(), **private}), _kept_sigterm_handler():
            os.environ.pop(AUTH_MODE, None)
            _connect(
                site,
                num_cpus=site.num_local_cpus(),
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
            )
        try:
            yield
        finally:
            ray.shutdown(wait_for_processes=True)


@contextmanager
def _reaped(home: str, scratch: str) -> Iterator[None]:
    """Afterwards, or once this process is killed, no process of the Ray in `home` lives and both folders are gone."""
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(REAPER), home, home, scratch], stdin=subprocess.PIPE, start_new_session=True
    )
    with reaper:  # its end closes the pipe and waits
        yield


@functools.cache
def _token() -> str:
    """The secret that processes of this run's Ray show one another; Ray keeps the first it sees in a process."""
    return secrets.token_hex(32)


def _short_folder() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= LONGEST_FOLDER_CHARS else "/tmp"


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


def draining_nodes() -> set[str]:
    """Ids of the Ray nodes that were told they will be taken away: preempted, or drained by an autoscaler."""
    return set(ray._private.state.state.get_draining_nodes())
