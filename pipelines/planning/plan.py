"""The plan of a run, decided before a machine is used: make, continue or reuse for each step, with the reason.

Reads the store and writes nothing. Each attempt decides again: a frozen request keeps no actions.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict

from pipelines.exits import RefusedError
from pipelines.planning.code_diff import code_change, kept_texts
from pipelines.planning.held_out_checks import asked_about_training
from pipelines.planning.progress import Progress, read_progress
from pipelines.planning.recipe_diff import Change, field_changes
from pipelines.planning.request import NO_FINGERPRINT, FrozenStep, Request
from pipelines.planning.unused_steps import UnusedSteps, unused_steps
from pipelines.takedowns.naming import made_before, num_taken_down
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import INPUT_RECORDS, InputRecord
from stages.artifacts.taken_over import EXTENDS_INPUT
from stages.contract import StageCode
from stages.store.errors import TornRecordError
from stages.store.record_kind import skip_unreadable
from stages.store.refs import OF_ARTIFACT, read_ref
from stages.store.store import Store

NEVER_MADE = "never made"
"""Reason of a step of which the store has no artifact under its name."""
STEPS_AT_A_TIME = 16
"""Steps that are read in parallel."""
Action = Literal["make", "continue", "reuse"]
"""`make`: execute the step from the start. `continue`: execute what its records lack. `reuse`: it is committed."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Frozen):
    """What a run would do with one step, and why."""

    step: str
    action: Action
    reason: str
    """Why this action, for people, such as `never made`."""
    changes: tuple[Change, ...] = ()
    """The recipe fields that changed since the step was last made."""
    num_parts: int = 0
    """Parts listed so far, in all phases; of a committed artifact, the parts of its manifest."""
    num_recorded: int = 0
    """Parts that are recorded already, for `continue`."""
    at_step: int | None = None
    """The optimizer step of the checkpoint that training begins from: its last committed one, or that of the training
    which it forks; None without one."""
    taken_from: str = ""
    """The artifact of which the step takes parts over by reference, such as `filter_pairs/3f2a9c01d4e5`; or ''."""
    num_taken: int = 0
    """Parts of that artifact: all of those are taken over whose rows did not change."""
    unused: UnusedSteps | None = None
    """Committed steps of an earlier training that this one does not continue; None without any."""
    trained_on: str = ""
    """Why an evaluation would refuse its questions: which draw of the training may hold their samples; '' if it would
    not."""


class Plan(_Frozen):
    """A request with a decision for each step, from the store as it was when the plan was made."""

    request: Request
    decisions: tuple[Decision, ...]
    manifests: dict[str, ManifestHead]
    """Step to the head of its manifest, for steps with a readable manifest."""
    allows_rollback: bool = False
    """Whether training may continue from an earlier checkpoint if the newest is damaged."""

    @property
    def unused(self) -> dict[str, UnusedSteps]:
        """Training step to the committed optimizer steps of an earlier one that it would not use."""
        return {decision.step: decision.unused for decision in self.decisions if decision.unused is not None}

    @property
    def trained_on(self) -> dict[str, str]:
        """Evaluation that would refuse its questions to why, as a sentence."""
        return {decision.step: decision.trained_on for decision in self.decisions if decision.trained_on}

    @property
    def to_make(self) -> tuple[str, ...]:
        """Names of the steps to make or continue, inputs first."""
        return tuple(decision.step for decision in self.decisions if decision.action != "reuse")

    def decision(self, step: str) -> Decision:
        """The decision for the step of this name."""
        return next(decision for decision in self.decisions if decision.step == step)


def decide(request: Request, store: Store) -> Plan:
    """The plan for a request, from the store as it is now. With `--only`, call `check_only` before executing it."""
    decisions: dict[str, Decision] = {}
    read = _read_all(request, store)
    manifests = {name: of_step.manifest for name, of_step in read.items()}
    for step in request.steps:
        decisions[step.name] = _decision(step, request, store, read, decisions)
    to_make = [name for name, decision in decisions.items() if decision.action != "reuse"]
    for name, remark in asked_about_training(request, to_make, store).items():
        decisions[name] = decisions[name].model_copy(update={"trained_on": remark})
    readable = {name: manifest for name, manifest in manifests.items() if manifest is not None}
    return Plan(request=request, decisions=tuple(decisions.values()), manifests=readable)


@dataclass(frozen=True)
class _Read:
    """What the store has of one step, before it is decided what to do with it."""

    manifest: ManifestHead | None
    progress: Progress | None
    """Progress of an artifact without a manifest; None if there is a manifest, or nothing to look for."""
    recorded_inputs: Mapping[str, InputRecord]
    fault: str
    """Why the recorded inputs cannot be read; '' if they can."""


