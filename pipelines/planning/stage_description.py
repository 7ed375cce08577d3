"""The description of a stage: what its docstrings, annotations and recipe say, as plain values.

It is read off the code, so it cannot disagree with it. `stage_catalog.py` finds the stage.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from stages.artifacts.fingerprint import is_conduct
from stages.contract import Stage

UNITS: Final = {"px": "pixels", "chars": "characters"}
"""Last words of field names that are short for a unit."""
WRITTEN_OUT: Final = ("seconds", "bytes", "tokens", "steps", "epochs", "documents", "rows", "layers")
"""Last words of field names that are a unit."""
COUNT: Final = re.compile(r"(?:num|max_num|min_num)_(?P<things>\w+?)(?:_per_\w+)?")
"""A field that counts things: `num_urls_per_part` counts urls."""


@dataclass(frozen=True, kw_only=True)
class FieldDescription:
    """One field of a recipe."""

    name: str
    """Name of the field, behind that of the field that holds it: `origin.seed`."""
    type: str
    """Type of its values in Python's spelling, with its bounds: `int, 1 or more`."""
    choices: tuple[str, ...]
    """The values that it takes, as they are written in Python; () where it takes more than a list can hold."""
    unit: str
    """Unit of its values, such as pixels; '' where it has none, or the name does not say."""
    default: str | None
    """Its default as it is written in Python; None where it must be given."""
    is_identity: bool
    """Whether another value makes another artifact; a limit on losses does not."""
    meaning: str
    """The text under the field."""


@dataclass(frozen=True, kw_only=True)
class InputDescription:
    """One artifact, or several under names or in an order, that a stage reads."""

    name: str
    kinds: tuple[str, ...]
    """The kinds that may be bound to it."""
    shape: str
    """`one`, `mapping` (artifacts by name) or `sequence` (artifacts in order)."""
    is_optional: bool
    """Whether it may be left out."""
    is_identity: bool
    """Whether another one makes the step again."""
    meaning: str
    """What the first of the kinds is."""


@dataclass(frozen=True, kw_only=True)
class StageDescription:
    """What a stage is for, what it reads and makes, and the fields of its recipe."""

    name: str
    number: int
    about: str
    """The first sentence about it."""
    details: tuple[str, ...]
    """The further paragraphs about it, those in which docstrings have columns with their line ends."""
    sources: tuple[str, ...]
    """Fields of the recipe that name outside data."""
    inputs: tuple[InputDescription, ...]
    makes: str
    """The kind that it makes."""
    makes_meaning: str
    """What that kind is."""
    recipe: str
    """Name of the recipe's class."""
    recipe_about: str
    """The text under the recipe's class."""
    fields: tuple[FieldDescription, ...]
    imported: str
    """The line that imports the stage and its recipe into a pipeline."""

    @property
    def reads(self) -> tuple[str, ...]:
        """What it reads, in short: `source` for outside data, then kinds, with `...` where there may be several."""
        return (*("source" for _ in self.sources[:1]), *map(_input_in_short, self.inputs))


def describe_stage(stage: Stage[Any]) -> StageDescription:
    """The description of a stage, read off its docstrings, annotations and recipe."""
    module = inspect.getmodule(stage.function) or sys.modules.get(stage.function.__module__)
    paragraphs = _paragraphs(module, stage)
    recipe = stage.recipe_type
    return StageDescription(
        name=stage.name,
        number=stage.number,
        about=_joined(paragraphs[0]) if paragraphs else "",
        details=tuple(paragraphs[1:]),
        sources=tuple(name for name, field in recipe.model_fields.items() if _is_source(field.annotation)),
        inputs=tuple(
            InputDescription(
                name=slot.name,
                kinds=tuple(kind.kind for kind in slot.kinds),
                shape=slot.shape,
                is_optional=slot.is_optional,
                is_identity=not slot.is_conduct,
                meaning=_joined(inspect.getdoc(slot.kinds[0]) or ""),
            )
            for slot in stage.slots
        ),
        makes=stage.makes.kind,
        makes_meaning=_joined(inspect.getdoc(stage.makes) or ""),
        recipe=recipe.__name__,
        recipe_about=_joined(recipe.__doc__ or ""),
        fields=tuple(_fields(recipe)),
        imported=_import_line(stage),
    )


def _paragraphs(module: types.ModuleType | None, stage: Stage[Any]) -> list[str]:
    """The paragraphs about a stage: those of its file where that holds one stage, else those of its function."""
    of_file = inspect.getdoc(module) or "" if module else ""
    of_function = inspect.getdoc(stage.function) or ""
    own = [value for value in vars(module).values() if isinstance(value, Stage)] if module else []
    declared = [item for item in own if item.function.__module__ == stage.function.__module__]
    text = of_file if len(declared) == 1 and of_file else of_function or of_file
    return [paragraph for paragraph in re.split(r"\n\s*\n", text) if paragraph.strip()]


