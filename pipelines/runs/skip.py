"""Leaving out an optimizer step of an unfinished training, on record: what `neo skip` does.

Owns which training a reference means, and when a step may still be left out: while no attempt is at work on it, and no
checkpoint has the step. The record lies below the training's own folder, where every later attempt reads it
(`stages/training/skipped.py`).
"""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pipelines.exits import BadCommandError, RefusedError
from pipelines.planning.progress import read_progress
from pipelines.planning.request import FrozenStep
from pipelines.runs.refs import find_run, resolve_artifact
from pipelines.runs.run import Run
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.manifest import artifact_folder, manifest_key
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.checkpoints import CheckpointRecords
from stages.commit.claims import Claimant, ClaimHeldError, claiming_runs
from stages.commit.recorded_facts import facts_in, record_fact
from stages.contract import StageError
from stages.store.errors import MissingRecordError, TornRecordError
from stages.store.store import Store
from stages.training.checkpoints.facts import SKIPPED_STEPS_PHASE, SkippedStepFacts

COMMAND = "neo-skip"
"""What stands in the place of a run in the claim that is held while a step is recorded."""


@dataclass(frozen=True)
class Training:
    """A training step of a run, finished or not."""

    run: Run
    step: FrozenStep

    @property
    def short(self) -> str:
        """The shown digits of its fingerprint."""
        return self.step.fingerprint[:SHOWN_DIGITS]

    @property
    def folder(self) -> str:
        """Key prefix of its artifact."""
        return artifact_folder(self.step.stage, self.step.fingerprint)

    @property
    def is_finished(self) -> bool:
        """Whether its artifact is committed."""
        return self.run.store.size_bytes(manifest_key(self.step.stage, self.step.fingerprint)) is not None

    @property
    def is_begun(self) -> bool:
        """Whether an attempt has begun it."""
        return bool(claiming_runs(self.run.store, self.folder))


def find_training(store: Store, ref: str) -> Training:
    """The training that `ref` means: digits of its fingerprint, `RUN/STEP` or `PIPELINE/STEP`, or a run that has only
    one that is begun and not finished. Raises `BadCommandError` where there is none, or where there are several.
    """
    before, _, name = ref.rpartition("/")
    found = [one for one in _of_run(store, before) if one.step.name == name] if before else list(_of_run(store, ref))
    if before and found:
        return found[0]
    if found:
        return _only_unfinished(ref, found)
    stage, fingerprint = resolve_artifact(store, ref)
    for run in (Run(store, run) for run in claiming_runs(store, artifact_folder(stage, fingerprint))):
        for one in _of_run(store, run.name):
            if one.step.stage == stage and one.step.fingerprint.startswith(fingerprint[:SHOWN_DIGITS]):
                return one
    raise BadCommandError(f"{ref!r} ({stage}) is no training on packed rows that a run of this store began", "neo list")


def skip_step(training: Training, step: int, reason: str) -> tuple[SkippedStepFacts, bool]:
    """Record that optimizer step `step`, counted from 1, is left out; and whether it was on record before.

    Raises `BadCommandError` for a step that the training does not have, `RefusedError` where it is finished, is being
    trained, or has committed the step. Waits until the heartbeat of a silent attempt on another machine counts as lost.
    """
    store, num_steps = training.run.store, training.step.num_steps or 0
    if not 1 <= step <= num_steps:
        raise BadCommandError(
            f"--step {step}: {training.step.name} has steps 1 to {num_steps:,}", then=f"neo show {training.run.name}"
        )
    if not reason.strip():
        raise BadCommandError("--reason must say why, for those who ask later", then="neo skip --help")
    attempt = AttemptId(COMMAND, os.getpid())
    claimant = Claimant(
        store, training.folder, training.step.name, attempt, training.run.ended_attempts(training.run.num_attempts)
    )
    try:
        with claimant.claim_of_ended() as claim:
            _check(training, step)
            known = (SkippedStepFacts.of(record) for record in facts_in(store, training.folder, SKIPPED_STEPS_PHASE))
            if before := next((one for one in known if one.step == step), None):
                return before, True
            now = datetime.now(UTC).isoformat(timespec="seconds")
            facts = SkippedStepFacts(step=step, reason=reason.strip(), by=_who(), at=now)
            writer = ArtifactWriter(store, training.folder, training.step.name, attempt, claim)
            record_fact(writer, SKIPPED_STEPS_PHASE, facts.dump())
            return facts, False
    except ClaimHeldError as error:
        raise RefusedError(
            f"{training.step.name} is being trained: {error}. A step is left out between two attempts",
            then=f"neo cancel {error.holder.run}",
        ) from error


def _check(training: Training, step: int) -> None:
    """Raise `RefusedError` where the step can no longer be left out."""
    if training.is_finished:
        raise RefusedError(
            f"{training.step.name} ({training.short}) is finished; what it was trained on stays as it is",
            then=f"neo show {training.short}",
        )
    latest = CheckpointRecords(training.run.store, training.folder).latest()
    begun_at = training.step.fork.at_step if training.step.fork else 0
    at_step = begun_at if latest is None else latest.facts["step"]
    if step <= at_step:
        raise RefusedError(
            f"step {step} of {training.step.name} is committed: its checkpoint at step {at_step} was trained on it, "
            f"and only steps after {at_step} can be left out",
            then=f"neo show {training.run.name}",
        )


def _of_run(store: Store, ref: str) -> Iterator[Training]:
    """The steps of the run that a reference names that train on packed rows; none where it names no run."""
    try:
        run = find_run(store, ref)
        steps = run.request.steps
    except (BadCommandError, MissingRecordError, TornRecordError, StageError):
        return
    yield from (Training(run, step) for step in steps if step.num_steps and "rows_per_step" in step.recipe)


def _only_unfinished(ref: str, trainings: list[Training]) -> Training:
    open_ones = [one for one in trainings if one.is_begun and not one.is_finished]
    if len(open_ones) == 1:
        return open_ones[0]
    if not open_ones:
        raise BadCommandError(f"no training of {ref!r} is begun and not finished", then=f"neo show {ref}")
    listed = ", ".join(
        f"{ref}/{one.step.name} ({read_progress(one.run.store, one.step.stage, one.step.fingerprint).describe()})"
        for one in open_ones
    )
    raise BadCommandError(f"{ref!r} has several that are begun and not finished: {listed}", then="neo skip --help")


def _who() -> str:
    """The user and host of this process, as the record has them."""
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container without a name for its user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"
