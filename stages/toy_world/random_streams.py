"""Seeded randomness that is the same in every process and release: a generator from a seed and a name."""

from __future__ import annotations

import hashlib
import random


def generator(seed: int, *name: str | int) -> random.Random:
    """A generator of its own for (seed, name): sha256 of the text, so no two names share a stream."""
    text = "/".join(str(part) for part in (seed, *name))
    return random.Random(hashlib.sha256(text.encode()).digest())
