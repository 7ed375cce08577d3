"""Checks that this machine and site can run a pipeline: one function for each check.

The checks try things rather than read settings: they write to the store and to the tracker, and ask the job server.
They leave an empty store and a deleted experiment behind.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from cluster.jobs import JobError, Jobs
from cluster.site import Site
from cluster.versions import PACKAGE, Versions, ray_refusal
from stages.store.errors import StoreError
from stages.store.metadata import open_store
from stages.store.probe import probe
from stages.store.store import Store

Verdict = Literal["ok", "warning", "failed"]
GIB = 1024**3
LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES = 20 * GIB, 1 * GIB
"""Free disk below which the check warns, and below which it fails."""
LITTLE_MEMORY_BYTES, TOO_LITTLE_MEMORY_BYTES = 4 * GIB, 1 * GIB
"""Available memory below which the check warns, and below which it fails."""
FEW_OPEN_FILES = 4096
"""Limit of open files below which the check warns: Ray opens some for each worker and connection."""
LEAST_SHARED_MEMORY_BYTES = 512 * 1024**2
"""Smallest `/dev/shm` without a warning: twice what a local Ray reserves for its object store."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check."""

    name: str
    """Name of the check, such as `disk`."""
    verdict: Verdict
    summary: str
    """What the check saw, in a sentence. Its key in `--json` is `said`."""
    remedy: str = ""
    """What to do, in a sentence or as a command; '' if nothing. Its key in `--json` is `do`."""

    def document(self) -> dict[str, Any]:
        """The result under the keys that `neo doctor --json` promises."""
        return {"name": self.name, "verdict": self.verdict, "said": self.summary, "do": self.remedy}


def check_all(site: Site) -> Iterator[CheckResult]:
    """The results of all checks, in the order in which a run needs them. A check that raises counts as failed."""
    for name, check in _checks(site).items():
        try:
            yield check()
        except Exception as error:
            summary = f"{type(error).__name__}: {error}".partition("\n")[0]
            yield CheckResult(name, "failed", summary, "this check itself failed; the message may say why")


def _checks(site: Site) -> dict[str, Callable[[], CheckResult]]:
    checks: dict[str, Callable[[], CheckResult]] = {
        "python": check_python,
        "packages": check_packages,
        "store": lambda: check_store(site),
        "disk": lambda: check_disk(site),
        "memory": check_memory,
        "open files": check_open_files,
        "secrets": lambda: check_secrets(site),
        "tracker": lambda: check_tracker(site.mlflow),
        "ray": check_local_ray if site.is_embedded else lambda: check_cluster(site),
        "gpu": lambda: check_gpus(site),
    }
    return checks


def check_python() -> CheckResult:
    """The version of Python is supported."""
    wanted, here = (3, 11), sys.version_info[:2]
    summary = f"Python {sys.version.partition(' ')[0]}"
    if here < wanted:
        return CheckResult("python", "failed", summary, "use Python 3.11 or later")
    return CheckResult("python", "ok", summary)


def check_packages() -> CheckResult:
    """Every package that ours requires is installed, in a version that fits."""
    from packaging.requirements import Requirement

    problems = []
    for line in requires(PACKAGE) or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            installed = version(wanted.name)
        except PackageNotFoundError:
            problems.append(f"{wanted.name} is missing")
            continue
        if installed not in wanted.specifier:
            problems.append(f"{wanted.name} is {installed}, wanted is {wanted.specifier}")
    if problems:
        return CheckResult(
            "packages", "failed", "; ".join(problems), f"pip install '{PACKAGE}' into this environment again"
        )
    summary = ", ".join(f"{name} {version(name)}" for name in (PACKAGE, "torch", "ray", "deepspeed", "mlflow"))
    return CheckResult("packages", "ok", summary)


def check_store(site: Site) -> CheckResult:
    """The store can be written and read, and supports the exclusive create that every commit needs."""
    try:
        store = Store(site.store)
        abilities = probe(store)
        metadata = open_store(store, single_writer=site.single_writer)
    except (StoreError, OSError) as error:
        return CheckResult("store", "failed", str(error), "check that the store exists, and that you may write there")
    if abilities.problem:
        verdict: Verdict = "warning" if abilities.reads_back and site.single_writer else "failed"
        return CheckResult("store", verdict, site.store, abilities.problem)
    return CheckResult("store", "ok", f"{store.url} creates exclusively and reads back (store {metadata.uuid[:8]})")


def check_disk(site: Site) -> CheckResult:
    """Disk space of the store, if it is a folder, and of the temporary folder, where parts are written first."""
    store = Store(site.store).folder
    folders = [Path(tempfile.gettempdir()), *([_existing(store)] if store is not None else [])]
    by_device = {folder.stat().st_dev: folder for folder in folders}
    free = {str(folder): shutil.disk_usage(folder).free for folder in by_device.values()}
    summary = ", ".join(f"{_gib(left)} free in {folder}" for folder, left in free.items())
    verdict = _enough(min(free.values()), LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES)
    remedy = "make room, or move the store (NEO_HOME) or the temporary folder (TMPDIR)"
    return CheckResult("disk", verdict, summary, remedy if verdict != "ok" else "")


