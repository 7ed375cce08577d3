"""What differs between two things of one stage: which field, from what, to what."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

ABSENT = "(absent)"
SHOWN_CHARACTERS = 60


class Change(BaseModel):
    """One field that differs. Values are JSON text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {_shortened(self.before)} -> {_shortened(self.after)}"


def field_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The fields of two recipes (in full, as JSON) that differ, nested ones with dots, in the order of `after`."""
    flat_before, flat_after = dict(flat_fields(before)), dict(flat_fields(after))
    names = [*flat_after, *(name for name in flat_before if name not in flat_after)]
    pairs = ((name, flat_before.get(name, ABSENT), flat_after.get(name, ABSENT)) for name in names)
    return tuple(Change(field=name, before=old, after=new) for name, old, new in pairs if old != new)


def flat_fields(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """The fields of a recipe as JSON text, nested ones with dots."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from flat_fields(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(item, sort_keys=True, ensure_ascii=False)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
