"""Texts that surfaces might obey, by number: pieces that they react to, some of them in floods, and very long words."""

from __future__ import annotations

import random

from tests.stages.surfaces.hostile_text import PIECES, SIGNS

MAX_CHARS = 20_000
"""Longest text."""
LETTERS = "aé世אA0 .-_/"


def mutated(number: int) -> str:
    """A text; the same for the same number."""
    rng = random.Random(number)
    text = "".join(_piece(rng) for _ in range(rng.choice((1, 1, 2, 3, 5, 8, 13, 40))))
    return text[: rng.choice((80, 500, 4000, MAX_CHARS, MAX_CHARS))]


def _piece(rng: random.Random) -> str:
    match rng.randrange(12):
        case 0:  # a flood of marks, the same or many
            signs = rng.choice((rng.choice(SIGNS), SIGNS, "a" + SIGNS))
            return "".join(rng.choice(signs) for _ in range(rng.choice((9, 40, 3000))))
        case 1:  # a word without a place to break it
            return rng.choice(LETTERS) * rng.choice((100, 5000))
        case 2:  # something that moves or opens, many times
            return rng.choice(PIECES) * rng.choice((3, 50, 1000))
        case 3:
            return "".join(chr(rng.randrange(rng.choice((0x80, 0x3000, 0x110000)))) for _ in range(rng.randrange(9)))
        case _:
            return rng.choice(PIECES)