def check_memory() -> CheckResult:
    """Available memory, and the size of `/dev/shm`, where Ray keeps its objects."""
    import psutil

    free = int(psutil.virtual_memory().available)
    summary = f"{_gib(free)} of {_gib(psutil.virtual_memory().total)} available"
    shared = shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else LEAST_SHARED_MEMORY_BYTES
    if shared < LEAST_SHARED_MEMORY_BYTES:
        return CheckResult(
            "memory", "warning", f"/dev/shm holds {_gib(shared)}", "give the container more: --shm-size=2g"
        )
    verdict = _enough(free, LITTLE_MEMORY_BYTES, TOO_LITTLE_MEMORY_BYTES)
    return CheckResult(
        "memory", verdict, summary, "end other programs: the tiny run needs some 3 GiB" if verdict != "ok" else ""
    )


def check_open_files() -> CheckResult:
    """The limit of open files is high enough for Ray."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = FEW_OPEN_FILES > soft != resource.RLIM_INFINITY
    summary = f"{soft} open files allowed"
    return CheckResult(
        "open files", "warning" if few else "ok", summary, f"ulimit -n {min(65536, hard)}" if few else ""
    )


def check_secrets(site: Site) -> CheckResult:
    """The site's secrets are in this environment: the command needs them to reach the store and the tracker."""
    missing = [name for name in site.secrets if name not in os.environ]
    if missing:
        remedy = "set them here if this machine is to read the store or the tracker"
        return CheckResult("secrets", "warning", f"not in this environment: {', '.join(missing)}", remedy)
    return CheckResult(
        "secrets", "ok", f"{len(site.secrets)} named by the site, all here" if site.secrets else "none named"
    )


def check_tracker(uri: str) -> CheckResult:
    """MLflow answers and can be written to. A run does not need it: messages are delivered later."""
    from pipelines.running.summary import masked
    from pipelines.tracking.delivery import check_reachable
    from pipelines.tracking.server import ENVIRONMENT, Tracker

    os.environ.update(ENVIRONMENT)
    try:
        check_reachable(uri)
        Tracker(uri).check_writable()
    except Exception as error:
        summary = f"MLflow at {masked(uri)}: {type(error).__name__}: {error}".partition("\n")[0]
        remedy = "start it, or set MLFLOW_TRACKING_TOKEN or _USERNAME and _PASSWORD; runs deliver later"
        return CheckResult("tracker", "warning", summary, remedy)
    return CheckResult("tracker", "ok", f"MLflow at {masked(uri)} can be written to")


def check_local_ray() -> CheckResult:
    """Ray on this machine can be started for a run: a tested version, the loopback and a folder for its sockets."""
    if refusal := ray_refusal():
        return CheckResult("ray", "failed", refusal.partition(": ")[0], refusal.partition(": ")[2])
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
    if not os.access("/tmp", os.W_OK):
        return CheckResult("ray", "failed", "/tmp cannot be written to, Ray keeps its sockets there", "chmod 1777 /tmp")
    return CheckResult("ray", "ok", f"Ray {version('ray')} starts with a run, with a token of its own")


def check_cluster(site: Site) -> CheckResult:
    """The job server answers, has our version of Ray, and asks for a token."""
    jobs = Jobs(site)
    try:
        theirs = jobs.ray_version()
    except JobError as error:
        return CheckResult("ray", "failed", str(error))
    ours = Versions.here().ray
    if theirs != ours:
        return CheckResult(
            "ray", "failed", f"Ray {theirs} at {jobs.address}, {ours} here", f"pip install ray=={theirs}"
        )
    summary = f"Ray {theirs} answers at {jobs.address}"
    if jobs.is_open_to_all():
        remedy = "anybody who reaches it can run code there: start the cluster with RAY_AUTH_MODE=token"
        return CheckResult("ray", "warning", f"{summary} without a token", remedy)
    return CheckResult("ray", "ok", f"{summary}, with a token")


def check_gpus(site: Site) -> CheckResult:
    """A GPU here can be used, also by compiled attention. A cluster's GPUs are checked by its own machines alone."""
    gangs = [site.gang, *(one.gang for one in (*site.stages.values(), *site.steps.values()))]
    wanted = any(gang.gpus for gang in gangs)
    if not Path("/dev/nvidiactl").exists():
        summary = "none here; the cluster's machines have them" if wanted else "none here, none asked for"
        is_short = wanted and site.is_embedded
        return CheckResult("gpu", "failed" if is_short else "ok", summary, "set [gang] gpus = 0" if is_short else "")
    import torch

    if not torch.cuda.is_available():
        remedy = "install a CUDA build of torch; without it a GPU is not used"
        return CheckResult("gpu", "warning", f"there is a GPU, and torch {torch.__version__} cannot use it", remedy)
    lacking = [] if shutil.which("cc") else ["a C compiler"]
    lacking += [] if importlib.util.find_spec("triton") else ["triton"]
    summary = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    if lacking:
        remedy = f'install {" and ".join(lacking)} (torch.compile needs them), or set [gang] attention = "sdpa"'
        return CheckResult("gpu", "warning", summary, remedy)
    return CheckResult("gpu", "ok", f"{summary}, a compiler and Triton")


def _enough(amount: int, little: int, too_little: int) -> Verdict:
    return "failed" if amount < too_little else "warning" if amount < little else "ok"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(one for one in (folder, *folder.parents) if one.exists())


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"
