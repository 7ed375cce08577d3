"""The versions that must agree on the machine that submits a run and on the machines that execute it.

A frozen plan is plain values and travels anywhere; the code that reads it decides what is made of it. Python is
compared up to its minor version, since a function pickled by value holds bytecode of that version.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict

PACKAGE = "neo-pipelines"


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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
