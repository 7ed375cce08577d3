"""What may be deleted, with its bytes and the reason, and what stays for now.

Lists artifacts first and asks what leads to them afterwards: a run writes its plan before it makes anything, so what a
new run makes is never taken for garbage. Objects are summed as they are listed, folder by folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from pipelines.garbage.forgotten import forgotten_runs
from pipelines.garbage.reachability import ArtifactName, Reachability
from stages.artifacts.head import read_head
from stages.artifacts.manifest import artifact_folder, read_parts
from stages.artifacts.records import PART_RECORD, STEPS_PHASE
from stages.commit.claims import DELETED_MARK
from stages.store.store import Store

INDEXES = "indexes"
"""Prefix of the indexes of artifacts, which are derived and go with them."""
NOTHING_LEADS_TO_IT = "no run and no name leads to it"
ONLY_FORGOTTEN = "only forgotten runs lead to it"
BEGUN_TO_DELETE = "its deletion was begun"
MADE_INTO_WHAT_STAYS = "an artifact that stays leads to it"
NO_RECORD_NAMES_THEM = "uploads that no record names"
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
"""The time of writing of no object."""
DIGEST_BYTES = 8
"""Bytes kept of the digest of a key. Two keys of one digest: the object stays."""


@dataclass(frozen=True)
class Objects:
    """Objects in the store, summed."""

    number: int = 0
    size_bytes: int = 0
    newest: datetime = LONG_AGO
    """When the last of them was written, by the store's clock."""

    def __add__(self, other: Objects) -> Objects:
        return Objects(self.number + other.number, self.size_bytes + other.size_bytes, max(self.newest, other.newest))


@dataclass(frozen=True)
class Candidate:
    """An artifact that nothing leads to, or the uploads in one that no record of it names."""

    artifact: ArtifactName
    why: str
    objects: Objects
    is_whole: bool = True
    """Whether the artifact goes as a whole; else some uploads in it."""
    stays: str = ""
    """Why it is not deleted now; '' where it is."""

    @property
    def short(self) -> str:
        """Stage and shown digits, such as `pack_rows/3f2a9c01d4e5`."""
        return "/".join(self.artifact)


@dataclass(frozen=True)
class Survey:
    """What a collection would delete, and what it would leave for now."""

    candidates: tuple[Candidate, ...]
    runs: tuple[str, ...] = ()
    """Runs that are about to be forgotten."""

    @property
    def deletable(self) -> tuple[Candidate, ...]:
        """What would be deleted now."""
        return tuple(one for one in self.candidates if not one.stays)

    @property
    def total(self) -> Objects:
        """The objects that would be deleted now."""
        return sum((one.objects for one in self.deletable), Objects())


def survey(store: Store, reached: Reachability, grace: timedelta, now: datetime) -> Survey:
    """What nothing leads to. Refreshes `reached`, after everything was listed; reads no file of a part.

    What stays for being new keeps all that it was made of, and is in `reached` afterwards.
    """
    listed = [(stage, name) for stage in store.folders("artifacts/") for name in store.folders(f"artifacts/{stage}/")]
    reached.refresh()
    forgotten = Reachability(store)
    for run in sorted(reached.to_forget | forgotten_runs(store)):
        forgotten.add_run(run)
    for artifact, earlier in forgotten.earlier.items():
        reached.earlier[artifact] |= earlier
    candidates: dict[ArtifactName, Candidate] = {}
    for artifact in listed:
        is_marked = store.size_bytes(f"{artifact_folder(*artifact)}/{DELETED_MARK}") is not None
        if is_marked or artifact not in reached:
            one = _whole(store, artifact, BEGUN_TO_DELETE if is_marked else _why(artifact, forgotten))
            candidates[artifact] = _if_old(one, now, grace)
    reached.keep([artifact for artifact, one in candidates.items() if one.stays])
    for artifact in listed:
        if artifact not in candidates and (uploads := _uploads(store, artifact, reached)) is not None:
            candidates[artifact] = _if_old(uploads, now, grace)
    found = (_if_unneeded(candidates[artifact], reached) for artifact in listed if artifact in candidates)
    # Of a folder on a disk, empty directories may be left.
    return Survey(tuple(one for one in found if one.is_whole or one.objects.number), tuple(sorted(reached.to_forget)))


def unnamed_uploads(store: Store, artifact: ArtifactName) -> Iterator[tuple[str, Objects]]:
    """Key of each upload in a committed artifact that no record of it names, and its size.

    Nothing where the artifact is not committed any more. Memory: some 100 bytes for each file of its parts.
    """
    head = read_head(store, *artifact)
    if head is None:
        return
    folder = artifact_folder(*artifact)
    named = {_digest(entry.key) for record in read_parts(store, *artifact) for entry in record.files}
    folded = {phase.phase for phase in head.phases} - {STEPS_PHASE}
    for phase in store.folders(f"{folder}/records/"):
        if phase not in folded:  # checkpoints, and pictures, which are in no manifest
            named |= _named_beside(store, f"{folder}/records/{phase}/")
    for key, size_bytes, written in store.objects(f"{folder}/attempts/"):
        if _digest(key) not in named:
            yield key, Objects(1, size_bytes, written)


def _named_beside(store: Store, prefix: str) -> set[bytes]:
    """Digests of the keys of the files that records name, without those that were deleted since."""
    named = set[bytes]()
    for key in store.keys(prefix):
        if key.endswith(".json") and (record := PART_RECORD.read(store, key)) is not None:
            is_deleted = store.size_bytes(f"{key}.deleted") is not None and store.size_bytes(f"{key}.held") is None
            named |= set() if is_deleted else {_digest(entry.key) for entry in record.files}
    return named


def _uploads(store: Store, artifact: ArtifactName, reached: Reachability) -> Candidate | None:
    """The unnamed uploads of an artifact that stays; None where it lends parts to others, or has none."""
    if artifact in reached.lends_parts:
        return None
    found = sum((one for _, one in unnamed_uploads(store, artifact)), Objects())
    return Candidate(artifact, NO_RECORD_NAMES_THEM, found, is_whole=False)


def _whole(store: Store, artifact: ArtifactName, why: str) -> Candidate:
    beside = _summed(store, f"{INDEXES}/{'/'.join(artifact)}/")
    return Candidate(artifact, why, _summed(store, f"{artifact_folder(*artifact)}/") + beside)


def _why(artifact: ArtifactName, forgotten: Reachability) -> str:
    return ONLY_FORGOTTEN if artifact in forgotten else NOTHING_LEADS_TO_IT


def _if_old(one: Candidate, now: datetime, grace: timedelta) -> Candidate:
    """A candidate, which stays where it was written within the grace."""
    if one.objects.newest <= now - grace or one.why == BEGUN_TO_DELETE:
        return one
    hours = max((now - one.objects.newest).total_seconds(), 0) / 3600
    return replace(one, stays=f"last written {hours:.1f} hours ago")


def _if_unneeded(one: Candidate, reached: Reachability) -> Candidate:
    """A candidate, which stays where what stays leads to it. A deletion that was begun is judged when it continues."""
    is_needed = one.is_whole and not one.stays and one.why != BEGUN_TO_DELETE and one.artifact in reached
    return replace(one, stays=MADE_INTO_WHAT_STAYS) if is_needed else one


def _summed(store: Store, prefix: str) -> Objects:
    return sum((Objects(1, size_bytes, written) for _, size_bytes, written in store.objects(prefix)), Objects())


def _digest(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=DIGEST_BYTES).digest()
