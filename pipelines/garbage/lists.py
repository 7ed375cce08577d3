"""Lists of what was deleted: `collected/<n>/list.json`, written before anything is touched, and `ended.json` after it.

A list without an end is that of a collection that was killed. The uploads that go from an artifact that stays are named
line by line in `collected/<n>/<stage>-<digits>.txt`.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict, Field

from pipelines.garbage.survey import Survey
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store

FOLDER = "collected"
"""Prefix of the lists in a store."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ListedDeletion(_Record):
    """An artifact, or the uploads in one, that is about to be deleted."""

    artifact: str
    """Stage and shown digits of the fingerprint."""
    why: str
    is_whole: bool
    """Whether the artifact goes as a whole; else the uploads that the text beside this list names."""
    num_objects: int
    size_bytes: int


class CollectionList(_Record):
    """What a collection is about to delete."""

    version: int = 1
    at_seconds: float = Field(default_factory=time.time)
    deletions: tuple[ListedDeletion, ...]
    runs: tuple[str, ...] = ()
    """Runs that are forgotten."""


class CollectionEnd(_Record):
    """How a collection ended."""

    at_seconds: float = Field(default_factory=time.time)
    num_artifacts: int
    """Artifacts that were deleted as a whole."""
    num_objects: int
    size_bytes: int
    spared: dict[str, str] = Field(default_factory=dict)
    """Artifact or run that was listed and stays, to why."""


COLLECTION_LIST = RecordKind[CollectionList](
    CollectionList, "the list of what was deleted", "nothing depends on it: move it away"
)
COLLECTION_END = RecordKind[CollectionEnd](
    CollectionEnd, "the end of a deletion", "nothing depends on it: move it away"
)


def write_list(store: Store, found: Survey) -> int:
    """Write what is about to be deleted; returns the number of the list."""
    listed = CollectionList(
        deletions=tuple(
            ListedDeletion(
                artifact=one.short,
                why=one.why,
                is_whole=one.is_whole,
                num_objects=one.objects.number,
                size_bytes=one.objects.size_bytes,
            )
            for one in found.deletable
        ),
        runs=found.runs,
    )
    number = num_lists(store)
    with fault_point("gc.listed", list_key(number)):
        while not store.create_json(list_key(number), listed.model_dump(mode="json")):
            number += 1
    return number


def name_uploads(store: Store, number: int, short: str, keys: Iterable[str]) -> None:
    """Name the uploads that are about to be deleted from an artifact that stays."""
    key = f"{FOLDER}/{number}/{short.replace('/', '-')}.txt"
    with fault_point("gc.listed", key):
        store.create(key, "".join(f"{one}\n" for one in keys).encode())


def end_list(store: Store, number: int, end: CollectionEnd) -> None:
    """Record how a collection ended."""
    with fault_point("gc.ended", _end_key(number)):
        store.create_json(_end_key(number), end.model_dump(mode="json"))


def num_lists(store: Store) -> int:
    """How many lists a store has."""
    return first_missing(lambda number: store.size_bytes(list_key(number)) is not None)


def lists(store: Store) -> Iterator[tuple[int, CollectionList | None, CollectionEnd | None]]:
    """Number, list and end of each collection; None for what cannot be read, or has not ended."""
    for number in range(num_lists(store)):
        yield (
            number,
            COLLECTION_LIST.read_or_skip(store, list_key(number)),
            COLLECTION_END.read_or_skip(store, _end_key(number)),
        )


def collections_in_words(store: Store) -> list[str]:
    """A sentence for all collections that ended, and one for each that did not; none where there was none."""
    ended, said = [], []
    for number, _, end in lists(store):
        if end is None:
            said.append(f"A deletion was broken off ({list_key(number)}): `neo gc --delete` continues it.")
        else:
            ended.append(end)
    if ended:
        artifacts, size_bytes = sum(one.num_artifacts for one in ended), sum(one.size_bytes for one in ended)
        said.insert(
            0,
            f"`neo gc` deleted {artifacts:,} artifact{'' if artifacts == 1 else 's'}, {size_bytes:,} bytes in all: "
            f"{FOLDER}/*/list.json names them.",
        )
    return said


def list_key(number: int) -> str:
    """Key of a list."""
    return f"{FOLDER}/{number}/list.json"


def _end_key(number: int) -> str:
    return f"{FOLDER}/{number}/ended.json"
