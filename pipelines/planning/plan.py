"""What a run would do, decided before a machine is used: each step make, reuse or continue, and why.

Reads the store, writes nothing: a plan can be made at any time, and each attempt makes its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.exits import RefusedError
from pipelines.planning.progress import Progress, read_progress
from pipelines.planning.recipe_diff import Change, field_changes
from pipelines.planning.request import FrozenStep, Request
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import ManifestHead, artifact_folder, read_head
from stages.artifacts.records import InputRecord
from stages.store.errors import TornRecordError
from stages.store.refs import read_ref
from stages.store.store import Store

Action = Literal["make", "continue", "reuse"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Decision(_Frozen):
    """What a run would do with one step, and why."""

    step: str
    action: Action
    reason: str
    changes: tuple[Change, ...] = ()
    num_parts: int = 0
    num_recorded: int = 0
    at_step: int | None = None
    """The optimizer step of the last committed checkpoint, for `continue`."""


class Plan(_Frozen):
    """A request with a decision for each step, as things stand now."""

    request: Request
    decisions: tuple[Decision, ...]
    manifests: dict[str, ManifestHead]
    """Heads of the manifests that are committed now, by step."""
    allows_rollback: bool = False
    """Whether training may go on from an earlier checkpoint where the newest is damaged."""

    @property
    def to_make(self) -> tuple[str, ...]:
        """The steps that are not simply reused, inputs first."""
        return tuple(decision.step for decision in self.decisions if decision.action != "reuse")

    def decision(self, step: str) -> Decision:
        return next(decision for decision in self.decisions if decision.step == step)


def decide(request: Request, store: Store) -> Plan:
    """What is to be done now. `check_only` says whether `--only` may be carried out so."""
    decisions: dict[str, Decision] = {}
    manifests: dict[str, ManifestHead | None] = {}
    for step in request.steps:
        manifests[step.name] = _readable(store, step)
        decisions[step.name] = _decision(step, request, store, manifests, decisions)
    found = {name: manifest for name, manifest in manifests.items() if manifest is not None}
    return Plan(request=request, decisions=tuple(decisions.values()), manifests=found)


def check_only(plan: Plan, store: Store) -> None:
    """Raises `RefusedError` where `--only` was asked for and a step before it is not committed, or is outdated.

    That step alone is made, from inputs as they are committed: making an input again is not what was asked for.
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
    manifests: Mapping[str, ManifestHead | None],
    before: Mapping[str, Decision],
) -> Decision:
    manifest = manifests[step.name]
    if step.used:
        return Decision(step=step.name, action="reuse", reason="bound by --use")
    remade = sorted({source.step for source in step.inputs.values() if before[source.step].action != "reuse"})
    if outdated := _why_outdated(step, store, manifests):
        return Decision(step=step.name, action="make", reason=outdated)
    if manifest is not None and not remade:
        return Decision(step=step.name, action="reuse", reason="committed", num_parts=manifest.num_parts)
    if manifest is not None:
        return Decision(
            step=step.name, action="make", reason=f"{_listed(remade)} made again; reused if that comes out the same"
        )
    progress = read_progress(store, step.stage, step.fingerprint)
    if progress.started:
        return _continuation(step, progress)
    reason, changes = _why_made(step, request, store, remade)
    return Decision(step=step.name, action="make", reason=reason, changes=changes)


def _readable(store: Store, step: FrozenStep) -> ManifestHead | None:
    """The manifest, or None: also where it is torn, since it is then quarantined and folded again from its records."""
    try:
        return read_head(store, step.stage, step.fingerprint)
    except (TornRecordError, ValidationError):
        return None


def _recorded_inputs(step: FrozenStep, store: Store, manifest: ManifestHead | None) -> Mapping[str, InputRecord]:
    """What an artifact was made of, or, if it is not committed, what its parts so far were made of."""
    if manifest is not None:
        return manifest.inputs
    noted = store.read_json(f"{artifact_folder(step.stage, step.fingerprint)}/inputs.json") or {}
    return {name: InputRecord.model_validate(item) for name, item in noted.items()}


def _continuation(step: FrozenStep, progress: Progress) -> Decision:
    return Decision(
        step=step.name,
        action="continue",
        reason=progress.describe(),
        num_parts=progress.num_parts,
        num_recorded=progress.num_recorded,
        at_step=progress.at_step,
    )


def _why_outdated(step: FrozenStep, store: Store, manifests: Mapping[str, ManifestHead | None]) -> str:
    """Why what is there, or begun, is not of what its inputs hold now, or ''."""
    try:
        recorded = _recorded_inputs(step, store, manifests[step.name])
    except TornRecordError as error:
        return f"what its parts were made of is not known: {error}"
    for name, item in recorded.items():
        source = step.inputs.get(name)
        held = manifests.get(source.step) if source else None
        if held is not None and held.content != item.content:
            return f"{name} ({held.stage}/{held.fingerprint[:SHOWN_DIGITS]}) holds other content than it was made of"
    return ""


def _why_made(step: FrozenStep, request: Request, store: Store, remade: list[str]) -> tuple[str, tuple[Change, ...]]:
    """Compare with what the name `pipeline/step` pointed at before."""
    ref = read_ref(store, f"{request.pipeline}/{step.name}")
    if ref is None:
        return "never made", ()
    if ref["fingerprint"] == step.fingerprint:
        return f"its manifest is missing from {store.url}", ()
    previous = read_head(store, ref["stage"], ref["fingerprint"])
    if previous is None or previous.stage != step.stage:
        short = f"{ref['stage']}/{ref['fingerprint'][:SHOWN_DIGITS]}"
        return f"never made; the name pointed at {short} before", ()
    return _difference(step, previous, remade)


def _difference(step: FrozenStep, previous: ManifestHead, remade: list[str]) -> tuple[str, tuple[Change, ...]]:
    """Why this is not what the step made before."""
    if previous.number != step.number:
        return f"stage {step.stage} changed: number {previous.number} -> {step.number}", ()
    if changes := field_changes(previous.recipe, step.recipe):
        return f"its recipe changed since {previous.fingerprint[:SHOWN_DIGITS]}", changes
    if remade:
        return f"reads {_listed(remade)} made again", ()
    others = sorted(
        source.step
        for name, source in step.inputs.items()
        if name not in previous.inputs or previous.inputs[name].fingerprint != source.fingerprint
    )
    return f"reads another {', '.join(others)} than before", ()


def _listed(steps: list[str]) -> str:
    return f"{', '.join(steps)}, which {'is' if len(steps) == 1 else 'are'}"
