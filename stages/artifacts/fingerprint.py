"""Identity: canonical bytes of a recipe, and the fingerprint of what a step makes.

Two recipes that would make the same thing have the same bytes on any machine, in any process, in any release. A value
without a stable form raises `UnstableValueError`, before an artifact is named after it.
"""

from __future__ import annotations

import enum
import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

SHOWN_DIGITS = 12
"""How many hex digits of a fingerprint are shown and used in paths; the whole is stored."""


class UnstableValueError(TypeError):
    """A value whose bytes could differ between two processes or releases; it cannot take part in identity."""


def canonical_form(value: object, where: str = "recipe") -> Json:
    """Return `value` as plain JSON with one possible spelling.

    A model field at its default is left out: a new field whose default keeps the old behaviour renames no artifact. A
    tag (a `Literal` of one value) stays, because it tells two models apart. Of fields `seed: int = 0` and
    `num_steps: int`, the values 0 and 5 give `{"num_steps": 5}`. Raises `UnstableValueError` that names the field.
    """
    if isinstance(value, enum.Enum):
        return canonical_form(value.value, where)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float | str):
        return _spelled(value, where)
    if isinstance(value, BaseModel):
        return _changed_fields(value, where)
    if isinstance(value, Mapping):
        return {_text_key(key, where): canonical_form(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical_form(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise UnstableValueError(
        f"{where} is a {type(value).__name__}, which has no stable form; "
        "use numbers, text, enums, lists, dictionaries with text keys, or another recipe"
    )


def canonical_bytes(value: object, where: str = "recipe") -> bytes:
    """The bytes that are hashed: JSON with sorted keys, no spaces, no NaN, UTF-8."""
    form = canonical_form(value, where)
    return json.dumps(form, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def digest(value: object, where: str = "value") -> str:
    """sha256 of the canonical bytes, 64 hex digits."""
    return hashlib.sha256(canonical_bytes(value, where)).hexdigest()


def fingerprint(stage: str, number: int, recipe: BaseModel, inputs: Mapping[str, str]) -> str:
    """The name of what `stage` makes from `recipe` and the fingerprints of its inputs, 64 hex digits."""
    return digest({"stage": stage, "number": number, "recipe": recipe, "inputs": dict(inputs)}, stage)


def _spelled(value: float | str, where: str) -> float | str:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise UnstableValueError(f"{where} is {value!r}, which UTF-8 cannot spell: {error.reason}") from None
    elif not math.isfinite(value):
        raise UnstableValueError(f"{where} is {value}; only finite numbers have a canonical form")
    return value


def _text_key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise UnstableValueError(f"{where} has the key {key!r}; keys must be text")
    _spelled(key, f"a key of {where}")
    return key


def _changed_fields(model: BaseModel, where: str) -> dict[str, Json]:
    changed: dict[str, Json] = {}
    for name, field in type(model).model_fields.items():
        value: Any = getattr(model, name)
        if field.is_required() or _is_tag(field) or value != field.get_default(call_default_factory=True):
            changed[name] = canonical_form(value, f"{where}.{name}")
    return changed


def _is_tag(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
