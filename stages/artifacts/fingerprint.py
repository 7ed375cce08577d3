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
from pathlib import PurePath
from typing import Any, Literal, TypeAlias, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"

CONDUCT = {"conduct": True}
"""Marks a field that takes no part in identity, as its `json_schema_extra` (`stages.contract.conduct`)."""
SHOWN_DIGITS = 12
"""How many hex digits of a fingerprint are shown and used in paths; the whole is stored."""


class UnstableValueError(TypeError):
    """A value whose bytes could differ between two processes or releases; it cannot take part in identity."""


def canonical_form(value: object, where: str = "recipe", *, whole: bool = False) -> Json:
    """Return `value` as plain JSON with one possible spelling.

    A model field at its default is left out: a new field whose default keeps the old behaviour renames no artifact. A
    tag (a `Literal` of one value) stays, because it tells two models apart. Of fields `seed: int = 0` and
    `num_steps: int`, the values 0 and 5 give `{"num_steps": 5}`. A field marked `CONDUCT` is left out. Raises
    `UnstableValueError` that names the field. With `whole`, defaults are spelled out as well: for a recipe whose
    defaults nobody promises to keep.
    """
    if isinstance(value, enum.Enum):
        return canonical_form(value.value, where, whole=whole)
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float | str):
        return _spelled(value, where)
    if isinstance(value, BaseModel):
        if value.model_extra:
            raise UnstableValueError(f"{where} has the undeclared fields {sorted(value.model_extra)}; declare them")
        return _all_fields(value, where) if whole else _changed_fields(value, where)
    if isinstance(value, Mapping):
        entries = {_text_key(key, where): item for key, item in value.items()}
        return {key: canonical_form(item, f"{where}.{key}", whole=whole) for key, item in entries.items()}
    if isinstance(value, list | tuple):
        return [canonical_form(item, f"{where}[{index}]", whole=whole) for index, item in enumerate(value)]
    if isinstance(value, PurePath):
        raise UnstableValueError(
            f"{where} is the path {str(value)!r}, and what lies there may change; name data from outside in "
            'sources.toml and take it as a Source("name"), or take a plain text where the path itself is meant'
        )
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


def fingerprint(
    stage: str,
    number: int,
    recipe: BaseModel,
    inputs: Mapping[str, str],
    *,
    code: Mapping[str, str] | None = None,
    fork: Mapping[str, Any] | None = None,
) -> str:
    """The name of what `stage` makes from `recipe` and the fingerprints of its inputs, 64 hex digits.

    For a stage of a user's own, `code` identifies its code, and every field of the recipe takes part. For a shipped
    one it is None, and fields at their default are left out. `fork` identifies the checkpoint that a training begins
    from; None for step 0.
    """
    named: dict[str, Any] = {"stage": stage, "number": number, "recipe": recipe, "inputs": dict(inputs)}
    if code is not None:
        named |= {"recipe": canonical_form(recipe, stage, whole=True), "code": dict(code)}
    if fork is not None:
        named |= {"fork": dict(fork)}
    return digest(named, stage)


def is_conduct(field: FieldInfo) -> bool:
    """Whether a field was declared with `conduct(...)`: it takes no part in identity."""
    return isinstance(field.json_schema_extra, Mapping) and CONDUCT.items() <= field.json_schema_extra.items()


def conduct_defaults(model: BaseModel, prefix: str = "") -> dict[str, Any]:
    """The fields that take no part in identity, nested ones with dots, each with its default."""
    found: dict[str, Any] = {}
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if is_conduct(field):
            found[f"{prefix}{name}"] = field.get_default(call_default_factory=True)
        elif isinstance(value, BaseModel):
            found |= conduct_defaults(value, f"{prefix}{name}.")
    return found


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


def _all_fields(model: BaseModel, where: str) -> dict[str, Json]:
    fields = {name: getattr(model, name) for name, field in type(model).model_fields.items() if not is_conduct(field)}
    return {name: canonical_form(value, f"{where}.{name}", whole=True) for name, value in fields.items()}


def _changed_fields(model: BaseModel, where: str) -> dict[str, Json]:
    changed: dict[str, Json] = {}
    for name, field in type(model).model_fields.items():
        if is_conduct(field):
            continue
        value: Any = getattr(model, name)
        if field.is_required() or _is_tag(field) or not _is_default(value, field, where):
            changed[name] = canonical_form(value, f"{where}.{name}")
    return changed


def _is_default(value: object, field: FieldInfo, where: str) -> bool:
    """Whether a field is at its default, but for what takes no part in identity inside it."""
    default = field.get_default(call_default_factory=True)
    if value == default or not isinstance(value, BaseModel) or type(value) is not type(default):
        return bool(value == default)
    return _changed_fields(value, where) == _changed_fields(default, where)


def _is_tag(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1