def _read_all(request: Request, store: Store) -> dict[str, _Read]:
    """What the store has of each step, by step: side by side where each reading takes round trips."""
    if store.folder is not None:
        return {step.name: _read(step, request, store) for step in request.steps}
    with ThreadPoolExecutor(STEPS_AT_A_TIME) as pool:
        found = pool.map(lambda step: _read(step, request, store), request.steps)
        return {step.name: of_step for step, of_step in zip(request.steps, found, strict=True)}


def _read(step: FrozenStep, request: Request, store: Store) -> _Read:
    manifest = _readable(store, step)
    if step.used or _why_unnamed(step, request):
        return _Read(manifest, None, {}, "")
    progress = read_progress(store, step.stage, step.fingerprint) if manifest is None else None
    try:
        return _Read(manifest, progress, _recorded_inputs(step, store, manifest), "")
    except TornRecordError as error:
        return _Read(manifest, progress, {}, f"the inputs of its parts are not known: {error}")


def check_only(plan: Plan, store: Store) -> None:
    """Raises `RefusedError` if the plan is for `--only` and an input of that step is not committed, or is outdated.

    `--only` executes one step, from inputs as they are committed; it never makes an input again.
    """
    target = plan.request.only
    not_reused = [one for one in plan.decisions if one.step != target and one.action != "reuse"]
    if target is None or not not_reused:
        return
    missing = [one.step for one in not_reused if one.step not in plan.manifests]
    outdated = [f"{one.step} ({one.reason})" for one in not_reused if one.step in plan.manifests]
    problem = f"{', '.join(missing)}, not committed in {store.url}" if missing else f"outdated: {', '.join(outdated)}"
    raise RefusedError(
        f"--only {target}: it reads {problem}",
        then=plan.request.model_copy(update={"only": None, "until": target}).command,
    )


def _decision(
    step: FrozenStep,
    request: Request,
    store: Store,
    read: Mapping[str, _Read],
    before: Mapping[str, Decision],
) -> Decision:
    """The decision for one step. `before` has the decisions for the steps before it."""
    manifest, progress = read[step.name].manifest, read[step.name].progress
    if step.used:
        return Decision(step=step.name, action="reuse", reason="bound by --use")
    made_of = step.identity_inputs.values()
    remade = sorted({source.step for source in made_of if before[source.step].action != "reuse"})
    if reason := _why_unnamed(step, request) or _why_outdated(step, read):
        return Decision(step=step.name, action="make", reason=reason)
    if manifest is not None and not remade:
        return Decision(step=step.name, action="reuse", reason="committed", num_parts=manifest.num_parts)
    if manifest is not None:
        return Decision(
            step=step.name, action="make", reason=f"{_listed(remade)} made again; reused if its content is the same"
        )
    if progress is not None and progress.started:
        return _continuation(step, progress)
    return _beginning(step, request, store, remade)


def _beginning(step: FrozenStep, request: Request, store: Store, remade: list[str]) -> Decision:
    """The decision for a step of which nothing is recorded: from the start, or from the checkpoint that it forks."""
    if step.fork is not None:
        changes, at_step = field_changes(step.fork.recipe, step.recipe, without=step.conduct), step.fork.at_step
        return Decision(step=step.name, action="make", reason=str(step.fork), changes=changes, at_step=at_step)
    reason, changes = _why_without(step, store) or _why_made(step, request, store, remade)
    unused, taken = unused_steps(step, request.pipeline, store), _taken_from(step, store)
    if taken is None:
        return Decision(step=step.name, action="make", reason=reason, changes=changes, unused=unused)
    name, number = f"{taken.stage}/{taken.fingerprint[:SHOWN_DIGITS]}", taken.last_phase.num_parts
    return Decision(
        step=step.name,
        action="make",
        reason=f"{reason}; takes over the unchanged ones of {number:,} parts of {name}",
        changes=changes,
        taken_from=name,
        num_taken=number,
        unused=unused,
    )


def _why_without(step: FrozenStep, store: Store) -> tuple[str, tuple[Change, ...]] | None:
    """The reason of a step that is made again because something that it made is taken down; None for another."""
    before = made_before(store, step.stage, step.remade_of)
    if before is None:
        return None
    number = num_taken_down(store, before, step.recipe)
    of_inputs = "" if number else " of what it reads"
    return f"{f'{number:,} of its' if number else 'some'} samples{of_inputs} are taken down", ()


def _taken_from(step: FrozenStep, store: Store) -> ManifestHead | None:
    """The artifact of which a step takes parts over by reference; None where there is none yet."""
    if (before := made_before(store, step.stage, step.remade_of)) is not None:
        return before
    extended = step.inputs.get(EXTENDS_INPUT)
    names = [(step.stage, one) for one in step.earlier] if step.part_by_part else []
    for stage, fingerprint in [(extended.stage, extended.fingerprint)] if extended is not None else names:
        try:
            head = read_head(store, stage, fingerprint)
        except TornRecordError as error:
            skip_unreadable(error)
            continue
        if head is not None and head.phases:
            return head
    return None


