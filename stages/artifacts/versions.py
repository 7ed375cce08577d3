"""The versions of the packages that can touch the bytes of an artifact, as every manifest records them."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("neo-pipelines", "torch", "deepspeed", "numpy", "pillow", "pyarrow", "tokenizers", "img2dataset")
"""Packages whose version can touch bytes; recorded in every manifest."""


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that can touch bytes, as far as they are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
