"""A Ray cluster of one machine as people start it, with its dashboard and a token, on free ports and in private."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.reaper import clear_up


@dataclass(frozen=True)
class RayHead:
    """A running head node."""

    address: str
    jobs: str
    environment: dict[str, str]
    """What a process needs to talk to it."""

    @property
    def ports(self) -> list[int]:
        """Those of its address and of its job server."""
        return [int(address.rpartition(":")[2]) for address in (self.address, self.jobs)]


@contextmanager
def ray_head(num_cpus: int = 2, folder: Path | None = None, again: RayHead | None = None) -> Iterator[RayHead]:
    """Start a head in `folder`, or here; afterwards none of its processes lives.

    `again` is one that has ended: a new one, which remembers nothing, is started at its addresses with its token.
    """
    home = tempfile.mkdtemp(prefix="neo-head-", dir="/tmp")
    port, jobs_port = again.ports if again else free_ports(2)
    token = again.environment if again else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    command = [
        str(Path(sys.executable).with_name("ray")),
        "start",
        "--head",
        "--node-ip-address=127.0.0.1",
        f"--port={port}",
        "--dashboard-host=127.0.0.1",
        f"--dashboard-port={jobs_port}",
        "--dashboard-agent-listen-port=0",
        f"--num-cpus={num_cpus}",
        f"--object-store-memory={128 * 1024 * 1024}",
        f"--temp-dir={home}",
        "--disable-usage-stats",
    ]
    try:
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        private = {"RAY_TMPDIR": home, "TMPDIR": home, "PATH": programs, "RAY_worker_niceness": "0"}
        environment = os.environ | token | private
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True, text=True)
        yield RayHead(f"127.0.0.1:{port}", f"http://127.0.0.1:{jobs_port}", token)
    finally:
        clear_up(home, [home], os.getpid())
        shutil.rmtree(home, ignore_errors=True)


def free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports
