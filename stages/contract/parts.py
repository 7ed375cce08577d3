"""Parts: the units of a phase, and the draft that the work on one fills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from stages.artifacts.records import ItemBalance


class Part(BaseModel):
    """One unit of a phase: a name that is unique in the phase and what to do, as plain JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[0-9A-Za-z_-]+$")
    task: dict[str, Any] = Field(default_factory=dict)
    num_items: int | None = None
    """How many items enter, where that is known beforehand: the balance is checked against it."""


class PartDraft(Protocol):
    """Where the work on one part puts its results. Nothing of it exists until the part is recorded."""

    @property
    def scratch(self) -> Path:
        """A private local folder, removed afterwards."""

    def path(self, name: str) -> Path:
        """A local path for the file `name` of this part (`pairs.tar`, `model/config.json`); parents are made."""

    def count(self, items: ItemBalance) -> None:
        """Add to the balance of this part."""

    def fact(self, **facts: Any) -> None:
        """Record what two undisturbed runs agree on. Plain JSON."""

    def annotate(self, **annotations: Any) -> None:
        """Record what they need not agree on: times, tries, addresses. Plain JSON."""

    def progress(self, num_done: int) -> None:
        """Say how many items are through, for people to watch. Cheap; call it as often as you like."""


PartWork: TypeAlias = Callable[[Part, PartDraft], None]
