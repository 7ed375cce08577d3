"""One side of a comparison: the steps behind an artifact, or those of a run, each with its head where it is committed.

Reads heads, many at a time, and the frozen plan of a run. A step of a run that is not committed has its recipe alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from pipelines.lineage.graph import Node, lineage_of, step_name
from pipelines.planning.request import FrozenStep
from pipelines.runs.refs import resolve
from pipelines.runs.run import Run
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.kinds import Evaluation
from stages.contract import fork_of
from stages.store.errors import StoreError
from stages.store.store import Store

RUN_KIND = "run"
"""Kind of a side that is a run."""
EVALUATING_STAGE = "evaluate"
"""The stage whose artifacts are looked through for evaluations of a model."""


@dataclass(frozen=True)
class ComparedStep:
    """A step of one side."""

    step: str
    """Name of the step in its pipeline."""
    stage: str
    fingerprint: str
    recipe: Mapping[str, Any]
    number: int
    """Number of the stage's behaviour."""
    reads: Mapping[str, str]
    """Input name to the fingerprint of what is read."""
    head: ManifestHead | None
    """None where it is not committed, or cannot be read."""
    begins: str = ""
    """The checkpoint of another training that it begins from, in words; '' for step 0."""

    @property
    def short(self) -> str:
        """Stage and shown digits of the fingerprint, such as `pack_rows/3f2a9c01d4e5`."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"


@dataclass(frozen=True)
class Side:
    """What is compared with another of its kind."""

    ref: str
    """The reference as it was typed."""
    name: str
    """A run's name, or stage and shown digits of an artifact."""
    kind: str
    """`run`, or the kind of the artifact."""
    steps: tuple[ComparedStep, ...]
    """Inputs before what reads them."""
    evaluations: tuple[ComparedStep, ...]
    """Committed evaluations on this side, or of the model that it is."""
    settings: tuple[str, ...] = ()
    """The values of `--set` of a run."""

    def step_of(self, fingerprint: str) -> str:
        """The step that makes an artifact, by name; its shown digits where it is not on this side."""
        named = (one.step for one in self.steps if one.fingerprint == fingerprint)
        return next(named, fingerprint[:SHOWN_DIGITS])


def side_of(store: Store, ref: str) -> Side:
    """The side that a reference names. Raises `BadCommandError` if it names nothing, or nothing that is committed."""
    found = resolve(store, ref)
    if found.run is not None:
        return _of_run(found.run, ref)
    assert found.artifact is not None
    lineage = lineage_of(store, found.artifact.stage, found.artifact.fingerprint)
    steps = tuple(map(_of_node, lineage.nodes))
    head = found.artifact.head
    measured = steps[-1:] if head.kind == Evaluation.kind else _evaluations_of(store, head)
    return Side(ref, steps[-1].short, head.kind, steps, measured)


def _of_run(run: Run, ref: str) -> Side:
    heads = run.store.each(lambda step: _head(run.store, step), run.request.steps)
    steps = tuple(_planned(step, head) for step, head in zip(run.request.steps, heads, strict=True))
    evaluations = tuple(step for step in steps if step.head is not None and step.head.kind == Evaluation.kind)
    return Side(ref, run.name, RUN_KIND, steps, evaluations, run.request.settings)


def _planned(step: FrozenStep, head: ManifestHead | None) -> ComparedStep:
    return ComparedStep(
        step=step.name,
        stage=step.stage,
        fingerprint=step.fingerprint,
        recipe=step.recipe,
        number=step.number,
        reads={name: item.fingerprint for name, item in step.inputs.items()},
        head=head,
        begins=str(step.fork or ""),
    )


def _of_node(node: Node) -> ComparedStep:
    if node.head is not None:
        return replace(_committed(node.head), reads=node.inputs)
    return ComparedStep(
        step=node.stage,
        stage=node.stage,
        fingerprint=node.fingerprint,
        recipe={},
        number=0,
        reads=node.inputs,
        head=None,
    )


def _committed(head: ManifestHead) -> ComparedStep:
    return ComparedStep(
        step=step_name(head),
        stage=head.stage,
        fingerprint=head.fingerprint,
        recipe=head.recipe,
        number=head.number,
        reads={name: item.fingerprint for name, item in head.inputs.items()},
        head=head,
        begins=str(fork_of(head) or ""),
    )


def _head(store: Store, step: FrozenStep) -> ManifestHead | None:
    try:
        return read_head(store, step.stage, step.fingerprint)
    except StoreError:
        return None


def _evaluations_of(store: Store, model: ManifestHead) -> tuple[ComparedStep, ...]:
    """The evaluations in the store that asked a model, found by a listing of them and a few KB for each."""
    if not model.holds_model:
        return ()

    def read(name: str) -> ManifestHead | None:
        try:
            return read_head(store, EVALUATING_STAGE, name)
        except StoreError:
            return None

    heads = store.each(read, store.folders(f"artifacts/{EVALUATING_STAGE}/"))
    asked = (head for head in heads if head is not None and "checkpoint" in head.inputs)
    return tuple(_committed(head) for head in asked if head.inputs["checkpoint"].fingerprint == model.fingerprint)
