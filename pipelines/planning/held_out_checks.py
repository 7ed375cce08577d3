"""What a plan says, before anything is made, of training on what a model is then measured on.

Owns two remarks. A draw for training from which nothing is held out: it leaves out the samples that are bound to its
`heldout`, and where nothing is bound, a score says less than it seems to. An evaluation whose questions or pairs
come from samples that a training drew from, which `evaluate` refuses when it begins: the same rule, applied to the
graph of the plan and to heads of what is committed, some dozens of a few KB, so that a run is refused before it costs
anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from pipelines.exits import RefusedError
from pipelines.planning.request import NO_FINGERPRINT, FrozenStep, PlannedInput, Request
from stages.artifacts.ancestry import ancestry_of
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.learned import KEPT_OUT_INPUTS, slot_of
from stages.artifacts.records import InputRecord
from stages.evaluation.trained_on import MENDED_BY, seen_in_training
from stages.store.errors import StoreError
from stages.store.store import Store

DRAWING_STAGE = "mix_samples"
ASKING_STAGE = "evaluate"
MEASURED_INPUTS: Final = ("questions", "pairs")
"""Inputs of an evaluation that may hold nothing of what its checkpoint was trained on."""


@dataclass(frozen=True)
class _Read:
    """What a planned step reads: the fingerprint, or the name of the step that makes it, where it has none yet."""

    fingerprint: str


@dataclass(frozen=True)
class _Planned:
    """A step of a plan as an artifact of a lineage."""

    step: str
    stage: str
    kind: str
    fingerprint: str
    inputs: Mapping[str, _Read | InputRecord]
    identity_inputs: Mapping[str, _Read | InputRecord]


_AnyAncestor: TypeAlias = _Planned | ManifestHead


def holds_nothing_out(step: FrozenStep) -> bool:
    """Whether a step draws samples to train on and has nothing bound that it leaves out."""
    if step.stage != DRAWING_STAGE or step.recipe.get("purpose") != "train":
        return False
    return not any((step.stage, slot_of(name)) in KEPT_OUT_INPUTS for name in step.inputs)


def asked_about_training(request: Request, to_make: Iterable[str], store: Store) -> dict[str, str]:
    """Evaluation to the sentence that says which draw of the training may hold the samples of its questions or pairs.

    Of the steps `to_make` alone, and without those that allow it. A lineage of which heads are missing tells nothing.
    """
    asking = [step for name in to_make if _refuses(step := request.step(name))]
    if not asking:
        return {}
    try:
        lineage = _lineage(request, store)
    except StoreError:
        return {}
    remarks = {}
    for step in asking:
        if told := [*_seen(step, lineage)]:
            remarks[step.name] = "; ".join(told)
    return remarks


def _seen(step: FrozenStep, lineage: Mapping[str, _AnyAncestor]) -> Iterator[str]:
    """A sentence for each input of an evaluation whose samples the training of its checkpoint drew from."""
    read = {name: _key(item.step, item.fingerprint) for name, item in step.inputs.items()}
    for name in MEASURED_INPUTS:
        found = seen_in_training(lineage, read["checkpoint"], read[name]) if name in read else None
        if found is not None:
            drawn, source = map(_shown, found)
            yield (
                f"{step.inputs['checkpoint'].step} is trained on what {step.inputs[name].step}, bound to {name}, asks "
                f"about: {drawn} draws from {source} and does not hold the {name} out"
            )


def refuse_asked_about_training(remarks: Mapping[str, str], pipeline: str) -> None:
    """Raise `RefusedError` where an evaluation would refuse its questions once everything before it is made."""
    for step, remark in remarks.items():
        raise RefusedError(
            f"{step}: {remark}. {MENDED_BY} (--set {step}.allow_trained_on=true)", then=f"neo plan {pipeline}"
        )


def _refuses(step: FrozenStep) -> bool:
    return step.stage == ASKING_STAGE and not step.used and not step.recipe.get("allow_trained_on")


def _lineage(request: Request, store: Store) -> dict[str, _AnyAncestor]:
    """Everything that the steps of a request are made from, by fingerprint or, without one, by the name of the step."""
    lineage: dict[str, _AnyAncestor] = {}
    for step in request.steps:
        before = dict(step.fork.inputs) if step.fork is not None else {}
        committed = [(step.stage, step.fingerprint)] if step.used else []
        committed += [(item.stage, item.fingerprint) for item in before.values() if item.fingerprint not in lineage]
        for stage, fingerprint in committed:
            if (head := read_head(store, stage, fingerprint)) is None:
                raise StoreError(f"{stage}/{fingerprint[:SHOWN_DIGITS]} is not in {store.url}")
            lineage |= {one.fingerprint: one for one in ancestry_of(store, head) if one.fingerprint not in lineage}
        if not step.used:
            planned = _planned(step, before)
            lineage[planned.fingerprint] = planned
    return lineage


def _planned(step: FrozenStep, before: Mapping[str, InputRecord]) -> _Planned:
    earlier = {f"before.{name}": item for name, item in before.items()}
    return _Planned(
        step=step.name,
        stage=step.stage,
        kind=step.makes,
        fingerprint=_key(step.name, step.fingerprint),
        inputs=_reads(step.inputs) | earlier,
        identity_inputs=_reads(step.identity_inputs) | earlier,
    )


def _reads(inputs: Mapping[str, PlannedInput]) -> dict[str, _Read | InputRecord]:
    return {name: _Read(_key(item.step, item.fingerprint)) for name, item in inputs.items()}


def _key(step: str, fingerprint: str) -> str:
    return step if fingerprint == NO_FINGERPRINT else fingerprint


def _shown(one: _AnyAncestor) -> str:
    return one.step if isinstance(one, _Planned) else f"{one.stage}/{one.fingerprint[:SHOWN_DIGITS]}"
