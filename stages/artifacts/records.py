"""What a manifest holds: item balances, files, parts and inputs, as frozen models."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from stages.store.record_kind import RecordKind

EXAMINED_FACT = "examined"
"""The fact of a checkpoint that says how it did on held-out rows; no part of its content."""
STEPS_PHASE = "steps"
"""The phase under which a training stage's committed checkpoints are recorded, one part for each."""
PROFILE_PHASE = "profile"
"""The phase that draws what a stage did. Its records are no part of the artifact: the manifest does not list them."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemBalance(_Record):
    """How every item that entered ended: kept, dropped for a reason, or failed for a reason."""

    kept: int = 0
    """Items that were passed on."""
    dropped: dict[str, int] = Field(default_factory=dict)
    """Reason to the number of items that were not wanted."""
    failed: dict[str, int] = Field(default_factory=dict)
    """Reason to the number of items that were wanted and not obtained."""

    @property
    def num_dropped(self) -> int:
        """Items dropped for any reason."""
        return sum(self.dropped.values())

    @property
    def num_failed(self) -> int:
        """Items failed for any reason."""
        return sum(self.failed.values())

    @property
    def total(self) -> int:
        """Items that entered."""
        return self.kept + self.num_dropped + self.num_failed

    def __add__(self, other: ItemBalance) -> ItemBalance:
        return total((self, other))


def total(balances: Iterable[ItemBalance]) -> ItemBalance:
    """The sum of balances; reasons in alphabetical order."""
    kept, dropped, failed = 0, Counter[str](), Counter[str]()
    for balance in balances:
        kept += balance.kept
        dropped.update(balance.dropped)
        failed.update(balance.failed)
    return ItemBalance(kept=kept, dropped=dict(sorted(dropped.items())), failed=dict(sorted(failed.items())))


class FileEntry(_Record):
    """One file of a part."""

    name: str
    """Path inside the part, such as `pairs.tar` or `model/config.json`."""
    key: str
    """Where the bytes lie in the store."""
    size_bytes: int
    """Length of the file, in bytes."""
    sha256: str
    """Digest of the file, 64 hex digits."""


class PartRecord(_Record):
    """The result of one part of a phase. A part counts once its record is created, which succeeds for one attempt."""

    phase: str
    """Name of the phase."""
    part: str
    """Name of the part, unique in its phase."""
    files: tuple[FileEntry, ...] = ()
    """Files of the part."""
    items: ItemBalance = ItemBalance()
    """Items of the part: kept, dropped and failed."""
    facts: dict[str, Any] = Field(default_factory=dict)
    """What two undisturbed runs agree on: counts, widths, seeds. Hashed into the artifact's content digest."""
    made_by: dict[str, Any] = Field(default_factory=dict)
    """What two runs may differ in: attempt, host, seconds, tries. Takes no part in the content digest."""

    def file(self, name: str) -> FileEntry:
        """The file of this name. Raises `KeyError` that lists the names of the part."""
        for entry in self.files:
            if entry.name == name:
                return entry
        raise KeyError(f"part {self.phase}/{self.part} has no file {name!r}; it has {[f.name for f in self.files]}")

    @property
    def content(self) -> dict[str, Any]:
        """What the content digest is computed from: names, sizes, digests and facts; no times, hosts or keys.

        Of a checkpoint, the number is left out, because it counts interruptions (its step is among the facts), and how
        it was examined, because that is conduct.
        """
        is_checkpoint = self.phase == STEPS_PHASE
        facts = {name: fact for name, fact in self.facts.items() if not (is_checkpoint and name == EXAMINED_FACT)}
        files = {entry.name: [entry.size_bytes, entry.sha256] for entry in self.files}
        part = "" if is_checkpoint else self.part
        return {"phase": self.phase, "part": part, "files": files, "facts": facts}


PART_RECORD = RecordKind[PartRecord](
    PartRecord,
    "the record of a part",
    "`neo audit REF --repair` writes it again from the manifest, or lets the next run make the part again",
)


class InputRecord(_Record):
    """An artifact that was read, and its content at that time."""

    stage: str
    """Name of the stage that made it."""
    fingerprint: str
    """Its fingerprint, 64 hex digits."""
    content: str
    """Its content digest when it was read, 64 hex digits."""


INPUT_RECORDS = RecordKind[dict[str, InputRecord]](
    dict[str, InputRecord],
    "the list of the inputs that an artifact's parts were made of",
    "put it back from a copy, or run the pipeline again: it quarantines what may be of other inputs",
)


def sha256_of(path: Path) -> str:
    """sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
