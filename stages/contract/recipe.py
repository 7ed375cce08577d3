"""The recipe of a stage: everything that changes what it makes, and nothing about where it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from stages.artifacts.fingerprint import CONDUCT

LARGEST_INTEGER: Final = 2**63 - 1
"""Largest whole number of a recipe, either way: tables and messages hold numbers of 64 bits."""
LARGEST_FLOAT: Final = 10**15
"""Largest other number, either way: beyond it, sums and products of a computation are infinite or lose their digits."""
LARGEST_BY_UNIT: Final[Mapping[str, int]] = {
    "seed": 2**64 - 1,  # seeds are hashed, or given to generators that take 64 bits
    "seeds": 2**64 - 1,
    "_seconds": 9 * 10**9,  # a moment of Unix time, too; clocks and locks take no longer time than 9.2e9
    "_px": 10**12,
    "_tokens": 10**15,
}
"""End of a field's name to its largest number, either way."""


class Recipe(BaseModel):
    """Everything that changes what a stage makes, and nothing about where it runs.

    Numbers have upper bounds, which no computation of today comes near: a value that could be planned but not be
    carried out is refused where it is read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
    names_elsewhere: ClassVar[Mapping[str, str]] = {}
    """What users of another tool may call a field, to what they are told when they do: what it is here."""

    @model_validator(mode="before")
    @classmethod
    def _tell_names_elsewhere(cls, values: Any) -> Any:
        for name in values if isinstance(values, Mapping) else ():
            if name in cls.names_elsewhere:
                raise ValueError(f"{cls.__name__} has no field {name!r}: {cls.names_elsewhere[name]}")
        return values

    @field_validator("*")
    @classmethod
    def _is_within_bounds(cls, value: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        of_unit = next((most for unit, most in LARGEST_BY_UNIT.items() if name.endswith(unit)), None)
        for number in _numbers(value):
            most = of_unit or (LARGEST_FLOAT if isinstance(number, float) else LARGEST_INTEGER)
            if abs(number) > most:
                raise ValueError(f"is beyond {most:,}, the largest number that can be carried out here")
        return value


def conduct(default: Any, **constraints: Any) -> Any:
    """A recipe field that decides how a stage conducts itself, never what it makes: `max_share_lost = conduct(0.8)`.

    Such as when it gives up, how often it commits, what it shows of itself. The value is kept in plans and manifests
    and takes no part in identity, so that it can be changed half-way: raising a limit after a costly download does not
    download again, and a training continues from its last checkpoint. A stage must not write it to a table, a part's
    task or a fact. `constraints` are those of pydantic's `Field`, such as `ge=0, le=1`.
    """
    return Field(default, json_schema_extra=dict(CONDUCT), **constraints)


def _numbers(value: Any) -> Iterator[int | float]:
    """The numbers in a value of a recipe, those of its lists and mappings included."""
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _numbers(one)
    elif isinstance(value, tuple | list | set | frozenset):
        for one in value:
            yield from _numbers(one)
