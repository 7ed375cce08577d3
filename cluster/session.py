"""The Ray session of a run: a private Ray started on this machine, or a connection to a running cluster.

A local Ray has a folder, a token and an address of its own, so it neither joins nor disturbs another one. It ends with
the process that started it, even if that is killed, and leaves neither processes nor files behind (`reaper.py`).
"""

from __future__ import annotations

import functools
import logging
import math
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import ray
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from cluster.import_path import SAFE_PATH, package_folders, python_path
from cluster.listening import check_listening
from cluster.site import Site
from cluster.versions import mismatch_in_words, ray_refusal
from stages.contract import REFUSED_NETWORKS_VARIABLE

REAPER = Path(__file__).with_name("reaper.py")
MAX_FOLDER_CHARS = 12
"""Longest temporary folder for Ray: it appends some 90 characters, and a Unix socket's path has at most 107."""
OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Shared memory of a local Ray. Data goes through the store; Ray holds little more than the payload of a phase."""
AUTH_MODE = "RAY_AUTH_MODE"
"""Where it is not set, a Ray that is started here asks for a token. Ray reads it once, when it is imported, so setting
it to `token` would come too late; a user's own `disabled` would open the run's Ray to everybody on the network."""
PRIVATE_RAY = "NEO_PRIVATE_RAY"
"""Set to `1` in every process of a Ray that was started for one run: no machine will ever join it."""
JOB_VARIABLE = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Set where this driver is itself a Ray job. Its workers get the job's variables; Ray refuses one that both state."""

SETTINGS = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.5",  # a dead rank is detected within this time; the default is 2 s
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # saves one process per gang; board.py polls for drained nodes
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    **SAFE_PATH,
}
"""Environment variables of every process of a run."""


_CARRIED: ContextVar[frozenset[str]] = ContextVar("carried", default=frozenset())
"""Networks that the workers of the open session refuse; none where somebody else opened it."""


class SessionError(RuntimeError):
    """Ray could not be started or reached; the message names the address and a remedy. No work was begun."""


@contextmanager
def ray_session(site: Site) -> Iterator[None]:
    """Within this context, Ray is connected in this process. A session that is already open is reused and left open:
    its workers may lack what this site asks for, see `worker_options`.

    Raises `SessionError` if Ray cannot be started or reached, or is of a version that was not tested.
    """
    if refusal := ray_refusal(ray.__version__):
        raise SessionError(refusal)
    if ray.is_initialized():
        yield
        return
    _CARRIED.set(_refused(site))
    try:
        if site.is_embedded:
            with _local_ray(site):
                yield
            return
        with _kept_sigterm_handler():
            _connect(site, runtime_env=_runtime_env(site))
        try:
            yield
        finally:
            ray.shutdown()
    finally:
        _CARRIED.set(frozenset())


def worker_options(site: Site) -> dict[str, Any]:
    """Options of a Ray task, by which it and all that it starts refuse the networks that a site refuses.

    None where the session was opened for the site. One that was open before, of another site or of the user's own,
    keeps what it refuses, and its workers get the site's networks as well.
    """
    refused = _refused(site)
    if refused <= _CARRIED.get():
        return {}
    return {"runtime_env": {"env_vars": {REFUSED_NETWORKS_VARIABLE: ",".join(sorted(refused | _CARRIED.get()))}}}


