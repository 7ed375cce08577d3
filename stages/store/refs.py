"""Refs: human names that point at something committed, such as `tiny/evaluate`.

Owns `refs/<name>/<n>.json`. Each change of a ref is a new numbered version, created exclusively; the highest number
counts. Versions are never deleted, so a ref can be read back to what it pointed at before.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, cast

from stages.store.errors import TornRecordError
from stages.store.numbering import first_missing
from stages.store.store import Store


def set_ref(store: Store, name: str, value: dict[str, Any]) -> int:
    """Point a name at `value`; returns the number of this version."""
    number = _num_versions(store, name)
    while not store.create_json(_key(name, number), value):
        number += 1
    return number


def read_ref(store: Store, name: str) -> dict[str, Any] | None:
    """The value at which a name points now, or None. A torn version counts as not written."""
    for number in range(_num_versions(store, name) - 1, -1, -1):
        with suppress(TornRecordError):
            return cast("dict[str, Any]", store.read_json(_key(name, number)))
    return None


def _num_versions(store: Store, name: str) -> int:
    return first_missing(lambda number: store.size_bytes(_key(name, number)) is not None)


def _key(name: str, number: int) -> str:
    return f"refs/{name}/{number}.json"
