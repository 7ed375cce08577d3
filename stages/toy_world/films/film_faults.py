"""Which training films the toy web serves with a fault, and which fault: a pure function of (seed, number).

Of every 200 films (a deck) a fixed number has each fault, and the seed decides which; the first deck has the rare
faults too. Held-out films have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache

from stages.toy_world.oddities import NUM_PER_DECK, dealt, neighbours


class FilmOddity(StrEnum):
    """How the server serves one film. Some oddities are harmless, with most the film is lost."""

    PLAIN = "plain"
    """The server sends an ordinary film of a constant rate."""
    VARIABLE = "variable"
    """The film has a variable rate: its frames are more frequent at some times than at others."""
    TURNED = "turned"
    """The film is stored rotated, and upright only by the matrix in its header."""
    COPY = "copy"
    """The server sends the same bytes as for a plain film near it."""
    STILL = "still"
    """The film shows one frame all the time."""
    DARK = "dark"
    """The film is black."""
    MISSING = "missing"
    """The server answers with status 404."""
    TRUNCATED = "truncated"
    """The server sends the first half of the file, without the `moov` box at its end."""
    PAGE = "page"
    """The server sends HTML with the content type of a film."""
    SOUND = "sound"
    """The file holds sound and no pictures."""
    PLAYLIST = "playlist"
    """The file is a playlist that names a local file and an address of the machine's own network."""
    HOLLOW = "hollow"
    """The film has a header and no frames."""
    SPOILT = "spoilt"
    """The header is whole, and the compressed frames are overwritten with zeros."""
    EMPTY = "empty"
    """The server answers with status 200 and no body."""
    LONG = "long"
    """The last frame is shown six hours after the one before."""
    RUSHED = "rushed"
    """All frames are shown within a thousandth of a second."""
    SLOW = "slow"
    """The server answers after 0.3 to 1 s."""
    UNAVAILABLE = "unavailable"
    """The server answers with status 503."""


USUAL_FILMS: Mapping[FilmOddity, int] = {
    FilmOddity.VARIABLE: 20,
    FilmOddity.TURNED: 2,
    FilmOddity.COPY: 1,
    FilmOddity.STILL: 1,
    FilmOddity.DARK: 1,
    FilmOddity.MISSING: 4,
    FilmOddity.TRUNCATED: 1,
    FilmOddity.PAGE: 1,
    FilmOddity.SOUND: 1,
    FilmOddity.PLAYLIST: 1,
    FilmOddity.SPOILT: 1,
}
"""Number of each oddity in every deck of films."""
RARE_FILMS: Mapping[FilmOddity, int] = {
    FilmOddity.HOLLOW: 1,
    FilmOddity.EMPTY: 1,
    FilmOddity.LONG: 1,
    FilmOddity.RUSHED: 1,
    FilmOddity.SLOW: 2,
    FilmOddity.UNAVAILABLE: 1,
}
"""Number of each further oddity in the first deck of films."""
HARMLESS_FILMS = frozenset({FilmOddity.PLAIN, FilmOddity.VARIABLE, FilmOddity.TURNED, FilmOddity.COPY, FilmOddity.SLOW})
"""Oddities with which a film still shows its own scene."""


def film_oddity(seed: int, number: int) -> FilmOddity:
    """The oddity of training film `number`."""
    return _deck(seed, number // NUM_PER_DECK)[number % NUM_PER_DECK]


def original_film(seed: int, number: int) -> int:
    """The number of the plain film whose bytes the copy at `number` has: its first plain neighbour."""
    return next(other for other in neighbours(number) if film_oddity(seed, other) is FilmOddity.PLAIN)


@lru_cache(maxsize=4096)
def _deck(seed: int, deck: int) -> tuple[FilmOddity, ...]:
    counts = {**USUAL_FILMS, **(RARE_FILMS if deck == 0 else {})}
    return dealt(seed, "film oddities", deck, counts, FilmOddity.PLAIN)
