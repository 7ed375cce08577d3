"""What a manifest holds: item balances, files, parts and inputs, as frozen models."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

STEPS_PHASE = "steps"
"""The phase under which a training stage's committed checkpoints are recorded, one part for each."""


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ItemBalance(_Record):
    """How every item that entered ended: kept, dropped for a reason, or failed for a reason."""

    kept: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    failed: dict[str, int] = Field(default_factory=dict)

    @property
    def num_dropped(self) -> int:
        return sum(self.dropped.values())

    @property
    def num_failed(self) -> int:
        return sum(self.failed.values())

    @property
    def total(self) -> int:
        return self.kept + self.num_dropped + self.num_failed

    def __add__(self, other: ItemBalance) -> ItemBalance:
        return total((self, other))


def total(balances: Iterable[ItemBalance]) -> ItemBalance:
    """All of them together."""
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
    sha256: str


class PartRecord(_Record):
    """What one part of a phase came to. Creating it, exclusively, is what makes the part true."""

    phase: str
    part: str
    files: tuple[FileEntry, ...] = ()
    items: ItemBalance = ItemBalance()
    facts: dict[str, Any] = Field(default_factory=dict)
    """What two undisturbed runs agree on: counts, widths, seeds. Hashed into the artifact's content digest."""
    made_by: dict[str, Any] = Field(default_factory=dict)
    """What they need not agree on: attempt, host, seconds, tries."""

    def file(self, name: str) -> FileEntry:
        for entry in self.files:
            if entry.name == name:
                return entry
        raise KeyError(f"part {self.phase}/{self.part} has no file {name!r}; it has {[f.name for f in self.files]}")

    @property
    def content(self) -> dict[str, Any]:
        """What the content digest is computed from: names and bytes, no times and no places.

        The number of a checkpoint is left out, because it counts interruptions; its step is among the facts.
        """
        files = {entry.name: [entry.size_bytes, entry.sha256] for entry in self.files}
        part = "" if self.phase == STEPS_PHASE else self.part
        return {"phase": self.phase, "part": part, "files": files, "facts": self.facts}


class InputRecord(_Record):
    """An input that was really read: what it is and the digest of its content at that time."""

    stage: str
    fingerprint: str
    content: str


def sha256_of(path: Path) -> str:
    """sha256 of a file, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
