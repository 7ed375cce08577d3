"""Differences between two recipes of one stage: the field, its value before, and its value after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

ABSENT = "(absent)"
"""Stands for the value of a field that one of the recipes does not have."""
SHOWN_CHARACTERS = 60
"""Longest value in the text of a change, in characters."""


class Change(BaseModel):
    """One field that differs. `before` and `after` are JSON text, or `(absent)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {_shortened(self.before)} -> {_shortened(self.after)}"


def field_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[Change, ...]:
    """The fields that differ between two whole recipes, nested ones with dots, in the order of `after`."""
    flat_before, flat_after = dict(flat_fields(before)), dict(flat_fields(after))
    names = [*flat_after, *(name for name in flat_before if name not in flat_after)]
    pairs = ((name, flat_before.get(name, ABSENT), flat_after.get(name, ABSENT)) for name in names)
    return tuple(Change(field=name, before=old, after=new) for name, old, new in pairs if old != new)


def flat_fields(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name, value as JSON text) of each field of a recipe, nested ones with dots, such as `layout.zero_stage`."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from flat_fields(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(item, sort_keys=True, ensure_ascii=False)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
