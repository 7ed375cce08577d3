"""Overrides of a pipeline on the command line: `--set step.field=value` and `--use step=FINGERPRINT`.

Owns rebuilding the graph with changed recipes, and parsing a value as the type of its field. The plan records the
settings as they were typed.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import AnyStep, Pipeline, suggestion
from stages.artifacts.fingerprint import UnstableValueError
from stages.contract import Fork, with_recipes
from stages.surfaces.credentials import without_credentials

MAX_SHOWN_CHARACTERS: Final = 200
"""Most characters of a wrong value that a message shows."""
ModelT = TypeVar("ModelT", bound=BaseModel)


def apply_settings(pipeline: Pipeline, settings: Sequence[str]) -> Pipeline:
    """The pipeline with fields of its recipes changed. Each setting is `step.field=value`; nested fields have dots.

    `kept.min_side_px=128` and `mix.shares.text=0.2` change a field and an entry of a field. Raises `BadCommandError`.
    """
    recipes = {name: step.recipe for name, step in pipeline.steps.items()}
    then = f"neo plan {pipeline.request}"
    for setting in settings:
        path, equals, value = setting.partition("=")
        step, dot, field = path.partition(".")
        if not (step and equals and dot and field):
            raise BadCommandError(f"--set {setting}: write it as step.field=value", then=then)
        if step not in recipes:
            known = list(recipes)
            raise BadCommandError(
                f"--set {setting}: there is no step {step!r}{suggestion(step, known)}; steps: {', '.join(known)}",
                then=then,
            )
        try:
            recipes[step] = _with_field(recipes[step], field.split("."), value)
        except ValueError as error:
            raise BadCommandError(f"--set {setting}: {error}", then=then) from error
    targets = with_recipes(pipeline.targets, lambda step: recipes[step.name])
    _check_stable(targets, then)
    return dataclasses.replace(pipeline, targets=targets)


def with_forks(pipeline: Pipeline, forks: Mapping[str, Fork]) -> Pipeline:
    """The pipeline with trainings that begin from checkpoints; `forks` has step name to checkpoint."""
    done: dict[str, AnyStep] = {}

    def rebuilt(step: AnyStep) -> AnyStep:
        if step.name not in done:
            edges = {name: rebuilt(dependency) for name, dependency in step.edges.items()}
            done[step.name] = dataclasses.replace(step, fork=forks.get(step.name), edges=edges)
        return done[step.name]

    return dataclasses.replace(pipeline, targets=tuple(map(rebuilt, pipeline.targets))) if forks else pipeline


def read_uses(pipeline: Pipeline, uses: Sequence[str]) -> dict[str, str]:
    """Step name to a fingerprint, or the beginning of one, parsed from texts `step=FINGERPRINT`.

    Raises `BadCommandError` for another form, or a step that the pipeline does not have.
    """
    fingerprints: dict[str, str] = {}
    for use in uses:
        step, equals, fingerprint = use.partition("=")
        if not (step and equals and fingerprint):
            raise BadCommandError(f"--use {use}: write it as step=FINGERPRINT", then="neo list")
        fingerprints[known_step(pipeline, step, f"--use {use}")] = fingerprint
    return fingerprints


def known_step(pipeline: Pipeline, step: str, option: str) -> str:
    """`step`, if the pipeline has it. Raises `BadCommandError` about `option`, such as `--until kpet`, otherwise."""
    if step not in pipeline.steps:
        known = list(pipeline.steps)
        raise BadCommandError(
            f"{option}: there is no step {step!r}{suggestion(step, known)}; steps: {', '.join(known)}",
            then=f"neo plan {pipeline.request}",
        )
    return step


def _check_stable(targets: Sequence[AnyStep], then: str) -> None:
    """Raises `BadCommandError` if a recipe has a value that cannot be fingerprinted, such as NaN."""
    try:
        for target in targets:
            _ = target.fingerprint
    except UnstableValueError as error:
        raise BadCommandError(str(error), then=then) from error


def _with_field(model: ModelT, path: Sequence[str], text: str) -> ModelT:
    """A copy of `model` with one field read from `text`. Raises ValueError that names field, value and type."""
    name, rest = path[0], path[1:]
    fields = type(model).model_fields
    if name not in fields:
        elsewhere: Mapping[str, str] = getattr(model, "names_elsewhere", {})
        if name in elsewhere:
            raise ValueError(f"{type(model).__name__} has no field {name!r}: {elsewhere[name]}")
        raise ValueError(
            f"{type(model).__name__} has no field {name!r}{suggestion(name, list(fields))}; "
            f"fields: {', '.join(fields) or 'none'}"
        )
    current = getattr(model, name)
    value = _inside(current, name, rest, text) if rest else _read(text, _field_type(fields[name]), name)
    values = {field: getattr(model, field) for field in fields} | {name: value}
    try:
        return type(model).model_validate(values)
    except ValidationError as error:
        raise ValueError(_complaints(error, name, text)) from error


def _inside(current: Any, name: str, rest: Sequence[str], text: str) -> Any:
    """The value of a nested field: a copy of the recipe or mapping `current` with the entry at path `rest` changed."""
    if isinstance(current, BaseModel):
        return _with_field(current, rest, text)
    if isinstance(current, Mapping) and len(rest) == 1:
        if rest[0] not in current:
            raise ValueError(
                f"{name} has no key {rest[0]!r}{suggestion(rest[0], list(current))}; keys: {', '.join(current)}"
            )
        return {**current, rest[0]: _read(text, type(current[rest[0]]), f"{name}.{rest[0]}")}
    raise ValueError(f"{name} is {current!r}, which has no fields; set {name} itself")


def _field_type(field: Any) -> Any:
    return field.annotation


def _read(text: str, wanted: Any, name: str) -> Any:
    """`text` as a value of type `wanted`: parsed as JSON if that gives the type, else taken as text.

    `0.5` for a float is 0.5, `[1, 2]` for a tuple is (1, 2), `bf16` for a choice of texts is "bf16". Raises ValueError.
    """
    adapter: TypeAdapter[Any] = TypeAdapter(wanted)
    try:
        return adapter.validate_json(text)
    except ValidationError:
        pass
    try:
        return adapter.validate_python(text)
    except ValidationError as error:
        problems = "; ".join(item["msg"] for item in error.errors(include_url=False))
        raise ValueError(f"{name} takes {_type_name(wanted)}, got {_short(text)} ({problems})") from error


def _type_name(wanted: Any) -> str:
    """A type as messages name it: `int`, or `one of "bf16", "fp32"`."""
    if isinstance(wanted, type) and not get_args(wanted):
        return wanted.__name__
    schema = TypeAdapter(wanted).json_schema()
    if "enum" in schema:
        return "one of " + ", ".join(json.dumps(item) for item in schema["enum"])
    return str(wanted).replace("typing.", "")


def _complaints(error: ValidationError, name: str, text: str) -> str:
    """What is wrong, each with its field; what is wrong with several fields together, with the one that was set."""
    return "; ".join(
        f"{'.'.join(map(str, item['loc'])) or name}: {item['msg'].removeprefix('Value error, ')}, got {_short(text)}"
        for item in error.errors(include_url=False)
    )


def _short(text: str) -> str:
    text = without_credentials(text)  # before it is cut: half of a URL is not known for one
    return repr(text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}...")
