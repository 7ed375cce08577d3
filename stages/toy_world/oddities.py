"""Which training pictures the toy web serves with a fault, and which fault: a pure function of (seed, number).

Of every 200 pictures (a deck) a fixed number has each fault, and the seed decides which; the first deck has the rare
faults too. Held-out pictures have none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import TypeVar

from stages.toy_world.random_streams import generator


class Oddity(StrEnum):
    """How the server serves one picture. Some oddities are harmless, with most the picture is lost."""

    PLAIN = "plain"
    """The server sends an ordinary JPEG."""
    MISSING = "missing"
    """The server answers with status 404."""
    MOVED = "moved"
    """The server redirects to the picture."""
    CIRCLING = "circling"
    """The server redirects without end."""
    TRESPASSING = "trespassing"
    """The server redirects to an address that no downloader should ask."""
    TRUNCATED = "truncated"
    """The server sends the first half of a JPEG."""
    PAGE = "page"
    """The server sends HTML with the content type of a JPEG."""
    DOT = "dot"
    """The picture is 1 x 1 px."""
    SLIVER = "sliver"
    """The picture is 6000 x 20 px."""
    ANIMATED = "animated"
    """The picture is a GIF of two frames."""
    COPY = "copy"
    """The server sends the same bytes as for a plain picture near it."""
    CMYK = "cmyk"
    """The picture is a CMYK JPEG."""
    TURNED = "turned"
    """The picture is upright only by its EXIF orientation."""
    TRANSPARENT = "transparent"
    """The picture is a PNG with transparency."""
    SLOW = "slow"
    """The server answers after 0.3 to 1 s."""
    STALLED = "stalled"
    """The server answers after a minute."""
    DRIPPING = "dripping"
    """The server sends a byte every quarter of a second."""
    ENDLESS = "endless"
    """The server sends gigabytes."""
    BOMB = "bomb"
    """The picture is a small PNG of 120 million pixels."""
    UNAVAILABLE = "unavailable"
    """The server answers with status 503."""
    EMPTY = "empty"
    """The server answers with status 200 and no body."""
    OPTED_OUT = "opted_out"
    """The server forbids this use of the picture in an X-Robots-Tag header."""


NUM_PER_DECK = 200
"""Consecutive pictures that share one draw of oddities."""
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
"""Number of each oddity in every deck."""
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
"""Number of each further oddity in the first deck."""

HARMLESS = frozenset(
    {Oddity.PLAIN, Oddity.MOVED, Oddity.COPY, Oddity.CMYK, Oddity.TURNED, Oddity.TRANSPARENT, Oddity.SLOW}
)
"""Oddities with which a downloader still gets a usable picture."""


def oddity(seed: int, number: int) -> Oddity:
    """The oddity of training picture `number`."""
    return _deck(seed, number // NUM_PER_DECK)[number % NUM_PER_DECK]


def original_number(seed: int, number: int) -> int:
    """The number of the plain picture whose bytes the copy at `number` has: its first plain neighbour."""
    return next(other for other in neighbours(number) if oddity(seed, other) is Oddity.PLAIN)


def neighbours(number: int) -> Iterator[int]:
    """The other numbers of the same deck: those before `number`, nearest first, then those after it."""
    first = number - number % NUM_PER_DECK
    yield from range(number - 1, first - 1, -1)
    yield from range(number + 1, first + NUM_PER_DECK)


CardT = TypeVar("CardT")


def dealt(seed: int, name: str, deck: int, counts: Mapping[CardT, int], filler: CardT) -> tuple[CardT, ...]:
    """A deck of `NUM_PER_DECK` cards, `counts` of each and fillers for the rest, shuffled by (seed, name, deck)."""
    cards = list(Counter(counts).elements())
    cards += [filler] * (NUM_PER_DECK - len(cards))
    generator(seed, name, deck).shuffle(cards)
    return tuple(cards)


@lru_cache(maxsize=4096)
def _deck(seed: int, deck: int) -> tuple[Oddity, ...]:
    return dealt(seed, "oddities", deck, {**USUAL, **(RARE if deck == 0 else {})}, Oddity.PLAIN)
