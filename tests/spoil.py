"""Damage to a file: what disks and copies do."""

import os
from pathlib import Path


def flip(path: Path) -> None:
    """Turn a bit in its middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path: Path) -> None:
    """Take its last byte."""
    os.truncate(path, path.stat().st_size - 1)
