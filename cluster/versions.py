"""The versions that must agree on the machine that submits a run and on the machines that execute it.

A frozen plan is plain values and travels anywhere; the code that reads it decides what is made of it. Python is
compared up to its minor version, since a function pickled by value holds bytecode of that version.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, version

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict

PACKAGE = "neo-pipelines"
OLDEST_RAY = "2.59.0"
BEYOND_RAY = "2.61"
"""The versions of Ray that the tests are run with: from the first, which `make test-oldest-ray` installs, to below the
second. `pyproject.toml` says the same. `ray.dag` and Ray Train are walked by hand, so that another one is not tried.
Ray 2.58 asks for no token unless it was told to before it is imported: all the network could enter a run's own Ray."""
MISMATCH = re.compile(
    r"Version mismatch.*?Ray: (?P<ray>\S+)\s+Python: (?P<python>\S+)"
    r".*?Ray: (?P<our_ray>\S+)\s+Python: (?P<our_python>\S+)",
    re.DOTALL,
)
"""How Ray words that a cluster (first) and the process that connects to it (second) have other versions."""


class Versions(BaseModel):
    """Versions of one place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    python: str
    ray: str
    package: str

    @classmethod
    def here(cls) -> Versions:
        """Those of this process. Imports no Ray."""
        python = f"{sys.version_info.major}.{sys.version_info.minor}"
        return cls(python=python, ray=_version("ray"), package=_version(PACKAGE))

    def differences(self, other: Versions) -> list[str]:
        """Each difference in words, this place first: `Python 3.11 here, 3.12 there`."""
        names = {"python": "Python", "ray": "Ray", "package": PACKAGE}
        return [
            f"{name} {mine} here, {theirs} there"
            for field, name in names.items()
            if (mine := getattr(self, field)) != (theirs := getattr(other, field))
        ]


def ray_refusal(ray: str | None = None) -> str:
    """Why no run begins with this version of Ray, with a remedy; '' where it may. Without a version, the installed one.

    Imports no Ray, which may not even be importable where its version is wrong.
    """
    ray = ray or _version("ray")
    remedy = f"pip install 'ray[default,train]>={OLDEST_RAY},<{BEYOND_RAY}'"
    wanted = f"{PACKAGE} runs on Ray {OLDEST_RAY} or later, below {BEYOND_RAY}, which it was tested with"
    try:
        is_tested = Version(OLDEST_RAY) <= Version(ray) < Version(BEYOND_RAY)
    except InvalidVersion:
        is_tested = False
    return "" if is_tested else f"Ray is {ray} here; {wanted}: {remedy}"


def mismatch_in_words(message: str) -> str:
    """What Ray's error about a cluster of other versions says, both versions first; '' for any other error."""
    found = MISMATCH.search(message)
    if found is None:
        return ""
    there = f"Ray {found['ray']} on Python {found['python']}"
    here = f"Ray {found['our_ray']} on Python {found['our_python']}"
    return f"the cluster runs {there}, this process {here}, and Ray connects equal versions only"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
