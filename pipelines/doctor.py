"""What a run will need, tried before it is asked for: each check is a function that returns what it found.

Tries things rather than reading settings: the store is written to, the tracker too, the job server is asked. Nothing
of it remains but an empty store and a deleted experiment.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from cluster.jobs import JobError, Jobs
from cluster.site import Site
from cluster.versions import PACKAGE, Versions
from stages.store.errors import StoreError
from stages.store.metadata import open_store
from stages.store.probe import probe
from stages.store.store import Store

Verdict = Literal["ok", "warning", "failed"]
GIB = 1024**3
LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES = 20 * GIB, 1 * GIB
LITTLE_MEMORY_BYTES, TOO_LITTLE_MEMORY_BYTES = 4 * GIB, 1 * GIB
FEW_OPEN_FILES = 4096
"""Ray opens some for each worker and connection."""
LEAST_SHARED_MEMORY_BYTES = 512 * 1024**2
"""Twice what a local Ray sets aside for its object store."""


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    name: str
    verdict: Verdict
    said: str
    do: str = ""
    """What to do about it."""

    def document(self) -> dict[str, Any]:
        return asdict(self)


def examine(site: Site) -> Iterator[Finding]:
    """All checks, in the order in which a run would meet them. One that breaks is a finding too."""
    for name, check in _checks(site).items():
        try:
            yield check()
        except Exception as error:
            said = f"{type(error).__name__}: {error}".partition("\n")[0]
            yield Finding(name, "failed", said, "this check itself broke; the message may say why")


def _checks(site: Site) -> dict[str, Callable[[], Finding]]:
    checks: dict[str, Callable[[], Finding]] = {
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


def check_python() -> Finding:
    wanted, here = (3, 11), sys.version_info[:2]
    said = f"Python {sys.version.partition(' ')[0]}"
    if here < wanted:
        return Finding("python", "failed", said, "use Python 3.11 or later")
    return Finding("python", "ok", said)


def check_packages() -> Finding:
    """Every package that ours asks for is there, in a version that fits."""
    from packaging.requirements import Requirement

    amiss = []
    for line in requires(PACKAGE) or ():
        wanted = Requirement(line)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(wanted.name)
        except PackageNotFoundError:
            amiss.append(f"{wanted.name} is missing")
            continue
        if found not in wanted.specifier:
            amiss.append(f"{wanted.name} is {found}, wanted is {wanted.specifier}")
    if amiss:
        return Finding("packages", "failed", "; ".join(amiss), f"pip install '{PACKAGE}' into this environment again")
    said = ", ".join(f"{name} {version(name)}" for name in (PACKAGE, "torch", "ray", "deepspeed", "mlflow"))
    return Finding("packages", "ok", said)


def check_store(site: Site) -> Finding:
    """Writes, reads, and creates exclusively, as every commit does."""
    try:
        store = Store(site.store)
        found = probe(store)
        metadata = open_store(store, single_writer=site.single_writer)
    except (StoreError, OSError) as error:
        return Finding("store", "failed", str(error), "see that the place exists, and that you may write there")
    if found.problem:
        verdict: Verdict = "warning" if found.reads_back and site.single_writer else "failed"
        return Finding("store", verdict, site.store, found.problem)
    return Finding("store", "ok", f"{store.url} creates exclusively and reads back (store {metadata.uuid[:8]})")


def check_disk(site: Site) -> Finding:
    """Room where the store is a folder, and where parts and checkpoints are written first."""
    store = Store(site.store).folder
    places = [Path(tempfile.gettempdir()), *([_existing(store)] if store is not None else [])]
    by_device = {place.stat().st_dev: place for place in places}
    free = {str(place): shutil.disk_usage(place).free for place in by_device.values()}
    said = ", ".join(f"{_gib(left)} free in {place}" for place, left in free.items())
    verdict = _enough(min(free.values()), LITTLE_DISK_BYTES, TOO_LITTLE_DISK_BYTES)
    do = "make room, or move the store (NEO_HOME) or the temporary folder (TMPDIR)"
    return Finding("disk", verdict, said, do if verdict != "ok" else "")


def check_memory() -> Finding:
    import psutil

    free = int(psutil.virtual_memory().available)
    said = f"{_gib(free)} of {_gib(psutil.virtual_memory().total)} available"
    shared = shutil.disk_usage("/dev/shm").total if Path("/dev/shm").is_dir() else LEAST_SHARED_MEMORY_BYTES
    if shared < LEAST_SHARED_MEMORY_BYTES:
        return Finding("memory", "warning", f"/dev/shm holds {_gib(shared)}", "give the container more: --shm-size=2g")
    verdict = _enough(free, LITTLE_MEMORY_BYTES, TOO_LITTLE_MEMORY_BYTES)
    return Finding(
        "memory", verdict, said, "end other programs: the tiny run takes some 3 GiB" if verdict != "ok" else ""
    )


def check_open_files() -> Finding:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = FEW_OPEN_FILES > soft != resource.RLIM_INFINITY
    said = f"{soft} open files allowed"
    return Finding("open files", "warning" if few else "ok", said, f"ulimit -n {min(65536, hard)}" if few else "")


def check_secrets(site: Site) -> Finding:
    """The command needs them here as the driver needs them there, to reach the store and the tracker."""
    missing = [name for name in site.secrets if name not in os.environ]
    if missing:
        do = "set them here if this machine is to read the store or the tracker"
        return Finding("secrets", "warning", f"not in this environment: {', '.join(missing)}", do)
    return Finding(
        "secrets", "ok", f"{len(site.secrets)} named by the site, all here" if site.secrets else "none named"
    )


def check_tracker(uri: str) -> Finding:
    """It answers and may be written to. A run goes on without: nothing is lost, all is told later."""
    from pipelines.running.summary import masked
    from pipelines.tracking.delivery import check_reachable
    from pipelines.tracking.server import ENVIRONMENT, Tracker

    os.environ.update(ENVIRONMENT)
    try:
        check_reachable(uri)
        Tracker(uri).check_writable()
    except Exception as error:
        said = f"MLflow at {masked(uri)}: {type(error).__name__}: {error}".partition("\n")[0]
        do = "start it, or set MLFLOW_TRACKING_TOKEN or _USERNAME and _PASSWORD; runs go on and tell it later"
        return Finding("tracker", "warning", said, do)
    return Finding("tracker", "ok", f"MLflow at {masked(uri)} takes what is written")


def check_local_ray() -> Finding:
    """Ray on this machine, started for a run: the loopback and a folder for its sockets."""
    with socket.socket() as probe_socket:
        probe_socket.bind(("127.0.0.1", 0))
    if not os.access("/tmp", os.W_OK):
        return Finding("ray", "failed", "/tmp cannot be written to, Ray keeps its sockets there", "chmod 1777 /tmp")
    return Finding("ray", "ok", f"Ray {version('ray')} starts with a run, with a token of its own")


def check_cluster(site: Site) -> Finding:
    """The job server answers, speaks our version, and asks for a token."""
    jobs = Jobs(site)
    try:
        theirs = jobs.ray_version()
    except JobError as error:
        return Finding("ray", "failed", str(error))
    ours = Versions.here().ray
    if theirs != ours:
        return Finding("ray", "failed", f"Ray {theirs} at {jobs.address}, {ours} here", f"pip install ray=={theirs}")
    said = f"Ray {theirs} answers at {jobs.address}"
    if jobs.is_open_to_all():
        do = "anybody who reaches it can run code there: start the cluster with RAY_AUTH_MODE=token"
        return Finding("ray", "warning", f"{said} without a token", do)
    return Finding("ray", "ok", f"{said}, with a token")


def check_gpus(site: Site) -> Finding:
    """What compiled attention needs, where there is a GPU here. On a cluster only its own machines can tell."""
    gangs = [site.gang, *(one.gang for one in (*site.stages.values(), *site.steps.values()))]
    wanted = any(gang.gpus for gang in gangs)
    if not Path("/dev/nvidiactl").exists():
        said = "none here; the cluster's machines have them" if wanted else "none here, none asked for"
        is_short = wanted and site.is_embedded
        return Finding("gpu", "failed" if is_short else "ok", said, "set [gang] gpus = 0" if is_short else "")
    import torch

    if not torch.cuda.is_available():
        do = "install a CUDA build of torch; without it a GPU is not used"
        return Finding("gpu", "warning", f"there is a GPU, and torch {torch.__version__} cannot use it", do)
    lacking = [] if shutil.which("cc") else ["a C compiler"]
    lacking += [] if importlib.util.find_spec("triton") else ["triton"]
    said = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}, CUDA {torch.version.cuda}"
    if lacking:
        do = f'install {" and ".join(lacking)} (torch.compile needs them), or set [gang] attention = "sdpa"'
        return Finding("gpu", "warning", said, do)
    return Finding("gpu", "ok", f"{said}, a compiler and Triton")


def _enough(amount: int, little: int, too_little: int) -> Verdict:
    return "failed" if amount < too_little else "warning" if amount < little else "ok"


def _existing(folder: Path) -> Path:
    """The folder, or the nearest above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _gib(num_bytes: int) -> str:
    return f"{num_bytes / GIB:.1f} GiB"
