"""The records of one phase, many thousand at a time.

Owns `phases/<phase>/sheets/<n>.json`: copies of the records of `PARTS_PER_SHEET` parts that are listed one after the
other, written once all of them are there, so that a resume reads hundreds of objects where there are tens of thousands
of parts. A sheet is a copy of what is true; what makes a part true stays its own record, created exclusively.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from pydantic import TypeAdapter, ValidationError

from stages.artifacts.records import PartRecord
from stages.store.errors import StoreError, TornRecordError
from stages.store.fault_points import fault_point
from stages.store.store import Store

PARTS_PER_SHEET = 256
SHEET = TypeAdapter(list[PartRecord])


def record_key(folder: str, phase: str, part: str) -> str:
    """Where the record of a part lies; `folder` is the artifact's key prefix."""
    return f"{folder}/records/{phase}/{part}.json"


def read_record(store: Store, key: str) -> PartRecord | None:
    """A record, or None. One that does not parse is moved aside, and its part made again."""
    try:
        raw = store.read_json(key)
        return None if raw is None else PartRecord.model_validate(raw)
    except (TornRecordError, ValidationError):
        with fault_point("record.quarantined", key):
            store.quarantine(key)
        return None


def listed_parts(store: Store, folder: str, phase: str) -> list[str]:
    """The names of a phase's parts; none where the phase is not listed, or its list does not parse."""
    try:
        return [part["name"] for part in store.read_json(f"{folder}/phases/{phase}/parts.json") or ()]
    except TornRecordError:
        return []


def sheet_of(store: Store, folder: str, phase: str, part: str) -> str:
    """Key of the sheet on which a listed part's record is copied, whether it is written or not."""
    number = listed_parts(store, folder, phase).index(part) // PARTS_PER_SHEET
    return _sheet_key(folder, phase, f"{number}.json")


def _sheet_key(folder: str, phase: str, name: str) -> str:
    return f"{folder}/phases/{phase}/sheets/{name}"


@dataclass
class PhaseRecords:
    """What is recorded of a phase whose parts are listed under these names."""

    store: Store
    folder: str
    """The artifact's key prefix."""
    phase: str
    names: Sequence[str]
    may_write: Callable[[], bool]
    """Asked before a sheet is written: whether this attempt is still the one to commit."""
    by_part: dict[str, PartRecord] = field(default_factory=dict)
    """The records that `read` and `add` know, by name of the part."""
    _num_found: Counter[int] = field(default_factory=Counter)
    """By sheet that is not written: how many of its parts are recorded."""

    def read(self) -> None:
        """Find what is recorded.

        A listing only says which parts are worth asking for. One that it leaves out is asked for again before it is
        made, so nothing is decided by listing.
        """
        written = {number for number, data in enumerate(self._read_sheets()) if self._take_sheet(number, data)}
        listed = self._listed(written)
        keys = [record_key(self.folder, self.phase, name) for name in listed]
        for key, data in zip(keys, self.store.read_many(keys), strict=True):
            record = None if data is None else _parsed(data) or read_record(self.store, key)
            if record is not None:
                self.add(record)

    def add(self, record: PartRecord) -> None:
        """Take note of a record that was found or made; the last of a sheet's parts writes the sheet."""
        self.by_part[record.part] = record
        number = self._places[record.part] // PARTS_PER_SHEET
        self._num_found[number] += 1
        if self._num_found[number] == PARTS_PER_SHEET:
            self._write_sheet(number)

    def num_recorded(self) -> int:
        """How many parts are recorded, by listing: to be shown."""
        prefix = self._sheet_key("")
        sheets = [key.removeprefix(prefix).removesuffix(".json") for key in self.store.keys(prefix)]
        written = {int(sheet) for sheet in sheets if sheet.isdigit()}
        return PARTS_PER_SHEET * len(written) + len(self._listed(written))

    def _listed(self, written: set[int]) -> list[str]:
        """The parts on no sheet whose records a listing shows, in the phase's order."""
        rest = [name for place, name in enumerate(self.names) if place // PARTS_PER_SHEET not in written]
        if not rest:
            return []
        prefix = f"{self.folder}/records/{self.phase}/"
        keys = self.store.keys(prefix, after=f"{prefix}{min(rest)}")
        shown = {key.removeprefix(prefix).removesuffix(".json") for key in keys}
        return [name for name in rest if name in shown]

    def _read_sheets(self) -> list[bytes | None]:
        num_sheets = len(self.names) // PARTS_PER_SHEET
        return self.store.read_many([self._sheet_key(f"{number}.json") for number in range(num_sheets)])

    def _take_sheet(self, number: int, data: bytes | None) -> bool:
        """Whether the sheet is there and whole. One that is not is moved aside; its records are still there."""
        if data is None:
            return False
        try:
            records = SHEET.validate_json(data)
        except ValidationError:
            key = self._sheet_key(f"{number}.json")
            with fault_point("record.quarantined", key):
                self.store.quarantine(key)
            return False
        self.by_part |= {record.part: record for record in records}
        return True

    def _write_sheet(self, number: int) -> None:
        """A sheet only saves time: where it cannot be written, its records are read one by one."""
        if not self.may_write():
            return
        first = number * PARTS_PER_SHEET
        records = [self.by_part[name] for name in self.names[first : first + PARTS_PER_SHEET]]
        key = self._sheet_key(f"{number}.json")
        with suppress(StoreError), fault_point("phase.gathered", key):
            self.store.create(key, SHEET.dump_json(records))

    def _sheet_key(self, name: str) -> str:
        return _sheet_key(self.folder, self.phase, name)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}


def _parsed(data: bytes) -> PartRecord | None:
    try:
        return PartRecord.model_validate_json(data)
    except ValidationError:
        return None
