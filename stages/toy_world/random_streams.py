"""Named random streams: a generator from a seed and a name, the same in every process and release of Python."""

from __future__ import annotations

import hashlib
import random


def generator(seed: int, *name: str | int) -> random.Random:
    """The generator of (seed, name), seeded with sha256 of `seed/name/...`, so that streams are independent."""
    text = "/".join(str(part) for part in (seed, *name))
    return random.Random(hashlib.sha256(text.encode()).digest())
