"""The side of a peer of `benchmarks/load.py` that all peers share: passes on request, with their CPU seconds.

Each peer is a script that its own interpreter runs, `python PEER.py FOLDER TAR...`. It converts the tars under FOLDER
where it needs to, then reads all samples once for each line on stdin, and answers with a line of JSON. The output of
its libraries goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

_ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def serve(samples: Callable[[], Iterable[bytes]]) -> None:
    """Answer each line of stdin with a pass over the pictures of all samples."""
    _say({"ready": True})
    for _ in sys.stdin:
        before, num_samples, num_bytes = cpu_seconds(), 0, 0
        for picture in samples():
            num_samples, num_bytes = num_samples + 1, num_bytes + len(picture)
        _say({"cpu_seconds": cpu_seconds() - before, "num_samples": num_samples, "num_bytes": num_bytes})


def cpu_seconds() -> float:
    """CPU seconds of this process and all its descendants, except ended ones that nothing waited for."""
    processes = dict(filter(None, map(_process, Path("/proc").glob("[0-9]*/stat"))))
    ours, counted = {os.getpid()}, set[int]()
    while ours:
        counted |= ours
        ours = {pid for pid, (parent, _) in processes.items() if parent in ours}
    return sum(processes[pid][1] for pid in counted) / os.sysconf("SC_CLK_TCK")


def _process(stat: Path) -> tuple[int, tuple[int, int]] | None:
    """Number of a process, that of its parent, and its clock ticks with those of its ended children."""
    try:
        fields = stat.read_text().rpartition(")")[2].split()
    except OSError:  # it ended meanwhile
        return None
    return int(stat.parent.name), (int(fields[1]), sum(map(int, fields[11:15])))


def _say(answer: object) -> None:
    print(json.dumps(answer), file=_ANSWERS, flush=True)
