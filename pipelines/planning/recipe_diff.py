"""Differences between two recipes of one stage: the field, its value before, and its value after."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

ABSENT = "(absent)"
"""Stands for the value of a field that one of the recipes does not have."""
SHOWN_CHARACTERS = 60
"""Longest value in the text of a change, in characters."""
MAX_PATH_CHARACTERS = 1000
"""Texts of this length or more are not looked up as paths."""


class Change(BaseModel):
    """One field that differs. `before` and `after` are JSON text, or `(absent)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.field}: {_shortened(self.before)} -> {_shortened(self.after)}"


def field_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], without: Collection[str] = ()
) -> tuple[Change, ...]:
    """The fields that differ between two whole recipes, nested ones with dots, in the order of `after`.

    Fields in `without` are left out: those that take no part in identity.
    """
    flat_before, flat_after = dict(flat_fields(before)), dict(flat_fields(after))
    names = [*flat_after, *(name for name in flat_before if name not in flat_after)]
    names = [name for name in names if name not in without]
    pairs = ((name, flat_before.get(name, ABSENT), flat_after.get(name, ABSENT)) for name in names)
    return tuple(
        Change(field=name, before=old, after=new) for name, old, new in pairs if old != new and name not in without
    )


def flat_fields(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """(name, value as JSON text) of each field of a recipe, nested ones with dots, such as `layout.zero_stage`."""
    for name, item in value.items():
        if isinstance(item, Mapping) and item:
            yield from flat_fields(item, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", json.dumps(item, sort_keys=True, ensure_ascii=False)


def paths_in(recipe: Mapping[str, Any]) -> list[str]:
    """The fields that hold a path of this machine as text: what lies there takes no part in identity."""
    return [name for name, text in flat_fields(recipe) if any(map(_is_path_here, _texts_in(json.loads(text))))]


def _texts_in(value: Any) -> list[str]:
    items = value if isinstance(value, list) else [value]
    return [item for item in items if isinstance(item, str)]


def _is_path_here(text: str) -> bool:
    return "/" in text and len(text) < MAX_PATH_CHARACTERS and "\0" not in text and os.path.lexists(text)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 3]}..."
