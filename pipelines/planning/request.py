"""Requests: a pipeline frozen as plain values, which the store keeps, a resume follows, and a run is named after.

Owns the frozen form of a pipeline, and loading stages and recipes from it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import AnyStep, Pipeline
from pipelines.planning.recipe_diff import flat_fields
from pipelines.planning.sources import PlannedSource
from pipelines.takedowns.naming import Takedowns
from stages.artifacts.fingerprint import SHOWN_DIGITS, conduct_defaults, digest
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.manifest import artifact_folder
from stages.contract import Fork, Recipe, Stage, StageCode, UserFile, load_stage, load_user_file, sources_in
from stages.store.record_kind import RecordKind
from stages.store.store import Store
from stages.training.forks import why_unfit

NO_FINGERPRINT = "-"
"""Stands for the fingerprint of a step that reads a source which is not pinned, itself or through its inputs."""
RUN_DIGITS = 8
"""Digits of the digest in a run's name, such as `tiny-3f2a9c01`."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PlannedInput(_Frozen):
    """An edge of the graph: the step that makes the input, and the stage and fingerprint of its artifact."""

    step: str
    stage: str
    fingerprint: str


class FrozenStep(_Frozen):
    """A step as plain values: enough to execute it on another machine, without the pipeline's file."""

    name: str
    """Name of the step in its pipeline."""
    import_path: str
    """Where the stage is defined, such as `stages.pack_rows:pack_rows`."""
    stage: str
    """Name of the stage."""
    number: int
    """Number of the stage's behaviour, which is part of the fingerprint."""
    makes: str
    """Kind of the artifact that the step makes, such as `Rows`."""
    recipe: dict[str, Any]
    """All fields of the recipe, defaults included."""
    fingerprint: str
    """Whole fingerprint of the artifact that the step makes."""
    inputs: dict[str, PlannedInput]
    """Input name to where the input comes from."""
    conduct_inputs: tuple[str, ...] = ()
    """Names of the inputs that take no part in the fingerprint, such as held-out rows of a training."""
    sources: tuple[str, ...] = ()
    """Names of the sources that the recipe names."""
    used: bool = False
    """Whether `--use` bound the step to a committed artifact."""
    fork: Fork | None = None
    """The checkpoint that a training begins from, as `--from` named it; None for step 0."""
    earlier: tuple[str, ...] = ()
    """Fingerprints of what the step may have made before its inputs grew, the newest first: parts are taken over."""
    remade_of: str = ""
    """Fingerprint of what the step made before something of it was taken down: parts that hold nothing of it are taken
    over. One of `earlier`; '' for another step."""
    part_by_part: str = ""
    """Name of the input of which each part is worked on alone; '' for another stage."""
    conduct: dict[str, Any] = Field(default_factory=dict)
    """Fields of the recipe that take no part in identity, nested ones with dots, each with its default."""

    code: StageCode | None = None
    """The code that takes part in the fingerprint of a stage of a user's own file; None for another, and in a plan that
    was frozen before code did."""

    @property
    def chosen_conduct(self) -> dict[str, str]:
        """The fields of `conduct` that are not at their default, and inputs that are conduct: name to JSON text."""
        defaults = dict(flat_fields(self.conduct))
        chosen = {name: text for name, text in flat_fields(self.recipe) if name in defaults and text != defaults[name]}
        return chosen | {f"inputs.{name}": json.dumps(self.inputs[name].fingerprint) for name in self.conduct_inputs}

    @property
    def identity_inputs(self) -> dict[str, PlannedInput]:
        """The inputs that what the step makes is made of."""
        return {name: item for name, item in self.inputs.items() if name not in self.conduct_inputs}

    @property
    def typed_fork(self) -> str:
        """The value of `--from` that names the checkpoint which a training begins from; '' for step 0."""
        return f"{self.name}={self.fork.short}@{self.fork.at_step}" if self.fork else ""

    @property
    def num_steps(self) -> int | None:
        """Optimizer steps until the model is handed out; None for a recipe without such a field."""
        number = self.recipe.get("hand_out") or self.recipe.get("num_steps")
        return number if isinstance(number, int) else None


