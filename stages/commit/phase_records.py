"""The records of one phase, many thousand at a time.

Owns record bundles, `phases/<phase>/sheets/<n>.json`: each copies the records of `PARTS_PER_BUNDLE` parts listed one
after the other, and is written once all of them are recorded. A resume then reads 153 objects for 39,000 parts. A
bundle is a cache: a part is true by its own record, created exclusively.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import BaseModel, TypeAdapter, ValidationError

from stages.artifacts.records import PART_RECORD, STEPS_PHASE, PartRecord
from stages.store.errors import StoreError, TornRecordError
from stages.store.fault_points import fault_point
from stages.store.record_kind import RecordKind
from stages.store.store import Store

PARTS_PER_BUNDLE = 256
"""Records copied into one bundle: one read of about 200 KB in the place of 256 reads."""
BUNDLE = TypeAdapter(list[PartRecord])


class _ListedPart(BaseModel):
    """What is read of a listed part; its task is compared as a whole."""

    name: str


PARTS = RecordKind[list[_ListedPart]](
    list[_ListedPart],
    "the list of a phase's parts",
    "move it away; the next run lists the same parts again",
)


def parts_key(folder: str, phase: str) -> str:
    """Where the parts of a phase are listed; `folder` is the artifact's key prefix."""
    return f"{folder}/phases/{phase}/parts.json"


def record_key(folder: str, phase: str, part: str) -> str:
    """Where the record of a part lies; `folder` is the artifact's key prefix."""
    return f"{folder}/records/{phase}/{part}.json"


def read_record(store: Store, key: str) -> PartRecord | None:
    """A record, or None. One that does not parse is quarantined, and its part made again."""
    try:
        return PART_RECORD.read(store, key)
    except TornRecordError:
        with fault_point("record.quarantined", key):
            store.quarantine(key)
        return None


def listed_parts(store: Store, folder: str, phase: str) -> list[str]:
    """The names of a phase's parts; none where the phase is not listed, or its list does not parse."""
    try:
        return [part.name for part in PARTS.read(store, parts_key(folder, phase)) or ()]
    except TornRecordError:
        return []


def bundle_key_of(store: Store, folder: str, phase: str, part: str) -> str:
    """Key of the bundle that holds a listed part's record, whether it is written or not."""
    number = listed_parts(store, folder, phase).index(part) // PARTS_PER_BUNDLE
    return bundle_key(folder, phase, number)


def bundle_key(folder: str, phase: str, number: int) -> str:
    """Where a bundle lies; bundle `number` copies the parts from `number * PARTS_PER_BUNDLE` on."""
    return _bundle_key(folder, phase, f"{number}.json")


def _bundle_key(folder: str, phase: str, name: str) -> str:
    return f"{folder}/phases/{phase}/sheets/{name}"


DIGESTS = "record_sha256"
"""Field of a manifest's provenance: key below the artifact's folder, to the sha256 of a record, 64 hex digits."""


def recorded_digests(store: Store, folder: str, phases: Iterable[str]) -> dict[str, str]:
    """The sha256 of each list of parts, checkpoint record and mark of a deleted checkpoint, by key below `folder`.

    A manifest keeps them, since these records have no other copy. Lists the checkpoints of a training, never parts.
    """
    keys: list[str] = []
    for phase in phases:
        if phase == STEPS_PHASE:
            found = store.keys(f"{folder}/records/{phase}/")
            keys += [key for key in found if key.endswith((".json", ".json.deleted"))]
        else:
            keys.append(parts_key(folder, phase))
    read = zip(keys, store.read_many(keys), strict=True)
    return {key.removeprefix(f"{folder}/"): hashlib.sha256(data).hexdigest() for key, data in read if data is not None}


@dataclass
class PhaseRecords:
    """The records of a phase."""

    store: Store
    folder: str
    """The artifact's key prefix."""
    phase: str
    names: Sequence[str]
    """Names of the phase's parts, in listed order."""
    may_write: Callable[[], bool]
    """Asked before a bundle is written: whether this attempt still holds the claim."""
    by_part: dict[str, PartRecord] = field(default_factory=dict)
    """Records known by `read` and `add`, by name of the part."""
    _num_found: Counter[int] = field(default_factory=Counter)
    """Number of recorded parts of each bundle that is not written."""

    def read(self) -> None:
        """Read what is recorded.

        A listing only says which parts are worth reading. A part that it leaves out is asked for by its key before it
        is made, so nothing is decided by listing.
        """
        written = {number for number, data in enumerate(self._read_bundles()) if self._take_bundle(number, data)}
        listed = self._listed(written)
        keys = [record_key(self.folder, self.phase, name) for name in listed]
        for key, data in zip(keys, self.store.read_many(keys), strict=True):
            record = None if data is None else _parsed(data) or read_record(self.store, key)
            if record is not None:
                self.add(record)

    def add(self, record: PartRecord) -> None:
        """Add a record that was read or made; the last record of a bundle writes the bundle."""
        self.by_part[record.part] = record
        number = self._places[record.part] // PARTS_PER_BUNDLE
        self._num_found[number] += 1
        if self._num_found[number] == PARTS_PER_BUNDLE:
            self._write_bundle(number)

    def num_recorded(self) -> int:
        """How many parts are recorded, by listing: for display."""
        prefix = self._bundle_key("")
        bundles = [key.removeprefix(prefix).removesuffix(".json") for key in self.store.keys(prefix)]
        written = {int(number) for number in bundles if number.isdigit()}
        return PARTS_PER_BUNDLE * len(written) + len(self._listed(written))

    def _listed(self, written: set[int]) -> list[str]:
        """The parts in no bundle whose records a listing shows, in the phase's order."""
        rest = [name for place, name in enumerate(self.names) if place // PARTS_PER_BUNDLE not in written]
        if not rest:
            return []
        prefix = f"{self.folder}/records/{self.phase}/"
        keys = self.store.keys(prefix, after=f"{prefix}{min(rest)}")
        shown = {key.removeprefix(prefix).removesuffix(".json") for key in keys}
        return [name for name in rest if name in shown]

    def _read_bundles(self) -> list[bytes | None]:
        num_bundles = len(self.names) // PARTS_PER_BUNDLE
        return self.store.read_many([self._bundle_key(f"{number}.json") for number in range(num_bundles)])

    def _take_bundle(self, number: int, data: bytes | None) -> bool:
        """Whether the bundle exists and parses. One that does not parse is quarantined; its records are still there."""
        if data is None:
            return False
        try:
            records = BUNDLE.validate_json(data)
        except ValidationError:
            key = self._bundle_key(f"{number}.json")
            with fault_point("record.quarantined", key):
                self.store.quarantine(key)
            return False
        self.by_part |= {record.part: record for record in records}
        return True

    def _write_bundle(self, number: int) -> None:
        """Write a bundle. Where that fails, its records are read one by one."""
        if not self.may_write():
            return
        first = number * PARTS_PER_BUNDLE
        records = [self.by_part[name] for name in self.names[first : first + PARTS_PER_BUNDLE]]
        key = self._bundle_key(f"{number}.json")
        with suppress(StoreError), fault_point("phase.gathered", key):
            self.store.create(key, BUNDLE.dump_json(records))

    def _bundle_key(self, name: str) -> str:
        return _bundle_key(self.folder, self.phase, name)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def _parsed(data: bytes) -> PartRecord | None:
    try:
        return PartRecord.model_validate_json(data)
    except ValidationError:
        return None