def _why_unnamed(step: FrozenStep, request: Request) -> str:
    """Why a step has no fingerprint yet, as a phrase; '' if it has one."""
    if step.fingerprint != NO_FINGERPRINT:
        return ""
    unpinned = [name for name in step.sources if name not in request.sources]
    if unpinned:
        return f"source {', '.join(unpinned)} is not pinned"
    behind = sorted({item.step for item in step.inputs.values() if item.fingerprint == NO_FINGERPRINT})
    return f"reads {', '.join(behind)}, of a source that is not pinned"


def _readable(store: Store, step: FrozenStep) -> ManifestHead | None:
    """The head of a manifest. None if it is missing or torn: a torn one is folded again from the records."""
    try:
        return read_head(store, step.stage, step.fingerprint)
    except TornRecordError:
        return None


def _recorded_inputs(step: FrozenStep, store: Store, manifest: ManifestHead | None) -> Mapping[str, InputRecord]:
    """The inputs that a manifest records; without a manifest, those that `inputs.json` records for the parts so far."""
    if manifest is not None:
        return manifest.inputs
    return INPUT_RECORDS.read(store, f"{artifact_folder(step.stage, step.fingerprint)}/inputs.json") or {}


def _continuation(step: FrozenStep, progress: Progress) -> Decision:
    return Decision(
        step=step.name,
        action="continue",
        reason=progress.describe() + (f", {step.fork}" if step.fork else ""),
        num_parts=progress.num_parts,
        num_recorded=progress.num_recorded,
        at_step=progress.at_step,
    )


def _why_outdated(step: FrozenStep, read: Mapping[str, _Read]) -> str:
    """Why an artifact, finished or not, is outdated: the content of an input is not the recorded one. '' if it is.

    A download that is made again under the same fingerprint may have other content; what was made from the first one
    is then outdated.
    """
    if read[step.name].fault:
        return read[step.name].fault
    for name, item in read[step.name].recorded_inputs.items():
        source = step.identity_inputs.get(name)
        current = read[source.step].manifest if source and source.step in read else None
        if current is not None and current.content != item.content:
            return (
                f"{name} ({current.stage}/{current.fingerprint[:SHOWN_DIGITS]}) holds other content than it was made of"
            )
    return ""


def _why_made(step: FrozenStep, request: Request, store: Store, remade: list[str]) -> tuple[str, tuple[Change, ...]]:
    """Reason and changed fields of a step to make, against the artifact that the name `pipeline/step` points at."""
    ref = read_ref(store, f"{request.pipeline}/{step.name}", OF_ARTIFACT)
    if ref is None:
        return NEVER_MADE, ()
    if ref["fingerprint"] == step.fingerprint:
        return f"its manifest is missing from {store.url}", ()
    try:
        previous = read_head(store, ref["stage"], ref["fingerprint"])
    except TornRecordError as error:
        skip_unreadable(error)
        previous = None
    if previous is None or previous.stage != step.stage:
        short = f"{ref['stage']}/{ref['fingerprint'][:SHOWN_DIGITS]}"
        return f"never made; the name pointed at {short} before", ()
    if previous.number == step.number and step.code is not None and (code := _code_of(previous)) != step.code:
        (text, *_) = previous.provenance.get("code_texts", []) or [""]
        change = code_change(step.stage, code, step.code, kept_texts(store, text) if text else {}, request.user_file)
        return change, field_changes(previous.recipe, step.recipe, without=step.conduct)
    return _difference(step, previous, remade)


def _code_of(manifest: ManifestHead) -> StageCode | None:
    """The code of a user's stage that made an artifact; None for another stage, and before code was recorded."""
    code = manifest.provenance.get("code")
    return StageCode(**code) if code else None


def _difference(step: FrozenStep, previous: ManifestHead, remade: list[str]) -> tuple[str, tuple[Change, ...]]:
    """Reason and changed fields: how a step differs from `previous`, the artifact that it made before."""
    if previous.number != step.number:
        return f"stage {step.stage} changed: number {previous.number} -> {step.number}", ()
    if changes := field_changes(previous.recipe, step.recipe, without=step.conduct):
        return f"its recipe changed since {previous.fingerprint[:SHOWN_DIGITS]}", changes
    if remade:
        return f"reads {_listed(remade)} made again", ()
    others = sorted(
        source.step
        for name, source in step.identity_inputs.items()
        if name not in previous.inputs or previous.inputs[name].fingerprint != source.fingerprint
    )
    return f"reads another {', '.join(others)} than before", ()


def _listed(steps: list[str]) -> str:
    """The beginning of a sentence: `kept, which is`, or `kept, text, which are`."""
    return f"{', '.join(steps)}, which {'is' if len(steps) == 1 else 'are'}"