class Request(_Frozen):
    """A frozen pipeline, and which of its steps are asked for. Requests of equal steps and targets are one run."""

    pipeline: str
    """Name of the pipeline."""
    request: str
    """The pipeline as it was typed: `tiny` or `path/to/file.py:function`."""
    settings: tuple[str, ...] = ()
    """The values of `--set` as they were typed."""
    until: str | None = None
    """The step of `--until`; None without the option."""
    only: str | None = None
    """The step of `--only`, whose inputs must all be committed; None without the option."""
    targets: tuple[str, ...]
    """Names of the steps that were asked for; the other steps are their ancestors."""
    steps: tuple[FrozenStep, ...]
    """The targets and their ancestors, inputs before what reads them."""
    user_file: UserFile | None = None
    """The user's file that the pipeline comes from; None for a shipped one."""
    sources: dict[str, PlannedSource] = Field(default_factory=dict)
    """The pinned sources that the steps read, by name."""
    retries: tuple[str, ...] = ()
    """The values of `--retry-rows` as they were typed."""
    takedowns: tuple[str, ...] = ()
    """The lists of all takedowns that there were when the request was frozen, by their digests."""

    @property
    def unpinned(self) -> tuple[str, ...]:
        """Names of the sources that are not pinned. Such a request can be planned, and not run."""
        named = [name for step in self.steps for name in step.sources]
        return tuple(dict.fromkeys(name for name in named if name not in self.sources))

    @property
    def run(self) -> str:
        """The run's name, such as `tiny-3f2a9c01`: the same for equal steps and targets.

        A limit such as `max_share_lost` that is not at its default makes another run of the same artifacts.
        """
        steps = {step.name: step.fingerprint for step in self.steps}
        asked = {"pipeline": self.pipeline, "steps": steps, "targets": list(self.targets), "only": bool(self.only)}
        if conduct := {step.name: step.chosen_conduct for step in self.steps if step.chosen_conduct}:
            asked["conduct"] = conduct
        return f"{self.pipeline}-{digest(asked)[:RUN_DIGITS]}"

    @property
    def command(self) -> str:
        """The command that executes this request, or continues it."""
        words = ["neo", "run", self.request]
        words += [word for setting in self.settings for word in ("--set", setting)]
        words += ["--until", self.until] if self.until else []
        words += ["--only", self.only] if self.only else []
        words += [word for text in self.retries for word in ("--retry-rows", text)]
        words += [word for step in self.steps if step.fork for word in ("--from", step.typed_fork)]
        uses = [f"{step.name}={step.fingerprint[:SHOWN_DIGITS]}" for step in self.steps if step.used]
        return shlex.join([*words, *(word for use in uses for word in ("--use", use))])

    def step(self, name: str) -> FrozenStep:
        """The step of this name."""
        return next(step for step in self.steps if step.name == name)

    def load_step(self, name: str) -> tuple[Stage[Any], Recipe]:
        """The stage and the recipe of a step, by import path. Raises ImportError, `BindError`, `ValidationError`."""
        if self.user_file is not None:
            load_user_file(self.user_file)
        step = self.step(name)
        stage = load_stage(step.import_path)
        return stage, stage.recipe_type.model_validate(step.recipe)


FROZEN_PLAN = RecordKind[Request](
    Request,
    "the frozen plan of a run",
    "put it back from a copy; without one, move it away and run the pipeline again, which continues the same run",
)


@dataclass(frozen=True)
class Selection:
    """Which steps are asked for (all, those up to `until`, or `only` one), and artifacts bound by `--use`."""

    until: str | None = None
    only: str | None = None
    uses: Mapping[str, ManifestHead] = field(default_factory=dict)
    """Step name to the committed artifact that replaces its result."""


def freeze(
    pipeline: Pipeline,
    store: Store,
    selection: Selection,
    settings: tuple[str, ...] = (),
    sources: Mapping[str, PlannedSource] | None = None,
) -> Request:
    """The pipeline as plain values, with the fingerprint of each artifact, committed or not.

    `sources` are the pinned ones; the fingerprint of a step that reads another one is `-`.

    If a stage accepts an older number and an artifact of that number is committed, its fingerprint is used, and the
    fingerprints of later steps follow from it. Example: `pack_rows` is at number 3, accepts 2, and rows of number 2 are
    committed; they are reused, and so is the training that was made from them.
    """
    steps = pipeline.steps
    target = selection.only or selection.until
    targets = (target,) if target else tuple(step.name for step in pipeline.targets)
    frozen: dict[str, FrozenStep] = {}
    takedowns = Takedowns(store)
    for name in _needed(steps, targets, selection.uses):
        used = selection.uses.get(name)
        frozen[name] = _bound_by_use(steps[name], used) if used else _frozen_step(steps[name], frozen, takedowns)
    return Request(
        pipeline=pipeline.name,
        request=pipeline.request,
        settings=settings,
        until=selection.until,
        only=selection.only,
        targets=targets,
        steps=tuple(frozen.values()),
        user_file=pipeline.user_file,
        sources={
            name: (sources or {})[name]
            for name in sorted({name for step in frozen.values() for name in step.sources})
            if name in (sources or {})
        },
        takedowns=takedowns.lists,
    )


