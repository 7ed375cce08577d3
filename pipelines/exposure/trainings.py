"""The trainings of a store, finished or not: what each reads, leaves out and has committed.

Owns one view of both. A finished training is read from its head and its last checkpoint; of one that is not, its inputs
and records lie in its folder, and its recipe in the plan of the run that began it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pipelines.exposure.holds import EXAMINED_SLOTS, Doubts
from pipelines.lineage.graph import Node, step_name
from pipelines.planning.request import FROZEN_PLAN
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead
from stages.artifacts.learned import slot_of
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import INPUT_RECORDS, InputRecord, PartRecord
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.claims import claiming_runs
from stages.commit.recorded_facts import facts_in
from stages.contract import Fork, ReadingSteps, fork_of
from stages.store.errors import StoreError
from stages.store.store import Store
from stages.training.checkpoints.facts import SKIPPED_PHASE, SKIPPED_STEPS_PHASE
from stages.training.exposure import is_trained, left_out_of, num_steps_taken
from stages.training.forks import ROWS, course
from stages.training.skipped import LeftOutOfSteps


@dataclass(frozen=True, kw_only=True)
class KnownTraining:
    """A training over packed rows, finished or not."""

    store: Store
    stage: str
    fingerprint: str
    step: str
    """The step that makes it, as its pipeline calls it."""
    run: str
    """The run that committed it, or that last held it; '' where that is not known."""
    recipe: Mapping[str, Any]
    inputs: Mapping[str, InputRecord]
    examined_on: Mapping[str, InputRecord]
    """Inputs on which it is examined, and never trained, by name."""
    fork: Fork | None
    left_out: LeftOutOfSteps
    head: ManifestHead | None
    """None while it is not finished."""

    @property
    def short(self) -> str:
        """Stage and shown digits of the fingerprint."""
        return f"{self.stage}/{self.fingerprint[:SHOWN_DIGITS]}"

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole training, those before a fork among them."""
        return int(self.recipe.get("hand_out") or self.recipe["num_steps"])

    @property
    def first_own_step(self) -> int:
        """Steps that were taken before a fork began."""
        return self.fork.at_step if self.fork else 0

    @cached_property
    def num_taken(self) -> int:
        """Steps that are committed: all of a finished training, else those of its last checkpoint."""
        if self.head is not None:
            return self.num_steps
        committed = self.records.committed()
        return int(committed[-1].facts["step"]) if committed else self.first_own_step

    @cached_property
    def course(self) -> tuple[ReadingSteps, ...]:
        """The rows that its steps read, those before a fork included; of an unfinished one also those to come."""
        return course(self.recipe, dict(self.inputs), self.fork, self.num_steps)

    @property
    def records(self) -> CheckpointRecords:
        """Its committed checkpoints."""
        return CheckpointRecords(self.store, artifact_folder(self.stage, self.fingerprint))

    @cached_property
    def kept(self) -> tuple[PartRecord, ...]:
        """The checkpoints whose files were not deleted since, in order."""
        return tuple(self.records.kept())


def trainings_of(store: Store, nodes: Iterable[Node], doubts: Doubts) -> Iterator[KnownTraining]:
    """The trainings among these artifacts. What cannot be read of one is a doubt about it."""
    for node in nodes:
        try:
            training = _training_of(store, node)
        except StoreError as error:
            doubts.add(node.short, error)
        except KeyError as error:
            doubts.add(node.short, f"{node.short}: its recipe or its inputs lack {error}, so its steps are not known")
        else:
            if training is not None:
                yield training


def origins_of(training: KnownTraining) -> Iterator[Fork]:
    """The checkpoints that a training began from: its own, that of the training which it forks, and so on."""
    origin = training.fork
    while origin is not None:
        yield origin
        origin = origin.begun_from


def _training_of(store: Store, node: Node) -> KnownTraining | None:
    """The training that an artifact is, with its course; None for another artifact. Raises `KeyError`, `StoreError`."""
    if node.head is None:
        training = _unfinished(store, node)
    else:
        training = _finished(store, node.head) if is_trained(Artifact(store, node.head)) else None
    if training is not None:
        _ = training.course  # computed here, where a recipe without its fields is a doubt about it
    return training


def _finished(store: Store, head: ManifestHead) -> KnownTraining:
    artifact = Artifact(store, head)
    num_steps_taken(artifact)  # raises for a recipe without steps
    return KnownTraining(
        store=store,
        stage=head.stage,
        fingerprint=head.fingerprint,
        step=step_name(head),
        run=str(head.provenance.get("run", "")),
        recipe=head.recipe,
        inputs=head.inputs,
        examined_on={name: one for name, one in head.inputs.items() if slot_of(name) in EXAMINED_SLOTS},
        fork=fork_of(head),
        left_out=left_out_of(artifact),
        head=head,
    )


def _unfinished(store: Store, node: Node) -> KnownTraining | None:
    """The training whose folder this is, as the last run planned it that held it; None for another artifact."""
    folder = artifact_folder(node.stage, node.fingerprint)
    inputs = INPUT_RECORDS.read(store, f"{folder}/inputs.json") or {}
    if not any(name.startswith(ROWS) for name in inputs):
        return None
    conduct = dict[str, InputRecord]()
    for key in store.keys(f"{folder}/conduct_inputs/"):
        conduct |= INPUT_RECORDS.read(store, key) or {} if key.endswith(".json") else {}
    skipped, skipped_steps = (facts_in(store, folder, phase) for phase in (SKIPPED_PHASE, SKIPPED_STEPS_PHASE))
    for run in claiming_runs(store, folder):
        plan = None
        with suppress(StoreError):
            plan = FROZEN_PLAN.read(store, f"runs/{run}/plan.json")
        for planned in plan.steps if plan else ():
            if (planned.stage, planned.fingerprint[:SHOWN_DIGITS]) == (node.stage, node.fingerprint[:SHOWN_DIGITS]):
                if "rows_per_step" not in planned.recipe:
                    return None  # reads rows, and takes no steps over them
                return KnownTraining(
                    store=store,
                    stage=planned.stage,
                    fingerprint=planned.fingerprint,
                    step=planned.name,
                    run=run,
                    recipe=planned.recipe,
                    inputs=inputs,
                    examined_on=conduct,
                    fork=planned.fork,
                    left_out=LeftOutOfSteps.recorded(skipped, skipped_steps),
                    head=None,
                )
    raise StoreError(f"{folder} is a training that is not finished, and no run's plan says with which recipe")
