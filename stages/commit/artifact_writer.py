"""One attempt's access to one artifact: private uploads, and records that are created exclusively.

Owns the two steps that every commit of an artifact consists of. Data goes to `attempts/<attempt>/...` below the
artifact's folder, where no record names it yet; then one exclusive create of a record makes it true. What is recorded,
and in which order, is decided by `parts.py`, `checkpoints.py` and `recorded_facts.py`.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.artifacts.profiles import profile_key
from stages.artifacts.records import PART_RECORD, FileEntry, PartRecord, sha256_of
from stages.commit.attempt import AttemptId
from stages.commit.claims import Claim
from stages.commit.phase_records import record_key
from stages.contract import Fork, UserFile
from stages.store.errors import StoreError
from stages.store.fault_points import fault_point
from stages.store.store import Store


@dataclass(frozen=True)
class ArtifactWriter:
    """Writes one artifact on behalf of one attempt. Small, and pickles: every worker and rank gets a copy."""

    store: Store
    folder: str
    """The artifact's key prefix."""
    step: str
    """Name of the step in its pipeline, for events and messages."""
    attempt: AttemptId
    """Names the private prefix for data that no record names yet."""
    claim: Claim | None = None
    """Checked before each commit. None where nobody else can make the artifact."""
    is_repaired: bool = False
    """Whether damaged parts were quarantined: what is made in their place must have the same content."""
    allows_rollback: bool = False
    """Whether training may continue from an earlier checkpoint if the newest is damaged."""
    user_file: UserFile | None = None
    """The user's file that the stage comes from; None for another stage."""
    fork: Fork | None = None
    """The checkpoint that a training begins from; None for step 0."""

    @property
    def made_by(self) -> dict[str, Any]:
        """What every record says of who made it: the attempt, and the digest of the user's code that ran."""
        code = {"code": self.user_file.digest} if self.user_file else {}
        return {"attempt": str(self.attempt), **code}

    def check_claim(self) -> None:
        """Raises `SupersededError` if another attempt took over the artifact."""
        if self.claim is not None:
            self.claim.check(self.step)

    def holds_claim(self) -> bool:
        """Whether this attempt may still commit."""
        return self.claim is None or not self.claim.superseded_by()

    def record_key(self, phase: str, part: str) -> str:
        """Key of the record of a part."""
        return record_key(self.folder, phase, part)

    def upload(self, path: Path, name: str, prefix: str, point: str) -> FileEntry:
        """Upload a local file to the attempt's private prefix, inside fault point `point`; returns its entry."""
        key = f"{self.folder}/attempts/{self.attempt}/{prefix}/{name}"
        with fault_point(point, key):
            self.store.upload(path, key)
        return FileEntry(name=name, key=key, size_bytes=path.stat().st_size, sha256=sha256_of(path))

    def keep_profile(self, phase: str, part: str, profile: bytes) -> None:
        """Keep the profile of a part, before its record. For people: a store that fails now costs them a picture."""
        key = profile_key(self.folder, phase, part)
        with suppress(StoreError), fault_point("profile.kept", key):
            self.store.overwrite(key, profile)

    def create_record(self, record: PartRecord, point: str, *, syncs_name: bool = True) -> PartRecord:
        """Commit a record by an exclusive create; returns the record that counts, ours or that of an earlier create.

        Without `syncs_name` it counts once the names of the phase's records were made durable (`Store.sync_names`).
        """
        key = self.record_key(record.phase, record.part)
        with fault_point(point, key):
            is_ours = self.store.create_json(key, record.model_dump(), syncs_name=syncs_name)
        return record if is_ours else PART_RECORD.read_existing(self.store, key)


def unique_upload_prefix(label: str) -> str:
    """A prefix that no other try uploads to: `write/00003-1f0c22ab`.

    The attempt alone would not do: a process of this attempt that is taken for dead may still be uploading.
    """
    return f"{label}-{uuid.uuid4().hex[:8]}"


def numbered_part(number: int) -> str:
    """Name of the part that stands for checkpoint, or recorded facts, `number`: `000007`."""
    return f"{number:06d}"
