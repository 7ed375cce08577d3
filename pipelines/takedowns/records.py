"""Takedowns on record: who asked for what to be forgotten, when and why.

    takedowns/<n>.json             created exclusively, last: from then on the takedown counts; never deleted
    takedowns/lists/<digest>.bin   its list (stages/takedowns/lists.py)
    takedowns/held/<digest>/<stage>-<digits>.json   what an artifact held of that list (`held.py`)

The text that was typed is not kept: the list has digests, and the reason is the only text.
"""

from __future__ import annotations

import getpass
import socket
import time
from collections.abc import Collection
from contextlib import suppress

from pydantic import BaseModel, ConfigDict, Field

from stages.store.fault_points import fault_point
from stages.store.numbering import num_keys
from stages.store.record_kind import RecordKind
from stages.store.store import Store
from stages.takedowns.lists import FOLDER, KINDS, digest_of, entries_of, list_key, read_list

SHOWN_DIGITS = 12
"""Digits of a list's digest that are shown."""


class Takedown(BaseModel):
    """One takedown."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = 1
    list_sha256: str
    """The digest of its list."""
    num_entries: dict[str, int]
    """Kind to the number of entries; a URL has several, one for each spelling."""
    reason: str = ""
    by: str
    """User and host that recorded it."""
    at_seconds: float = Field(default_factory=time.time)


TAKEDOWN = RecordKind[Takedown](
    Takedown, "the record of a takedown", "put it back from a copy: without it, what was taken down would be used again"
)


def keep_list(store: Store, data: bytes) -> str:
    """Put the bytes of a list into the store, unless they are there; returns their digest."""
    digest = digest_of(data)
    with fault_point("takedown.list_kept", list_key(digest)):
        store.create(list_key(digest), data)
    read_list(store, digest)
    return digest


def record(store: Store, list_sha256: str, reason: str) -> tuple[int, bool]:
    """Record a takedown by its list, which is kept; returns its number, and whether it is new.

    One that is recorded already, under any reason, stays the one. Numbers begin at 1.
    """
    entries = entries_of([read_list(store, list_sha256)])
    numbers = {kind: int((entries["kind"] == letter).sum()) for kind, letter in KINDS.items()}
    takedown = Takedown(
        list_sha256=list_sha256,
        num_entries={kind: number for kind, number in numbers.items() if number},
        reason=reason,
        by=_who(),
    )
    number = 1
    while True:
        for number, known in enumerate(takedowns(store), start=1):
            if known.list_sha256 == list_sha256:
                return number, False
        number = num_takedowns(store) + 1
        with fault_point("takedown.recorded", _key(number)):
            if store.create_json(_key(number), takedown.model_dump(mode="json")):
                return number, True


def num_takedowns(store: Store) -> int:
    """How many takedowns a store has."""
    return num_keys(store, lambda number: _key(number + 1))


def takedowns(store: Store) -> list[Takedown]:
    """All takedowns, in order. Raises `TornRecordError` where one cannot be read: nothing is planned without it."""
    return [TAKEDOWN.read_existing(store, _key(number)) for number in range(1, num_takedowns(store) + 1)]


def recorded_since(store: Store, lists: Collection[str]) -> list[int]:
    """Numbers of the takedowns that a plan does not know, which was frozen when there were these lists.

    Those that cannot be read are left out: `takedowns` tells of them before anything is planned.
    """
    numbers = range(1, num_takedowns(store) + 1)
    known = ((number, TAKEDOWN.read_or_skip(store, _key(number))) for number in numbers)
    return [number for number, one in known if one is not None and one.list_sha256 not in lists]


def _key(number: int) -> str:
    return f"{FOLDER}/{number}.json"


def _who() -> str:
    user = "unknown"
    with suppress(KeyError, OSError):  # a container's user may have no name
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"
