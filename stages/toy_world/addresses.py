"""Where toy pictures are on the toy web: `http://toy.invalid/{seed}/{area}/{number}.jpg`, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

HOST = "toy.invalid"
"""The name that URL tables use; no resolver knows it."""

Area: TypeAlias = Literal["train", "heldout", "moved", "circle"]
"""`train` and `heldout` are named by tables, the others by redirects."""


@dataclass(frozen=True, slots=True)
class Address:
    """One picture on the toy web."""

    seed: int
    area: Area
    number: int

    @property
    def path(self) -> str:
        """What a client asks the server for."""
        return f"/{self.seed}/{self.area}/{self.number:06d}.jpg"

    @property
    def url(self) -> str:
        """What tables and redirects say."""
        return f"http://{HOST}{self.path}"


def address_of(path: str) -> Address | None:
    """The address that a path spells, or None."""
    match = re.fullmatch(r"/(\d{1,18})/(train|heldout|moved|circle)/(\d{6,12})\.jpg", path)
    if match is None:
        return None
    address = Address(seed=int(match[1]), area=cast(Area, match[2]), number=int(match[3]))
    return address if address.path == path else None
