"""URLs of toy pictures, written and parsed: `http://toy.invalid/{seed}/{area}/{number}.jpg`."""

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
