"""The benchmark's side of a peer: starts it once and requests one pass at a time, which lets all sides alternate."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPTS = {"mds": "mds.py", "energon": "energon.py", "ray": "ray_data.py"}
"""Name of a peer to its script in this folder."""


class Peer:
    """Another loader, which runs in an interpreter that has it installed."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._answer()  # the first answer says that the peer is ready

    def read_all(self) -> tuple[float, int]:
        """CPU seconds of a pass over all samples, and the bytes of their pictures."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer()
        return answer["cpu_seconds"], answer["num_bytes"]

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended; its stderr is above")
        return json.loads(line)


@contextmanager
def peer(name: str, python: Path, folder: Path, tars: Sequence[str]) -> Iterator[Peer]:
    """Start the peer `name` on these tars, in the interpreter `python`; it may write under `folder`."""
    script = Path(__file__).parent / SCRIPTS[name]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(word) for word in (python, script, folder, *tars)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield Peer(process)