def on_this_machine() -> NodeAffinitySchedulingStrategy:
    """Schedules a task or actor on the driver's own machine, so that it is lost only together with the driver."""
    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _connect(site: Site, **settings: Any) -> None:
    """Connect to Ray or start it, silently: the deaths of workers come back as outcomes, not as output."""
    try:
        check_listening(site.ray.address)
        ray.init(
            address=site.ray.address,
            job_config=_DriverJob(),
            log_to_driver=False,
            logging_level=logging.ERROR,
            **settings,
        )
    except Exception as error:
        if mismatch := mismatch_in_words(str(error)):
            ray.shutdown()  # Ray compares versions once it is half connected
            raise SessionError(
                f"site {site.name!r}, at {site.ray.address!r}: {mismatch}; install the cluster's versions here, or "
                "start the cluster with those that are here"
            ) from error
        hint = (
            "the machine may be too busy or short of memory; run the same command again"
            if site.is_embedded
            else "check that the cluster is up and its address is right, or name another site with --site"
        )
        raise SessionError(f"site {site.name!r}: no Ray at {site.ray.address!r}: {error}; {hint}") from error
    # `log_to_driver` does not cover the messages of raylets about dead workers. Ray's debugger silences them this way.
    ray._private.worker._worker_logs_enabled = False


class _DriverJob(JobConfig):  # type: ignore[misc]  # mypy does not follow imports of Ray
    """Configuration of this driver's connection: keeps its folders off the import path of workers.

    Ray puts the folder of the driver's script and its current folder first on the import path of every worker, unless
    the job has a working folder of its own. There is no other switch for that, so this job claims to have one.
    """

    def _runtime_env_has_working_dir(self) -> bool:
        return True


def _refused(site: Site) -> frozenset[str]:
    return frozenset(map(str, site.refused_networks))


def _settings(site: Site) -> dict[str, str]:
    """Environment variables of every process of a run at a site."""
    refused = ",".join(sorted(_refused(site)))
    return {**SETTINGS, REFUSED_NETWORKS_VARIABLE: refused} if refused else SETTINGS


def _runtime_env(site: Site) -> dict[str, Any]:
    """Ray's `runtime_env`: variables and code for the workers of a running cluster."""
    if site.code == "wheel":
        return {"env_vars": _settings(site), "py_modules": package_folders()}
    if site.code == "local" and JOB_VARIABLE not in os.environ:
        return {"env_vars": {**_settings(site), **python_path()}}
    return {"env_vars": _settings(site)}


@contextmanager
def _local_ray(site: Site) -> Iterator[None]:
    home = tempfile.mkdtemp(prefix="neo-ray-", dir=_short_folder())
    scratch = tempfile.mkdtemp(prefix="neo-scratch-")
    private = {
        "RAY_TMPDIR": home,
        "TMPDIR": scratch,
        "RAY_AUTH_TOKEN": _token(),
        PRIVATE_RAY: "1",
        "RAY_worker_niceness": "0",  # at the default of 15, one busy program leaves workers a thirtieth of a CPU
    }
    with _reaped(home, scratch):
        with _environment({**_settings(site), **python_path(), **private}), _kept_sigterm_handler():
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
    """Afterwards, even if this process is killed, no process of the Ray in `home` lives and both folders are gone."""
    reaper = subprocess.Popen(
        [sys.executable, "-I", "-S", str(REAPER), home, home, scratch], stdin=subprocess.PIPE, start_new_session=True
    )
    with reaper:  # its end closes the pipe and waits
        yield


@functools.cache
def _token() -> str:
    """The secret shared by all processes of this run's Ray. Once per process: Ray caches the first one it reads."""
    return secrets.token_hex(32)


def _short_folder() -> str:
    usual = tempfile.gettempdir()
    return usual if len(usual) <= MAX_FOLDER_CHARS else "/tmp"


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    """Set these variables within this context; processes started in it inherit them. Restores the environment."""
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _kept_sigterm_handler() -> Iterator[None]:
    """Restore the SIGTERM handler that Ray replaces with its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def draining_nodes() -> dict[str, float]:
    """The Ray nodes that are being drained, about to be preempted or removed by an autoscaler: id to Unix time.

    That is when the node goes, in seconds; infinite where Ray was not told.
    """
    deadlines_ms: Mapping[str, int] = ray._private.state.state.get_draining_nodes()
    return {node: ms / 1000 if ms else math.inf for node, ms in deadlines_ms.items()}
