"""Damage in what was committed: finding it, and checking that what is made again is the same.

Bytes on a disk rot, and people delete files. The record of a damaged part is quarantined (`<record>.damaged-0`), and
so is its artifact's manifest; the next run makes that part again from the same recipe and inputs. Other artifacts were
made from the old bytes, so the part and the manifest count only if they come out the same. Where training reads the
artifact meanwhile, nothing is quarantined: the same bytes replace the damaged ones. `repairs/<n>.json`, created before
either, holds what was damaged, and how.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import MANIFEST, Manifest
from stages.artifacts.records import PART_RECORD, FileEntry, PartRecord
from stages.contract import StageError
from stages.store.errors import CutShortError
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store

DAMAGED: Final = "damaged"
"""The suffix of keys in quarantine whose bytes were damaged."""
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Bytes that are read at a time to be hashed; an audit reads as many files side by side as it has readers."""


Remedy = Literal["make_again", "write_again", "quarantine", "retire", "by_hand"]
"""How damage is repaired. `make_again`: the next run makes the part again. `write_again`: a lost or torn record is
written again from its manifest. `quarantine`: nothing depends on it, so it is moved there. `retire`: a checkpoint
that training went past is marked as deleted. `by_hand`: a person must decide."""


@dataclass(frozen=True)
class Damage:
    """One object in the store that differs from what was committed."""

    key: str
    """Key of the damaged object."""
    problem: str
    """What is wrong with it, as a phrase after its key, such as `is missing`."""
    remedy: Remedy = "by_hand"
    part: str = ""
    """Phase and part, such as `write/00001`; '' for an object that belongs to no part."""


def damaged_files(store: Store, part: PartRecord) -> Iterator[tuple[str, str]]:
    """Key and complaint for every file of a part that is not as it was recorded. Reads every byte."""
    for entry in part.files:
        if problem := file_problem(store, entry):
            yield entry.key, problem


def file_problem(store: Store, entry: FileEntry, *, reads_bytes: bool = True) -> str:
    """What is wrong with a file, as a phrase; '' if it is as it was recorded. `reads_bytes=False` compares sizes alone.

    Reads a chunk at a time.
    """
    size_bytes = store.size_bytes(entry.key)
    if size_bytes is None:
        return "is missing"
    if size_bytes != entry.size_bytes:
        return f"has {size_bytes:,} bytes, {entry.size_bytes:,} were committed"
    if not reads_bytes:
        return ""
    try:
        digest = _sha256(store, entry)
    except (CutShortError, FileNotFoundError):
        return "was cut short or removed while it was read"
    if digest == entry.sha256:
        return ""
    shown, committed = digest[:SHOWN_DIGITS], entry.sha256[:SHOWN_DIGITS]
    return f"is damaged: its sha256 begins {shown}, that of the committed bytes {committed}"


def record_repair(store: Store, folder: str, why: Mapping[str, str]) -> None:
    """Record what is about to be quarantined or put back: damaged key to what is wrong with it."""
    number = first_missing(lambda number: store.size_bytes(_repair_key(folder, number)) is not None)
    with fault_point("repair.recorded", folder):
        while not store.create_json(_repair_key(folder, number), dict(why)):
            number += 1


def put_back(store: Store, path: Path, key: str) -> None:
    """Replace the damaged bytes of a file by the committed ones, made again; a copy of the damaged ones is kept.

    A reader finds the old or the new bytes, never a mixture. Several writers put the same.
    """
    with fault_point("record.quarantined", key):
        store.copy_to_quarantine(key, DAMAGED)
    with fault_point("part.uploaded", key):
        store.upload(path, key)


def is_repaired(store: Store, folder: str) -> bool:
    """Whether anything of an artifact was ever quarantined as damaged."""
    return store.size_bytes(_repair_key(folder, 0)) is not None


def _repair_key(folder: str, number: int) -> str:
    return f"{folder}/repairs/{number}.json"


def quarantine_key(key: str) -> str:
    """Key of the first damaged version of a record or manifest; later versions had to be the same."""
    return f"{key}.{DAMAGED}-0"


def check_same_again(store: Store, key: str, made: PartRecord | Manifest) -> None:
    """Raises `StageError` if a record or manifest was quarantined, and the one made in its place has other content."""
    kind: RecordKind[Any] = PART_RECORD if isinstance(made, PartRecord) else MANIFEST
    before = kind.read(store, quarantine_key(key))
    if before is not None and before.content != made.content:
        raise StageError(
            f"{key} was quarantined because its files are damaged, and made again it comes out different"
            f"{_difference(before, made)}. Other artifacts were made from the old bytes, so it is not replaced. Put "
            f"the files back from a copy and rename {quarantine_key(key)} to {key}; or delete {quarantine_key(key)} "
            "to take what is made now: then everything made from it is made again"
        )


def _difference(before: PartRecord | Manifest, made: PartRecord | Manifest) -> str:
    """The first file that differs, in words, or ''."""
    if not isinstance(before, PartRecord) or not isinstance(made, PartRecord):
        return ""
    held = {entry.name: entry for entry in before.files}
    for entry in made.files:
        old = held.get(entry.name)
        if old is not None and old.sha256 != entry.sha256:
            shown = f"{old.sha256[:SHOWN_DIGITS]} then, {entry.sha256[:SHOWN_DIGITS]} now"
            return f" ({entry.name}: {old.size_bytes:,} and {entry.size_bytes:,} bytes, sha256 {shown})"
    return ""


def _sha256(store: Store, entry: FileEntry) -> str:
    hasher = hashlib.sha256()
    for start in range(0, entry.size_bytes, CHUNK_BYTES):
        hasher.update(store.read_range(entry.key, start, min(CHUNK_BYTES, entry.size_bytes - start)))
    return hasher.hexdigest()