def _joined(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


def _input_in_short(item: InputDescription) -> str:
    kind = "|".join(item.kinds)
    several = "..." if item.shape != "one" else ""
    return f"[{kind}{several}]" if item.is_optional else f"{kind}{several}"


def _import_line(stage: Stage[Any]) -> str:
    """The line that imports a stage and its recipe; for a stage of a user's file, the name of that file alone."""
    module = stage.function.__module__
    if module in sys.modules and hasattr(sys.modules[module], "__file__") and module.startswith("stages."):
        return f"from {module} import {', '.join(sorted((stage.recipe_type.__name__, stage.name)))}"
    return ""


def _is_source(annotation: Any) -> bool:
    return any(getattr(inner, "__name__", "") == "Source" for inner in _models_in(annotation))


def _fields(model: type[BaseModel], before: str = "") -> Iterator[FieldDescription]:
    """The fields of a recipe, each model that one holds followed by its own fields."""
    for name, field in model.model_fields.items():
        yield _field(f"{before}{name}", field)
        for inner in _models_in(field.annotation):
            if inner is not model and not _is_source(inner):
                yield from _fields(inner, f"{before}{name}.")


def _field(name: str, field: FieldInfo) -> FieldDescription:
    last = name.rpartition(".")[2]
    default = None if field.is_required() else _default(field)
    return FieldDescription(
        name=name,
        type=type_in_words(field.annotation, field.metadata),
        choices=tuple(map(repr, _choices(field.annotation))),
        unit=unit_of(last),
        default=default,
        is_identity=not is_conduct(field),
        meaning=_joined(field.description or ""),
    )


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:  # a factory that needs the other fields
        return "depends on other fields"
    return f"{value:_}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 else repr(value)


def unit_of(name: str) -> str:
    """The unit that a field's name states, or ''.

    >>> unit_of("min_side_px"), unit_of("num_urls_per_part"), unit_of("max_aspect")
    ('pixels', 'urls', '')
    """
    last = name.rpartition("_")[2]
    if last in UNITS or last in WRITTEN_OUT:
        return UNITS.get(last, last)
    counted = COUNT.fullmatch(name)
    return counted["things"].replace("_", " ") if counted else ""


def type_in_words(annotation: Any, metadata: Sequence[Any] = ()) -> str:
    """A type as Python spells it, with its bounds in words.

    >>> type_in_words(int, [Ge(1), Le(9)]), type_in_words(float | None)
    ('int, 1 to 9', 'float or None')
    """
    words = _spelled(annotation)
    bounds = _bounds(metadata)
    return f"{words}, {bounds}" if bounds else words


def _spelled(annotation: Any) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        inner = arguments[0]
        bounds = _bounds([part for item in arguments[1:] for part in getattr(item, "metadata", [item])])
        return f"{_spelled(inner)} {bounds}" if bounds else _spelled(inner)
    if origin is typing.Literal:
        return "one of " + ", ".join(map(repr, arguments))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(map(_spelled, arguments))
    if annotation is types.NoneType:
        return "None"
    if origin is not None:
        inner = ", ".join("..." if item is ... else _spelled(item) for item in arguments)
        return f"{origin.__name__}[{inner}]"
    return getattr(annotation, "__name__", str(annotation))


def _bounds(metadata: Sequence[Any]) -> str:
    """Bounds of numbers, lengths in words; '' for none."""
    limits = {name: value for item in metadata for name, value in _limits_of(item)}
    words = []
    if "ge" in limits and "le" in limits:
        words.append(f"{limits['ge']:_} to {limits['le']:_}")
    else:
        spelled = {"ge": "{:_} or more", "gt": "above {:_}", "le": "at most {:_}", "lt": "below {:_}"}
        words += [spelled[name].format(limits[name]) for name in spelled if name in limits]
    if limits.get("min_length"):
        words.append("not empty" if limits["min_length"] == 1 else f"of {limits['min_length']} or more")
    if limits.get("max_length") is not None:
        words.append(f"of at most {limits['max_length']}")
    return ", ".join(words)


def _limits_of(item: Any) -> Iterator[tuple[str, Any]]:
    for name in ("ge", "gt", "le", "lt", "min_length", "max_length"):
        value = getattr(item, name, None)
        if value is not None and not callable(value):
            yield name, value


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a `Literal`, alone or among others."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return tuple(choice for inner in typing.get_args(annotation) for choice in _choices(inner))


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from _models_in(argument)