def _needed(steps: Mapping[str, AnyStep], targets: tuple[str, ...], uses: Mapping[str, ManifestHead]) -> list[str]:
    """Names of the steps that the targets need, inputs first; without ancestors of a step that `--use` bound."""
    needed: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in uses:
            for dependency in steps[name].edges.values():
                visit(dependency.name)
        needed.setdefault(name)

    for target in targets:
        visit(target)
    return list(needed)


def _frozen_step(step: AnyStep, before: Mapping[str, FrozenStep], takedowns: Takedowns) -> FrozenStep:
    """One step as plain values. `before` has its inputs."""
    reads = {edge: before[dependency.name] for edge, dependency in step.edges.items()}
    outside = tuple(dict.fromkeys(source.name for source in sources_in(step.recipe)))
    is_named = all(source.digest is not None for source in sources_in(step.recipe)) and all(
        made.fingerprint != NO_FINGERPRINT for made in reads.values()
    )
    number, name, conduct_inputs = step.stage.number, NO_FINGERPRINT, step.stage.conduct_edges(reads)
    inputs = {edge: source.fingerprint for edge, source in reads.items()}
    extended = {edge: source.earlier for edge, source in reads.items()}
    step, remade_of = takedowns.named(step, inputs if is_named else None, extended)
    earlier = [remade_of] if remade_of else []
    if is_named:
        earlier += step.stage.earlier(step.recipe, inputs, extended)
        number, name, conduct_inputs = _name_in_store(step, inputs, takedowns.store)
        _check_fork(step, inputs)
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
        sources=outside,
        inputs={
            edge: PlannedInput(step=source.name, stage=source.stage, fingerprint=source.fingerprint)
            for edge, source in reads.items()
        },
        conduct_inputs=conduct_inputs,
        fork=step.fork,
        earlier=tuple(earlier),
        remade_of=remade_of,
        part_by_part=step.stage.part_by_part,
        conduct=conduct_defaults(step.recipe),
        code=step.stage.code,
    )


def _check_fork(step: AnyStep, inputs: Mapping[str, str]) -> None:
    """Raises `BadCommandError` where a training cannot continue from the checkpoint that `--from` names."""
    outside = step.stage.conduct_edges(inputs)
    identity = {name: made for name, made in inputs.items() if name not in outside}
    if step.fork is not None and (why := why_unfit(step.recipe, identity, step.fork)):
        raise BadCommandError(f"--from {step.name}@{step.fork.at_step}: {why}", then=f"neo show {step.fork.short}")


def _bound_by_use(step: AnyStep, manifest: ManifestHead) -> FrozenStep:
    """A step that `--use` bound to an artifact. Raises `BadCommandError` if the artifact is of another kind."""
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


def _name_in_store(step: AnyStep, inputs: Mapping[str, str], store: Store) -> tuple[int, str, tuple[str, ...]]:
    """Number and fingerprint of a step's artifact, and which inputs take no part in that fingerprint.

    Those of an accepted number where such an artifact is committed; those that every input took part in, as before
    there were inputs that do not, where such an artifact was begun. Otherwise the current ones.
    """
    stage, recipe, outside = step.stage, step.recipe, step.stage.conduct_edges(inputs)
    names = [
        (number, stage.fingerprint(recipe, inputs, number, all_inputs=not kept_out, fork=step.fork), kept_out)
        for number in (stage.number, *stage.accepts)
        for kept_out in ((outside, ()) if outside else ((),))
    ]
    if len(names) == 1:
        return names[0]
    committed = (one for one in names if read_head(store, stage.name, one[1]) is not None)
    begun = (
        one
        for one in names
        if one[0] == stage.number and store.size_bytes(f"{artifact_folder(stage.name, one[1])}/inputs.json") is not None
    )
    return next(committed, None) or next(begun, None) or names[0]
