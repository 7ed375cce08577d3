"""The versions of the packages that can change the bytes of an artifact, as every manifest records them."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("neo-pipelines", "torch", "deepspeed", "numpy", "pillow", "pyarrow", "tokenizers", "img2dataset")
"""Packages whose version can change the bytes of an artifact."""


def versions() -> dict[str, str]:
    """Python and each of `PACKAGES` that is installed, to its version."""
    installed = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            continue
    return installed
