"""Carrying out one step: from a plain spec to a committed manifest.

Owns what travels to the process that makes a step, and the fold of records into the manifest, the last write. The
backend decides only how the stage's four verbs are fulfilled.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol, TypeAlias

from pydantic import ValidationError

from stages.artifacts.artifact import Artifact, describe_inputs, open_artifact
from stages.artifacts.manifest import (
    Manifest,
    artifact_folder,
    content_digest,
    manifest_bytes,
    read_head,
    read_manifest,
)
from stages.artifacts.records import InputRecord, PartRecord, total
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.attempt import AttemptId
from stages.commit.claims import Claimant
from stages.commit.repair import check_same_again, is_repaired, quarantine_key
from stages.contract import (
    USER_FILE_PREFIX,
    Post,
    Recipe,
    Stage,
    StageContext,
    StageError,
    Step,
    StepEnded,
    StepStarted,
)
from stages.store.errors import TornRecordError
from stages.store.fault_points import fault_point
from stages.store.store import Store

PACKAGES = ("neo-pipelines", "torch", "deepspeed", "numpy", "pillow", "pyarrow", "tokenizers", "img2dataset")
"""Packages whose version can touch bytes; recorded in every manifest."""


@dataclass(frozen=True)
class StepSpec:
    """What to make, frozen at submission: plain values and the stage itself."""

    step: str
    stage: Stage[Any]
    recipe: Recipe
    fingerprint: str
    inputs: Mapping[str, tuple[str, str]]
    """Input name to (stage name, fingerprint) of the artifact it reads."""
    store: Store
    attempt: AttemptId
    provenance: Mapping[str, Any] = field(default_factory=dict)
    allows_rollback: bool = False
    """Whether training may go on from an earlier checkpoint where the newest is damaged."""
    ended_attempts: frozenset[str] = frozenset()
    """Attempts of this run that have ended: their claims are not waited for."""

    @classmethod
    def of(cls, step: Step[Any], store: Store, attempt: AttemptId) -> StepSpec:
        """The spec of a bound step whose inputs are those of the steps that it reads."""
        return cls(
            step=step.name,
            stage=step.stage,
            recipe=step.recipe,
            fingerprint=step.fingerprint,
            inputs={name: (made.stage.name, made.fingerprint) for name, made in step.edges.items()},
            store=store,
            attempt=attempt,
        )

    @property
    def user_modules(self) -> set[str]:
        """Names of the modules of a user's own file that this spec leans on: other machines do not have them."""
        names = {self.stage.function.__module__, type(self.recipe).__module__, self.stage.makes.__module__}
        return {name for name in names if name.startswith(USER_FILE_PREFIX)}

    @property
    def folder(self) -> str:
        """The artifact's key prefix."""
        return artifact_folder(self.stage.name, self.fingerprint)

    @property
    def writer(self) -> ArtifactWriter:
        """Access to the artifact, without a claim."""
        return ArtifactWriter(
            store=self.store,
            folder=self.folder,
            step=self.step,
            attempt=self.attempt,
            allows_rollback=self.allows_rollback,
        )

    @property
    def claimant(self) -> Claimant:
        return Claimant(self.store, self.folder, self.step, self.attempt, self.ended_attempts)


OpenContext: TypeAlias = Callable[[ArtifactWriter, Post], AbstractContextManager["RecordingContext"]]
"""A backend's context for one step, opened in the process that carries it out."""


class RecordingContext(StageContext, Protocol):
    """A context that knows which records the stage has gathered, so that they can be folded."""

    records: list[PartRecord]


def execute_step(
    spec: StepSpec, open_context: OpenContext, post: Post, stop_asked: Callable[[], bool] = lambda: False
) -> Manifest:
    """Make the step's artifact and commit it; returns the manifest that counts, ours or an earlier one.

    Waits while another attempt makes it, until `stop_asked`. What was made, or begun, of other content than the inputs
    hold now is moved aside and made again.
    """
    with spec.claimant.claim(post, stop_asked, is_made=lambda: _is_made(spec)) as claim:
        artifacts = _open_inputs(spec)
        inputs = describe_inputs(artifacts)
        committed = _committed(spec, inputs)
        if committed is not None:
            post(StepEnded(step=spec.step, outcome="reused", items=committed.items))
            return committed
        if claim is None:
            raise StageError(f"step {spec.step!r}: {spec.folder} was moved aside just now; run the command again")
        post(StepStarted(step=spec.step))
        started = time.monotonic()
        writer = replace(spec.writer, claim=claim, is_repaired=is_repaired(spec.store, spec.folder))
        _settle_inputs(spec, inputs, writer)
        with open_context(writer, post) as context:
            spec.stage(spec.recipe, *spec.stage.arrange(artifacts), ctx=context)
            records = tuple(context.records)
        manifest = _commit(spec, fold(spec, inputs, records), writer)
        post(StepEnded(step=spec.step, outcome="committed", items=manifest.items, seconds=time.monotonic() - started))
        return manifest


