"""Parts: the units of a phase, and the draft that the work on one fills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from stages.artifacts.records import ItemBalance, PartRecord


class Part(BaseModel):
    """One unit of a phase: a name that is unique in the phase and what to do, as plain JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[0-9A-Za-z_-]+$")
    task: dict[str, Any] = Field(default_factory=dict)
    num_items: int | None = None
    """How many items enter, where that is known beforehand: the balance is checked against it."""


class _PlainFields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    def dump(self) -> dict[str, Any]:
        """The fields that were given, as plain JSON. One that was left at its default is left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class PartTask(_PlainFields):
    """The task of a part with named fields: `Part(name=name, task=task.dump())` there, `Task.of(part)` here.

    Unknown keys are ignored, so that a part that was listed by another version can still be worked on.
    """

    @classmethod
    def of(cls, part: Part) -> Self:
        """The task of `part`. Raises `ValidationError` where a field is missing or of another type."""
        return cls.model_validate(part.task)


class PartFacts(_PlainFields):
    """Facts of a record with named fields: `draft.fact(**facts.dump())` there, `Facts.of(record)` here.

    A reader may declare only the facts that it needs; the others are ignored.
    """

    @classmethod
    def of(cls, record: PartRecord) -> Self:
        """The facts of `record`. Raises `ValidationError` where a field is missing or of another type."""
        return cls.model_validate(record.facts)


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

    def keep_profile(self, profile: bytes) -> None:
        """Keep counts and examples of this part for the pictures of phase `profile`, beside the artifact's content."""

    def busy(self, doing: str) -> None:
        """Say what takes long before the first item is through, such as `reading the model`, for people to watch."""

    def progress(self, num_done: int) -> None:
        """Say how many items are through, for people to watch. Cheap; call it as often as you like."""


PartWork: TypeAlias = Callable[[Part, PartDraft], None]
