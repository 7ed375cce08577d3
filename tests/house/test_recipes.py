"""Every recipe can be read, hashed and compared: a line under each field, frozen, and no default without a form."""

import inspect
import typing
from collections.abc import Iterator

from pydantic import BaseModel

from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import canonical_bytes
from stages.contract import Recipe, Stage, load_stage


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """The pydantic models that an annotation names, such as `ToyWorld` in `tuple[ToyWorld, ...] | None`."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in typing.get_args(annotation):
        yield from models_in(argument)


def with_nested(model: type[BaseModel]) -> list[type[BaseModel]]:
    """A model and all that its fields hold."""
    nested = [inner for field in model.model_fields.values() for inner in models_in(field.annotation)]
    return [model, *(found for inner in nested for found in with_nested(inner))]


def test_every_field_is_explained(stage_on_disk: Stage[Artifact]) -> None:
    for model in with_nested(stage_on_disk.recipe_type):
        silent = [name for name, field in model.model_fields.items() if not field.description]
        assert not silent, f"{model.__name__} says nothing under {silent}"


def test_a_recipe_is_frozen_refuses_unknown_keys_and_what_is_not_finite(stage_on_disk: Stage[Artifact]) -> None:
    assert issubclass(stage_on_disk.recipe_type, Recipe)
    for model in with_nested(stage_on_disk.recipe_type):
        assert model.model_config.get("frozen"), f"{model.__name__} can be changed after it was hashed"
        assert model.model_config.get("extra") == "forbid", f"{model.__name__} takes a misspelt field for none"
        assert model.model_config.get("allow_inf_nan") is False, f"{model.__name__} takes numbers that have no JSON"


def test_every_default_has_canonical_bytes(stage_on_disk: Stage[Artifact]) -> None:
    for model in with_nested(stage_on_disk.recipe_type):
        for name, field in model.model_fields.items():
            if not field.is_required():
                canonical_bytes({name: field.get_default(call_default_factory=True)}, model.__name__)


def test_models_that_share_a_field_carry_a_tag(stage_on_disk: Stage[Artifact]) -> None:
    """Two models under one field with equal values would have one fingerprint, unless a `Literal` tells them apart."""
    for model in with_nested(stage_on_disk.recipe_type):
        for name, field in model.model_fields.items():
            sharing = list(models_in(field.annotation))
            if len(sharing) > 1:
                tags = {tag_of(inner) for inner in sharing}
                assert None not in tags, f"{model.__name__}.{name}: one of {sharing} has no tag"
                assert len(tags) == len(sharing), f"{model.__name__}.{name}: {sharing} share a tag"


def test_a_stage_takes_recipe_artifacts_and_a_context_without_defaults(stage_on_disk: Stage[Artifact]) -> None:
    parameters = list(inspect.signature(stage_on_disk.function).parameters.values())
    assert all(parameter.default is inspect.Parameter.empty for parameter in parameters)
    assert [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY] == ["ctx"]
    assert parameters[0].name == "recipe"
    for slot in stage_on_disk.slots:
        assert all(issubclass(kind, Artifact) for kind in slot.kinds), f"{slot.name} is {slot.kinds}"


def test_a_stage_is_found_by_name_in_another_process(stage_on_disk: Stage[Artifact]) -> None:
    assert load_stage(stage_on_disk.import_path) is stage_on_disk
    assert inspect.getdoc(inspect.getmodule(stage_on_disk.function))


def tag_of(model: type[BaseModel]) -> object:
    """The one value of the model's `Literal` field, or None if it has no such field."""
    for field in model.model_fields.values():
        values = typing.get_args(field.annotation)
        if typing.get_origin(field.annotation) is typing.Literal and len(values) == 1:
            return values[0]
    return None
