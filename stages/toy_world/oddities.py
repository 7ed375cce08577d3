"""Which pictures the toy web treats oddly, and how: a pure function of (seed, number).

Of every 200 training pictures a fixed number are odd, which ones being a matter of the seed; the first 200 hold the
rare oddities too. Held-out pictures are always plain.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from stages.toy_world.random_streams import generator


class Oddity(StrEnum):
    """How the server treats one picture. A few are harmless, most cost the picture."""

    PLAIN = "plain"
    MISSING = "missing"
    """404."""
    MOVED = "moved"
    """A redirect that ends at the picture."""
    CIRCLING = "circling"
    """Redirects without end."""
    TRESPASSING = "trespassing"
    """A redirect to where no downloader should go."""
    TRUNCATED = "truncated"
    """The first half of a JPEG."""
    PAGE = "page"
    """HTML that calls itself a JPEG."""
    DOT = "dot"
    """1 x 1 px."""
    SLIVER = "sliver"
    """6000 x 20 px."""
    ANIMATED = "animated"
    """A GIF of two frames."""
    COPY = "copy"
    """The very bytes of a plain picture near it."""
    CMYK = "cmyk"
    """A JPEG of four inks."""
    TURNED = "turned"
    """Upright by its EXIF orientation only."""
    TRANSPARENT = "transparent"
    """A PNG with alpha."""
    SLOW = "slow"
    """Answers after 0.3 to 1 s."""
    STALLED = "stalled"
    """Says nothing for a minute."""
    DRIPPING = "dripping"
    """Sends a byte every quarter of a second."""
    ENDLESS = "endless"
    """Sends gigabytes."""
    BOMB = "bomb"
    """A small PNG of 120 million pixels."""
    UNAVAILABLE = "unavailable"
    """503."""
    EMPTY = "empty"
    """200 without a body."""
    OPTED_OUT = "opted_out"
    """A picture whose owner forbids this use of it, in a header."""


NUM_PER_DECK = 200
USUAL: Mapping[Oddity, int] = {
    Oddity.MISSING: 10,
    Oddity.MOVED: 2,
    Oddity.CIRCLING: 1,
    Oddity.TRESPASSING: 1,
    Oddity.TRUNCATED: 1,
    Oddity.PAGE: 1,
    Oddity.DOT: 1,
    Oddity.SLIVER: 1,
    Oddity.ANIMATED: 1,
    Oddity.COPY: 1,
    Oddity.CMYK: 1,
    Oddity.TURNED: 1,
    Oddity.TRANSPARENT: 1,
}
"""Oddities of every `NUM_PER_DECK` pictures."""
RARE: Mapping[Oddity, int] = {
    Oddity.SLOW: 4,
    Oddity.STALLED: 1,
    Oddity.DRIPPING: 1,
    Oddity.ENDLESS: 1,
    Oddity.BOMB: 1,
    Oddity.UNAVAILABLE: 1,
    Oddity.EMPTY: 1,
    Oddity.OPTED_OUT: 1,
}
"""Oddities that the first `NUM_PER_DECK` pictures have besides."""

HARMLESS = frozenset(
    {Oddity.PLAIN, Oddity.MOVED, Oddity.COPY, Oddity.CMYK, Oddity.TURNED, Oddity.TRANSPARENT, Oddity.SLOW}
)
"""With these a downloader gets a usable picture all the same."""


def oddity(seed: int, number: int) -> Oddity:
    """How the server treats training picture `number`."""
    return _deck(seed, number // NUM_PER_DECK)[number % NUM_PER_DECK]


def original_number(seed: int, number: int) -> int:
    """The plain picture whose bytes a copy at `number` has: the first of its neighbours that is plain."""
    return next(other for other in neighbours(number) if oddity(seed, other) is Oddity.PLAIN)


def neighbours(number: int) -> Iterator[int]:
    """The other numbers of the same deck: those before `number`, nearest first, then those after it."""
    first = number - number % NUM_PER_DECK
    yield from range(number - 1, first - 1, -1)
    yield from range(number + 1, first + NUM_PER_DECK)


CardT = TypeVar("CardT")


def dealt(seed: int, name: str, deck: int, counts: Mapping[CardT, int], filler: CardT) -> tuple[CardT, ...]:
    """`NUM_PER_DECK` cards: exactly the given counts and fillers for the rest, shuffled by (seed, name, deck)."""
    cards = list(Counter(counts).elements())
    cards += [filler] * (NUM_PER_DECK - len(cards))
    generator(seed, name, deck).shuffle(cards)
    return tuple(cards)


@lru_cache(maxsize=4096)
def _deck(seed: int, deck: int) -> tuple[Oddity, ...]:
    return dealt(seed, "oddities", deck, {**USUAL, **(RARE if deck == 0 else {})}, Oddity.PLAIN)
