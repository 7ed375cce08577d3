"""Refs: human names that point at something committed, such as `tiny/evaluate`.

Owns `refs/<name>/<n>.json`. Each change of a ref is a new numbered version, created exclusively; the highest number
counts. Versions are never deleted, so a ref can be read back to what it pointed at before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind, skip_unreadable
from stages.store.store import Store

REF = RecordKind[dict[str, Any]](
    dict[str, Any],
    "a version of a name",
    "put it back from a copy, or run the pipeline again, which points the name anew",
)


OF_RUN: Final = ("run",)
"""The fields of a name that points at a run, such as `tiny`."""
OF_ARTIFACT: Final = ("stage", "fingerprint")
"""The fields of a name that points at an artifact, such as `tiny/evaluate`."""


def set_ref(store: Store, name: str, value: dict[str, Any]) -> int:
    """Point a name at `value`; returns the number of this version."""
    number = num_versions(store, name)
    while not store.create_json(ref_key(name, number), value):
        number += 1
    return number


def read_ref(store: Store, name: str, has: Sequence[str] = ()) -> dict[str, Any] | None:
    """The value at which a name points now, or None. `has` are the fields that the caller needs, which are texts.

    A version that cannot be read, or lacks one of these fields, counts as not written; a warning names it.
    """
    for number in range(num_versions(store, name) - 1, -1, -1):
        key = ref_key(name, number)
        ref = REF.read_or_skip(store, key)
        lacking = [] if ref is None else [field for field in has if not isinstance(ref.get(field), str)]
        if lacking:
            skip_unreadable(REF.unreadable(f"{store.url}/{key}", f"it has no text {', '.join(lacking)}"))
        elif ref is not None:
            return ref
    return None


def num_versions(store: Store, name: str) -> int:
    """How many versions a name has."""
    return first_missing(lambda number: store.size_bytes(ref_key(name, number)) is not None)


def ref_key(name: str, number: int) -> str:
    """Key of a version of a name."""
    return f"refs/{name}/{number}.json"
