"""Pairs that a download or a retry extends: all of their parts are taken over, and new ones stand behind them.

Owns the names and the numbers of new parts, and the refusal of pairs that are kept by another rule.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from stages.artifacts.head import ManifestHead
from stages.artifacts.kinds import RawPairs
from stages.artifacts.records import PartRecord
from stages.artifacts.taken_over import EXTENDS_INPUT, num_table_rows
from stages.contract import Part, StageError
from stages.download.picture_recipe import PictureRecipe

RETRIED_PART: Final = re.compile(r"retry(\d+)_\d+")
"""Names of parts that hold rows fetched again: `retry2_00007` is one of the second time."""
ADDED_PART: Final = re.compile(r"add(\d+)_\d+")
"""Names of parts that hold the rows of a further URL table: `add1_00000` is the first one of the second table."""


def next_number(pattern: re.Pattern[str], records: Iterable[PartRecord]) -> int:
    """The number that new parts are named by: one more than that of the parts named so before."""
    return 1 + max((int(found[1]) for one in records if (found := pattern.fullmatch(one.part))), default=0)


def num_rows_before(records: Iterable[PartRecord]) -> int:
    """Rows of all tables that these parts were downloaded from: those that were fetched again count once."""
    return sum(num_table_rows(one) for one in records if not RETRIED_PART.fullmatch(one.part))


def added_parts(parts: Sequence[Part], before: Iterable[PartRecord]) -> list[Part]:
    """Parts of a further table under names that no part of `before` has."""
    number = next_number(ADDED_PART, before)
    return [part.model_copy(update={"name": f"add{number}_{part.name}"}) for part in parts]


def taken_parts(records: Iterable[PartRecord]) -> list[Part]:
    """The parts that take these records over."""
    return [Part(name=record.part, num_items=record.items.total) for record in records]


def check_same_rule(recipe: PictureRecipe, extends: RawPairs) -> None:
    """Raise `StageError` where pictures would be kept by another rule than those of `extends`."""
    fields = {name: value for name, value in extends.head.recipe.items() if name in PictureRecipe.model_fields}
    own, kept_by = vars(recipe.picture_rule), vars(PictureRecipe.model_validate(fields).picture_rule)
    if other := [name for name in own if own[name] != kept_by[name]]:
        name = other[0]
        raise StageError(
            f"{extends!r} keeps pictures with {name} = {kept_by[name]!r}, and what extends it has {own[name]!r}; pairs "
            "of one artifact are kept by one rule"
        )


def check_other_source(name: str, extends: RawPairs) -> None:
    """Raise `StageError` where rows of a source of this name are in `extends`: equal rows would have equal ids."""
    head: ManifestHead | None = extends.head
    artifact = extends
    while head is not None:
        if (head.recipe.get("source") or {}).get("name") == name:
            raise StageError(
                f"{extends!r} holds the rows of source {name!r}; give the further table a name of its own in "
                "sources.toml, with its new files alone"
            )
        further = EXTENDS_INPUT in head.inputs
        artifact = artifact.input(EXTENDS_INPUT, RawPairs) if further else artifact
        head = artifact.head if further else None