def _is_made(spec: StepSpec) -> bool:
    """Whether the artifact is committed over its inputs as they are now. Costs little where it is not."""
    try:
        head = read_head(spec.store, spec.stage.name, spec.fingerprint)
    except (TornRecordError, ValidationError):
        return False
    return head is not None and head.inputs == describe_inputs(_open_inputs(spec))


def _committed(spec: StepSpec, inputs: Mapping[str, InputRecord]) -> Manifest | None:
    """The manifest over these inputs, or None.

    One that does not parse is moved aside; the records it was folded from are still there.
    """
    try:
        manifest = read_manifest(spec.store, spec.stage.name, spec.fingerprint)
    except (TornRecordError, ValidationError):
        key = f"{spec.folder}/manifest.json"
        with fault_point("record.quarantined", key):
            spec.store.quarantine(key)
        return None
    return manifest if manifest is not None and manifest.inputs == inputs else None


def _settle_inputs(spec: StepSpec, inputs: Mapping[str, InputRecord], writer: ArtifactWriter) -> None:
    """Note what everything recorded from now on is made of; move aside what was made of something else.

    Records lie under the fingerprint, which stays the same when a lost input is made again and comes out different.
    """
    noted = {name: item.model_dump() for name, item in inputs.items()}
    key = f"{spec.folder}/inputs.json"
    if _note_inputs(spec, key, noted):
        return
    # The note goes last: killed before that, the next attempt finds it and goes on moving.
    manifest = f"{spec.folder}/manifest.json"
    outdated = [*spec.store.keys(f"{spec.folder}/records/"), *spec.store.keys(f"{spec.folder}/phases/")]
    for outdated_key in [*outdated, manifest, quarantine_key(manifest), key]:
        is_heeded = outdated_key.endswith((".json", quarantine_key("")))
        if is_heeded and spec.store.size_bytes(outdated_key) is not None:
            writer.check_claim()
            with fault_point("record.quarantined", outdated_key):
                spec.store.quarantine(outdated_key, "outdated")
    if not _note_inputs(spec, key, noted):
        raise StageError(
            f"step {spec.step!r}: another attempt makes {spec.folder} of other inputs now; run it again later"
        )


def _note_inputs(spec: StepSpec, key: str, noted: Mapping[str, Any]) -> bool:
    """Whether the note says this now, written by this call or before."""
    with fault_point("inputs.noted", key):
        ours = spec.store.create_json(key, noted)
    try:
        return ours or spec.store.read_json(key) == noted
    except TornRecordError:  # nobody knows any more what it was made of
        return False


def fold(spec: StepSpec, inputs: Mapping[str, InputRecord], records: tuple[PartRecord, ...]) -> Manifest:
    """The manifest over the records of all phases, with the item balance and the digest of the content."""
    if not records:
        raise StageError(f"step {spec.step!r}: {spec.stage.name} recorded no part, so it made nothing")
    last_phase = records[-1].phase
    return Manifest(
        kind=spec.stage.makes.kind,
        stage=spec.stage.name,
        number=spec.stage.number,
        fingerprint=spec.fingerprint,
        recipe=spec.recipe.model_dump(mode="json"),
        inputs=dict(inputs),
        parts=records,
        items=total(record.items for record in records if record.phase == last_phase),
        content=content_digest(records),
        versions=versions(),
        provenance={"run": spec.attempt.run, "attempt": str(spec.attempt), **spec.provenance},
    )


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that can touch bytes, as far as they are installed."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _open_inputs(spec: StepSpec) -> dict[str, Artifact]:
    kinds = {slot.name: slot.kinds for slot in spec.stage.slots}
    opened: dict[str, Artifact] = {}
    for name, (stage_name, fingerprint) in spec.inputs.items():
        allowed = {kind.kind: kind for kind in _with_subclasses(kinds[name.split(".", 1)[0]])}
        plain = open_artifact(spec.store, stage_name, fingerprint, Artifact)
        if plain.manifest.kind not in allowed:
            raise StageError(f"step {spec.step!r}: input {name!r} is {plain!r}, expected {sorted(allowed)}")
        opened[name] = allowed[plain.manifest.kind](spec.store, plain.manifest)
    return opened


def _with_subclasses(kinds: tuple[type[Artifact], ...]) -> list[type[Artifact]]:
    return [kind for base in kinds for kind in (base, *_with_subclasses(tuple(base.__subclasses__())))]


def _commit(spec: StepSpec, manifest: Manifest, writer: ArtifactWriter) -> Manifest:
    writer.check_claim()
    key = f"{spec.folder}/manifest.json"
    if writer.is_repaired:
        check_same_again(spec.store, key, manifest)
    with fault_point("artifact.manifest_created", key):
        ours = spec.store.create(key, manifest_bytes(manifest))
    if ours:
        return manifest
    winner = read_manifest(spec.store, spec.stage.name, spec.fingerprint)
    if winner is None:
        raise StageError(f"step {spec.step!r}: {key} vanished while it was committed; run the command again")
    return winner
