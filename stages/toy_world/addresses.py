"""URLs of toy pictures and films, written and parsed.

http://toy.invalid/{seed}/{area}/{number}.jpg            a picture
http://toy.invalid/{seed}/{set}-room/{number}-{view}.jpg a room, seen from one of two places
http://toy.invalid/{seed}/{set}-film/{number}.mp4        a film
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

HOST = "toy.invalid"
"""The host of all toy URLs; no resolver knows it (RFC 2606)."""

Area: TypeAlias = Literal["train", "heldout", "moved", "circle"]
"""Part of a path. URL tables hold URLs of `train` and `heldout`; redirects lead to `moved` and `circle`."""


@dataclass(frozen=True, slots=True)
class Address:
    """One picture on the toy web."""

    seed: int
    area: Area
    number: int

    @property
    def path(self) -> str:
        """The path of the URL, which the server is asked for."""
        return f"/{self.seed}/{self.area}/{self.number:06d}.jpg"

    @property
    def url(self) -> str:
        """The URL in tables and redirects."""
        return f"http://{HOST}{self.path}"


def address_of(path: str) -> Address | None:
    """The address that a path spells, or None."""
    match = re.fullmatch(r"/(\d{1,18})/(train|heldout|moved|circle)/(\d{6,12})\.jpg", path)
    if match is None:
        return None
    address = Address(seed=int(match[1]), area=cast(Area, match[2]), number=int(match[3]))
    return address if address.path == path else None


@dataclass(frozen=True, slots=True)
class RoomAddress:
    """One view of a room on the toy web."""

    seed: int
    room_set: Literal["train", "heldout"]
    number: int
    view: int
    """0 for the first place, 1 for the second."""

    @property
    def path(self) -> str:
        """The path of the URL."""
        return f"/{self.seed}/{self.room_set}-room/{self.number:06d}-{self.view}.jpg"

    @property
    def url(self) -> str:
        """The URL in tables."""
        return f"http://{HOST}{self.path}"


@dataclass(frozen=True, slots=True)
class FilmAddress:
    """One film on the toy web."""

    seed: int
    film_set: Literal["train", "heldout"]
    number: int

    @property
    def path(self) -> str:
        """The path of the URL."""
        return f"/{self.seed}/{self.film_set}-film/{self.number:06d}.mp4"

    @property
    def url(self) -> str:
        """The URL in tables."""
        return f"http://{HOST}{self.path}"


def room_address_of(path: str) -> RoomAddress | None:
    """The view of a room that a path spells, or None."""
    match = re.fullmatch(r"/(\d{1,18})/(train|heldout)-room/(\d{6,12})-([01])\.jpg", path)
    if match is None:
        return None
    room_set = cast(Literal["train", "heldout"], match[2])
    address = RoomAddress(seed=int(match[1]), room_set=room_set, number=int(match[3]), view=int(match[4]))
    return address if address.path == path else None


def film_address_of(path: str) -> FilmAddress | None:
    """The film that a path spells, or None."""
    match = re.fullmatch(r"/(\d{1,18})/(train|heldout)-film/(\d{6,12})\.mp4", path)
    if match is None:
        return None
    film_set = cast(Literal["train", "heldout"], match[2])
    address = FilmAddress(seed=int(match[1]), film_set=film_set, number=int(match[3]))
    return address if address.path == path else None
