"""Forks as people type them: `--from pretrain@2000`, or `--from pretrain=REF@2000` for the training that REF names.

Owns which training is meant, finished or not, and its checkpoint of that step. Typed again once the fork has begun, the
same words mean the same fork: a step before the one at which a fork began is looked up in the training that it began
from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.catalog import AnyStep, Pipeline
from pipelines.planning.overrides import known_step
from pipelines.planning.request import FROZEN_PLAN, FrozenStep
from pipelines.runs.refs import resolve_artifact, run_named
from stages.artifacts.head import read_head
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import INPUT_RECORDS, PartRecord
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords, forkable
from stages.contract import Fork
from stages.store.errors import TornRecordError
from stages.store.record_kind import skip_unreadable
from stages.store.refs import OF_ARTIFACT, OF_RUN, read_ref
from stages.store.store import Store
from stages.training.forks import ForkOrigin, forked


def read_forks(pipeline: Pipeline, texts: Sequence[str], store: Store) -> dict[str, Fork]:
    """Step name to the checkpoint that its training is to begin from, from texts `STEP@N` or `STEP=REF@N`.

    Raises `BadCommandError` for another form or a step or REF that there is not, and `RefusedError` where no such
    checkpoint is kept.
    """
    forks: dict[str, Fork] = {}
    for text in texts:
        before, _, number = text.rpartition("@")
        name, equals, ref = before.partition("=")
        if not name or not number.isdecimal() or (equals and not ref):
            raise BadCommandError(
                f"--from {text}: write it as STEP@N, or STEP=REF@N, where N is the optimizer step of a checkpoint",
                then=f"neo plan {pipeline.request}",
            )
        if name in forks:
            raise BadCommandError(
                f"--from {text}: {name} begins from one checkpoint, and two were named",
                then=f"neo plan {pipeline.request}",
            )
        step = pipeline.steps[known_step(pipeline, name, f"--from {text}")]
        named = [_of_ref(step, ref, store)] if ref else list(_earlier(step, pipeline, store))
        if not named:
            raise RefusedError(
                f"--from {text}: {name} was never trained in {store.url}; name a training as {name}=REF@{number}",
                then="neo list",
            )
        forks[name] = _first_kept(named, step, int(number), store, f"--from {text}")
    return forks


def fork_at(store: Store, training: ForkOrigin, at_step: int, step: AnyStep) -> Fork | None:
    """The fork of a training at one of its steps, or of the one that it began from where it began at a later step.

    None where no checkpoint of that step is kept. `step` is the one that is to begin there.
    """
    training = _at_its_time(training, at_step)
    kept = {record.facts["step"]: record for record in _forkable(store, training)}
    if at_step not in kept:
        return None
    folder = artifact_folder(training.stage, training.fingerprint)
    inputs = INPUT_RECORDS.read_existing(store, f"{folder}/inputs.json")
    outside = step.stage.conduct_edges(inputs)
    return forked(training, kept[at_step], {name: item for name, item in inputs.items() if name not in outside})


def _first_kept(named: Sequence[ForkOrigin], step: AnyStep, at_step: int, store: Store, option: str) -> Fork:
    for training in named:
        if training.stage != step.stage.name:
            raise BadCommandError(
                f"{option}: {training.short} was made by another stage than {step.name!r}, which is {step.stage.name}",
                then="neo list",
            )
        if (fork := fork_at(store, training, at_step, step)) is not None:
            return fork
    raise RefusedError(
        f"{option}: no checkpoint of step {at_step:,} is kept. "
        + " ".join(_which(_at_its_time(training, at_step), store) for training in named)
        + " Older ones are deleted as `keep_last_checkpoints` and `keep_every_steps` say; without `keep_last_state`, "
        "what a training ends with is the model alone, and a step that reads it as `start` trains on with new moments",
        then=f"neo show {named[0].short}",
    )


def _which(training: ForkOrigin, store: Store) -> str:
    steps = ", ".join(f"{record.facts['step']:,}" for record in _forkable(store, training)) or "none"
    return f"Of {training.short}, steps {steps} can be begun from."


def _at_its_time(training: ForkOrigin, at_step: int) -> ForkOrigin:
    """The training that took this step: the one itself, or of a fork that began later, the one it began from."""
    while (before := training.fork) is not None and at_step <= before.at_step:
        training = ForkOrigin(before.stage, before.fingerprint, before.recipe, before.begun_from)
    return training


def _forkable(store: Store, training: ForkOrigin) -> list[PartRecord]:
    return forkable(CheckpointRecords(store, artifact_folder(training.stage, training.fingerprint)))


def _earlier(step: AnyStep, pipeline: Pipeline, store: Store) -> Iterator[ForkOrigin]:
    """What this step of the pipeline trained before: in the newest run, and the newest that was finished."""
    run = read_ref(store, pipeline.name, OF_RUN)
    if run is not None and (found := _in_plan(store, run["run"], step.name)) is not None:
        yield found
    finished = read_ref(store, f"{pipeline.name}/{step.name}", OF_ARTIFACT)
    try:
        head = read_head(store, finished["stage"], finished["fingerprint"]) if finished else None
    except TornRecordError as error:
        skip_unreadable(error)
        head = None
    if head is not None:
        yield ForkOrigin.of(head)


def _of_ref(step: AnyStep, ref: str, store: Store) -> ForkOrigin:
    """The training that a reference names: of a run, the step of this name."""
    run = run_named(store, ref)
    if run is not None:
        found = _in_plan(store, run, step.name)
        if found is None:
            raise BadCommandError(f"run {run} has no step {step.name!r}", then=f"neo show {run}")
        return found
    stage, fingerprint = resolve_artifact(store, ref)
    head = read_head(store, stage, fingerprint)
    return ForkOrigin.of(head) if head is not None else _unfinished(store, stage, fingerprint, ref)


def _unfinished(store: Store, stage: str, fingerprint: str, ref: str) -> ForkOrigin:
    """A training without a manifest, as the run planned it that committed its last checkpoint."""
    records = CheckpointRecords(store, artifact_folder(stage, fingerprint)).committed()
    run = AttemptId.parse(records[-1].made_by["attempt"]).run if records else ""
    plan = FROZEN_PLAN.read_or_skip(store, f"runs/{run}/plan.json") if run else None
    for planned in plan.steps if plan else ():
        if planned.stage == stage and planned.fingerprint.startswith(fingerprint):
            return _training(planned)
    raise RefusedError(f"{ref} has committed no checkpoint of a run whose plan is kept", then="neo list")


def _in_plan(store: Store, run: str, step: str) -> ForkOrigin | None:
    plan = FROZEN_PLAN.read_or_skip(store, f"runs/{run}/plan.json")
    return next((_training(one) for one in plan.steps if one.name == step), None) if plan else None


def _training(planned: FrozenStep) -> ForkOrigin:
    return ForkOrigin(planned.stage, planned.fingerprint, planned.recipe, planned.fork)
