"""The code of a run on two machines: the versions that must agree where it is asked for and where it is carried out,
and the folders that can be sent along.

A frozen plan is plain values and travels anywhere; what is made of it is decided by the code that reads it. Python
counts up to its minor number, since that decides what a function pickled by value means.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict

PACKAGE = "neo-pipelines"
CODE_FOLDER = Path(__file__).parents[1]
"""What is on the import path for this package to be found."""


def package_folders() -> list[str]:
    """What is sent along where a site has `code = "wheel"`; what they need, its image holds."""
    return [str(CODE_FOLDER / name) for name in ("neo_model", "stages", "cluster", "pipelines")]


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
