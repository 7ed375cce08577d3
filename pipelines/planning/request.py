"""A pipeline as plain values: what travels, what a resume goes by, and what a run is named after.

Owns the frozen form of a pipeline and its return to stages and recipes.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import AnyStep, Pipeline, UserFile, load_user_file
from stages.artifacts.fingerprint import SHOWN_DIGITS, digest, fingerprint
from stages.artifacts.manifest import Manifest, read_head
from stages.contract import Recipe, Stage, load_stage
from stages.store.store import Store

RUN_DIGITS = 8


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedInput(_Frozen):
    """An edge of the graph: which step makes the input, and under which name it lies in the store."""

    step: str
    stage: str
    fingerprint: str


class FrozenStep(_Frozen):
    """A step as plain values: enough to carry it out on another machine, without the pipeline's file."""

    name: str
    import_path: str
    stage: str
    number: int
    makes: str
    recipe: dict[str, Any]
    """All fields of the recipe, defaults included."""
    fingerprint: str
    inputs: dict[str, PlannedInput]
    used: bool = False
    """Bound by `--use` to a committed artifact."""

    @property
    def num_steps(self) -> int | None:
        """Optimizer steps in all, where the recipe has such a field."""
        found = self.recipe.get("num_steps")
        return found if isinstance(found, int) else None


class Request(_Frozen):
    """A frozen pipeline: what a run is. Two equal requests are one run."""

    pipeline: str
    request: str
    settings: tuple[str, ...] = ()
    until: str | None = None
    """The step up to which was asked for; None for all."""
    only: str | None = None
    """The step that was asked for alone: everything it reads must be committed."""
    targets: tuple[str, ...]
    """The steps that were asked for; the others are there because these read them."""
    steps: tuple[FrozenStep, ...]
    """Inputs before what reads them."""
    user_file: UserFile | None = None

    @property
    def run(self) -> str:
        """The run's name: equal for equal steps and targets, so that asking again is the same run."""
        steps = {step.name: step.fingerprint for step in self.steps}
        asked = {"pipeline": self.pipeline, "steps": steps, "targets": list(self.targets), "only": bool(self.only)}
        return f"{self.pipeline}-{digest(asked)[:RUN_DIGITS]}"

    @property
    def command(self) -> str:
        """What to type to carry this out, or to continue it."""
        words = ["neo", "run", self.request]
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--until", self.until] if self.until else []
        words += ["--only", self.only] if self.only else []
        uses = [f"{step.name}={step.fingerprint[:SHOWN_DIGITS]}" for step in self.steps if step.used]
        return shlex.join([*words, *(word for use in uses for word in ("--use", use))])

    def step(self, name: str) -> FrozenStep:
        return next(step for step in self.steps if step.name == name)

    def load_step(self, name: str) -> tuple[Stage[Any], Recipe]:
        """The stage and the recipe of a step, found by name and read back. Loads the user's file if need be."""
        if self.user_file is not None:
            load_user_file(self.user_file)
        step = self.step(name)
        stage = load_stage(step.import_path)
        return stage, stage.recipe_type.model_validate(step.recipe)


@dataclass(frozen=True)
class Selection:
    """Which steps are asked for: all, those up to one, or one alone; and artifacts bound by hand."""

    until: str | None = None
    only: str | None = None
    uses: Mapping[str, Manifest] = field(default_factory=dict)
    """Step name to the committed artifact that is taken for it."""


def freeze(pipeline: Pipeline, store: Store, selection: Selection, settings: tuple[str, ...] = ()) -> Request:
    """The pipeline as plain values, with the fingerprints under which the store has, or will have, each artifact.

    Where a stage accepts artifacts of an older number and one is committed, its fingerprint is taken and what
    follows is named after it, so that a whole older chain stays good.
    """
    steps = pipeline.steps
    asked = selection.only or selection.until
    targets = (asked,) if asked else tuple(target.name for target in pipeline.targets)
    frozen: dict[str, FrozenStep] = {}
    for name in _needed(steps, targets, selection.uses):
        frozen[name] = _frozen_step(steps[name], frozen, store, selection.uses.get(name))
    return Request(
        pipeline=pipeline.name,
        request=pipeline.request,
        settings=settings,
        until=selection.until,
        only=selection.only,
        targets=targets,
        steps=tuple(frozen.values()),
        user_file=pipeline.user_file,
    )


def _needed(steps: Mapping[str, AnyStep], targets: tuple[str, ...], uses: Mapping[str, Manifest]) -> list[str]:
    """Names of the steps that the targets need, inputs first; nothing behind a step that is bound by hand."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in uses:
            for dependency in steps[name].edges.values():
                visit(dependency.name)
        found.setdefault(name)

    for target in targets:
        visit(target)
    return list(found)


def _frozen_step(step: AnyStep, before: Mapping[str, FrozenStep], store: Store, used: Manifest | None) -> FrozenStep:
    if used is not None:
        return _bound_by_hand(step, used)
    reads = {edge: before[dependency.name] for edge, dependency in step.edges.items()}
    number, name = _name_in_store(step, {edge: source.fingerprint for edge, source in reads.items()}, store)
    recipe = step.recipe.model_dump(mode="json")
    if type(step.recipe).model_validate(recipe) != step.recipe:
        raise BadCommandError(
            f"step {step.name!r}: its recipe does not survive being written as JSON and read back; "
            "use numbers, text, enums, tuples and nested recipes as fields",
            then="neo plan",
        )
    return FrozenStep(
        name=step.name,
        import_path=step.stage.import_path,
        stage=step.stage.name,
        number=number,
        makes=step.stage.makes.kind,
        recipe=recipe,
        fingerprint=name,
        inputs={
            edge: PlannedInput(step=source.name, stage=source.stage, fingerprint=source.fingerprint)
            for edge, source in reads.items()
        },
    )


def _bound_by_hand(step: AnyStep, manifest: Manifest) -> FrozenStep:
    if manifest.kind != step.stage.makes.kind:
        raise BadCommandError(
            f"--use {step.name}={manifest.fingerprint[:SHOWN_DIGITS]}: that is {manifest.kind} of {manifest.stage}, "
            f"the step makes {step.stage.makes.kind}",
            then="neo list",
        )
    return FrozenStep(
        name=step.name,
        import_path=step.stage.import_path,
        stage=manifest.stage,
        number=manifest.number,
        makes=manifest.kind,
        recipe=manifest.recipe,
        fingerprint=manifest.fingerprint,
        inputs={},
        used=True,
    )


def _name_in_store(step: AnyStep, inputs: Mapping[str, str], store: Store) -> tuple[int, str]:
    current = step.stage.number
    names = {
        number: fingerprint(step.stage.name, number, step.recipe, inputs) for number in (current, *step.stage.accepts)
    }
    if len(names) > 1:
        for number, name in names.items():
            if read_head(store, step.stage.name, name) is not None:
                return number, name
    return current, names[current]
