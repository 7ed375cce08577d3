"""Records of one artifact compared with its manifest: what a resume, a fork or a repair of it would read.

Owns the checks of part records, record bundles, lists of parts and inputs, checkpoints that training went past, the
marks of those that were deleted, and the records of what training left out. Reads no file of a part but those of such
checkpoints; trusts the manifest alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from pipelines.lineage.read_manifest import ReadManifest
from stages.artifacts.head import ManifestHead
from stages.artifacts.manifest import FORK, artifact_folder
from stages.artifacts.records import INPUT_RECORDS, PART_RECORD, STEPS_PHASE, PartRecord
from stages.commit import phase_records
from stages.commit.checkpoints import CHECKPOINT_RECORD
from stages.commit.phase_records import BUNDLE, DIGESTS, PARTS, bundle_key, parts_key, record_key, recorded_digests
from stages.commit.recorded_facts import facts_in
from stages.commit.repair import Damage
from stages.store.errors import StoreError, TornRecordError
from stages.store.metadata import readable_json
from stages.store.record_kind import what_is_wrong
from stages.store.store import Store
from stages.surfaces.first_few import first_few
from stages.training.checkpoints.facts import SKIPPED_PHASE, SKIPPED_STEPS_PHASE
from stages.training.skipped import skipped_fact, skipped_steps_fact

NUMBER = re.compile(r"\d{6}")
RETIRED_BY_AUDIT = readable_json({"attempt": "neo audit --repair"})
"""What a repair writes into the mark of a deleted checkpoint, where training wrote the name of its attempt."""
MARK = TypeAdapter(dict[str, str])
MAX_PARTS_AT_A_TIME = 1024
"""Records of parts that are read and compared at a time."""
Item = TypeVar("Item")


@dataclass
class ArtifactRecords:
    """The records of one committed artifact, to be checked."""

    store: Store
    manifest: ReadManifest
    remarks: list[str] = field(default_factory=list)
    """What is no damage and worth knowing; filled by `check`."""
    lacks_digests: bool = False
    """Whether the manifest was written before manifests kept digests of these records; known after `check`."""

    @property
    def folder(self) -> str:
        """The artifact's key prefix."""
        return artifact_folder(self.manifest.head.stage, self.manifest.head.fingerprint)

    def check(self) -> list[Damage]:
        """What is wrong with the records, each key once."""
        found: dict[str, Damage] = {}
        for damage in self._check():
            found.setdefault(damage.key, damage)
        return list(found.values())

    def _check(self) -> Iterator[Damage]:
        phases = [phase.phase for phase in self.manifest.head.phases]
        yield from self._inputs()
        yield from self._parts()
        for phase in phases:
            if phase != STEPS_PHASE:
                yield from self._list_of_parts(phase)
                yield from self._bundles(phase)
        yield from self._digests(phases)
        if STEPS_PHASE in phases:
            yield from self._checkpoints()
            yield from _left_out(self.store, self.manifest.head, list(self._of_phase(STEPS_PHASE))[-1].facts)

    def kept_checkpoints(self) -> list[PartRecord]:
        """Checkpoints that training went past and whose files are kept: the manifest does not list them."""
        listed = {part.part for part in self._of_phase(STEPS_PHASE)}
        kept = []
        for number in self._numbers() if listed else ():
            key = self._step_key(number)
            if f"{number:06d}" in listed or self.store.size_bytes(f"{key}.deleted") is not None:
                continue
            try:
                record = CHECKPOINT_RECORD.read(self.store, key)
            except TornRecordError:  # `check` tells it
                continue
            kept += [record] if record is not None else []
        return kept

    def _inputs(self) -> Iterator[Damage]:
        key = f"{self.folder}/inputs.json"
        try:
            inputs = INPUT_RECORDS.read(self.store, key)
        except (StoreError, ValueError) as error:
            yield Damage(key, f"is torn: {error}", "write_again")
            return
        if inputs is None:
            yield Damage(key, "is missing", "write_again")
        elif inputs != self.manifest.head.identity_inputs:
            yield Damage(key, "says that it was made of other inputs than the manifest says", "write_again")

    def _parts(self) -> Iterator[Damage]:
        """Part records that are not there, or differ from the manifest's copy."""
        for some in in_groups(self.manifest.parts(), MAX_PARTS_AT_A_TIME):
            keys = [record_key(self.folder, part.phase, part.part) for part in some]
            for part, key, record in zip(some, keys, PART_RECORD.read_many(self.store, keys), strict=True):
                if problem := _difference(part, record):
                    yield Damage(key, problem, "write_again", f"{part.phase}/{part.part}")

    def _list_of_parts(self, phase: str) -> Iterator[Damage]:
        key = parts_key(self.folder, phase)
        try:
            listed = PARTS.read(self.store, key)
        except StoreError as error:
            yield Damage(key, f"is torn: {error}", "quarantine")
            return
        made = {part.part for part in self._of_phase(phase)}
        if listed is None:
            self.remarks.append(f"{key} is missing; only a part that is made again would need it, and lists it anew")
        elif (names := {part.name for part in listed}) != made:
            differing = first_few(sorted(names ^ made), 3)
            yield Damage(key, f"lists other parts than the manifest: {differing}", "quarantine")

    def _bundles(self, phase: str) -> Iterator[Damage]:
        """Bundles that are there: a bundle is a copy of records, and one that is missing costs time alone."""
        size = phase_records.PARTS_PER_BUNDLE
        bundles = enumerate(in_groups(self._of_phase(phase), size))
        for some in in_groups(bundles, max(1, MAX_PARTS_AT_A_TIME // size)):
            keys = [bundle_key(self.folder, phase, number) for number, _ in some]
            for (_, parts), key, data in zip(some, keys, self.store.read_many(keys), strict=True):
                if data is not None and len(parts) == size and (problem := _bundle_problem(parts, data)):
                    yield Damage(key, problem, "quarantine")

    def _digests(self, phases: Iterable[str]) -> Iterator[Damage]:
        """Records whose bytes differ from the digests that the manifest keeps of them."""
        kept: dict[str, str] | None = self.manifest.head.provenance.get(DIGESTS)
        if kept is None:
            self.lacks_digests = True
            return
        now = recorded_digests(self.store, self.folder, phases)
        for name, digest in kept.items():
            key, actual = f"{self.folder}/{name}", now.get(name)
            if actual == digest or (name.endswith(".deleted") and self.store.read(key) == RETIRED_BY_AUDIT):
                continue
            problem = "is missing" if actual is None else "is not as it was when the artifact was committed"
            if name.endswith(".deleted") or f"/{STEPS_PHASE}/" in name:
                yield Damage(key, problem, "retire" if name.endswith(".deleted") else "by_hand")
            elif actual is not None:  # a missing list is told by its own check
                yield Damage(key, problem, "quarantine" if name.startswith("phases/") else "by_hand")

    def _checkpoints(self) -> Iterator[Damage]:
        """Records of checkpoints that are unreadable or leave a gap; marks that cannot be read."""
        numbers = self._numbers()
        for number in range(max(numbers, default=-1) + 1):
            key = self._step_key(number)
            if number not in numbers:
                yield Damage(key, "is missing: the records after it cannot be found by counting")
                continue
            try:
                CHECKPOINT_RECORD.read(self.store, key)
            except StoreError as error:
                yield Damage(key, f"is torn: {error}")
            data = self.store.read(f"{key}.deleted")
            try:
                if data is not None:
                    MARK.validate_json(data)
            except ValidationError as error:
                yield Damage(f"{key}.deleted", f"is torn: {what_is_wrong(error)}", "retire")

    def _of_phase(self, phase: str) -> Iterator[PartRecord]:
        return (part for part in self.manifest.parts() if part.phase == phase)

    def _numbers(self) -> set[int]:
        prefix = f"{self.folder}/records/{STEPS_PHASE}/"
        names = (key.removeprefix(prefix).removesuffix(".json") for key in self.store.keys(prefix))
        return {int(name) for name in names if NUMBER.fullmatch(name)}

    def _step_key(self, number: int) -> str:
        return record_key(self.folder, STEPS_PHASE, f"{number:06d}")


def in_groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of `size`, in order; the last may be shorter."""
    rest = iter(items)
    while some := list(islice(rest, size)):
        yield some


def _left_out(store: Store, head: ManifestHead, last: Mapping[str, Any]) -> Iterator[Damage]:
    """Records of rows and steps that training left out, where they differ from the last checkpoint's facts.

    What was left out before a fork is on record where it was trained.
    """
    folder, before = artifact_folder(head.stage, head.fingerprint), (head.provenance.get(FORK) or {}).get("at_step", 0)
    for phase, fact in ((SKIPPED_PHASE, skipped_fact), (SKIPPED_STEPS_PHASE, skipped_steps_fact)):
        key = record_key(folder, phase, f"{0:06d}")
        try:
            recorded = fact(facts_in(store, folder, phase), last["step"])
        except (StoreError, ValidationError) as error:
            yield Damage(key, f"or one after it is torn: {error}")
            continue
        if recorded.get(phase, []) != [one for one in last.get(phase, []) if one["step"] > before]:
            yield Damage(key, "and those after it name other rows or steps as left out than the last checkpoint")


def _bundle_problem(parts: Sequence[PartRecord], data: bytes) -> str:
    """How a bundle differs from the parts that it copies, as a phrase; '' if it does not."""
    try:
        copied = BUNDLE.validate_json(data)
    except ValidationError as error:
        return f"is torn: {what_is_wrong(error)}"
    by_name = {part.part: part for part in parts}
    differing = [record.part for record in copied if by_name.get(record.part) != record]
    if differing or len(copied) != len(by_name):
        return f"copies records that differ from the manifest: {differing[:3]}"
    return ""


def _difference(part: PartRecord, record: PartRecord | TornRecordError | None) -> str:
    """How a part's record differs from the manifest's copy, as a phrase; '' if it does not."""
    if record is None:
        return "is missing"
    if isinstance(record, TornRecordError):
        return f"is torn: {record}"
    differing = [name for name in PartRecord.model_fields if getattr(record, name) != getattr(part, name)]
    return f"differs from the manifest in: {', '.join(differing)}" if differing else ""
