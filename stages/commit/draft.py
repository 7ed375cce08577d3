"""A part before it is recorded: files on local scratch, item counts, facts and annotations.

Fulfils `stages.contract.parts.PartDraft` for the work on one part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.artifacts.records import ItemBalance
from stages.contract import StageError


def _forget(doing: str) -> None:
    """For parts that nobody watches."""


@dataclass
class Draft:
    """The results of one part before it is recorded."""

    scratch: Path
    report: Callable[[int], None]
    """Receives the number of items done so far."""
    say_busy: Callable[[str], None] = _forget
    """Receives what takes long before the first item is through."""
    items: ItemBalance = field(default_factory=ItemBalance)
    facts: dict[str, Any] = field(default_factory=dict)
    annotations: dict[str, Any] = field(default_factory=dict)
    profile: bytes | None = None
    """Counts and examples for people; None where the work gathers none."""
    _promised: set[str] = field(default_factory=set)
    """Names of files that the work has asked a path for."""

    def path(self, name: str) -> Path:
        """A local path for the file `name` of this part; parent folders are made."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self._promised.add(name)
        return path

    def count(self, items: ItemBalance) -> None:
        """Add to the balance of this part."""
        self.items = self.items + items

    def fact(self, **facts: Any) -> None:
        """Record what two undisturbed runs agree on; hashed into the content digest."""
        self.facts |= facts

    def annotate(self, **annotations: Any) -> None:
        """Record what two runs need not agree on; not hashed."""
        self.annotations |= annotations

    def keep_profile(self, profile: bytes) -> None:
        """Keep counts and examples for people, beside the artifact's content."""
        self.profile = profile

    def busy(self, doing: str) -> None:
        """Say what takes long before the first item is through."""
        self.say_busy(doing)

    def progress(self, num_done: int) -> None:
        """Report the number of items done so far."""
        self.report(num_done)

    def files(self) -> list[tuple[str, Path]]:
        """Name and path of every file, in order: those that `path` promised and those written beside them.

        Raises `StageError` if a promised file was not written.
        """
        written = {
            path.relative_to(self._folder).as_posix(): path for path in self._folder.rglob("*") if path.is_file()
        }
        missing = sorted(self._promised - set(written))
        if missing:
            raise StageError(f"the part promised {missing} and did not write it")
        return sorted(written.items())

    @property
    def _folder(self) -> Path:
        return self.scratch / "files"
