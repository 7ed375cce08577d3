"""Where the processes of a run import our packages from: never from the folder a command was typed in.

Our packages have common names (`cluster`, `stages`, `pipelines`, `neo_model`), and a user may well have a folder or a
module of the same name beside a pipeline file. So no process of a run has the current folder on its import path:
Ray does not add it (`session.py`), and Python does not either (`PYTHONSAFEPATH`, `python -P`).
"""

from __future__ import annotations

import os
import sysconfig
from pathlib import Path

CODE_FOLDER = Path(__file__).resolve().parents[1]
"""The folder that holds our packages: a checkout, or `site-packages`."""
PACKAGES = ("neo_model", "stages", "cluster", "pipelines")

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Python adds neither the current folder (`-c`, `-m`) nor a script's folder to `sys.path`; same as `python -P`.

A fork server of multiprocessing, for one, is started with `-c`.
"""


def package_folders() -> list[str]:
    """The folders sent along where a site has `code = "wheel"`; what they need, its image holds."""
    return [str(CODE_FOLDER / name) for name in PACKAGES]


def python_path() -> dict[str, str]:
    """`PYTHONPATH` for a process that is to import what this one imports, on a machine that sees the same folders.

    A checkout need not be installed, so it goes on the path. `site-packages` does not: it would come before the
    standard library. Empty entries mean the current folder and are left out.
    """
    entries = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if Path(sysconfig.get_path("purelib")).resolve() != CODE_FOLDER:
        entries = [str(CODE_FOLDER), *entries]
    return {"PYTHONPATH": os.pathsep.join(entries)} if entries else {}
