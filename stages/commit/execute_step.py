"""Execute one step: claim its artifact, run its stage, fold the records into the manifest, commit it.

The manifest is the last write. The backend decides only how the stage's four verbs are fulfilled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Protocol, TypeAlias

from pydantic import ValidationError

from stages.artifacts.artifact import describe_inputs
from stages.artifacts.manifest import (
    Manifest,
    content_digest,
    manifest_bytes,
    read_head,
    read_manifest,
)
from stages.artifacts.records import InputRecord, PartRecord, total
from stages.artifacts.versions import versions
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.inputs import open_inputs, record_inputs
from stages.commit.repair import check_same_again, is_repaired
from stages.commit.step_spec import StepSpec
from stages.contract import (
    Post,
    StageContext,
    StageError,
    StepEnded,
    StepStarted,
)
from stages.store.errors import TornRecordError
from stages.store.fault_points import fault_point

OpenContext: TypeAlias = Callable[[ArtifactWriter, Post], AbstractContextManager["RecordingContext"]]
"""A backend's context for one step, opened in the process that carries it out."""


class RecordingContext(StageContext, Protocol):
    """A context that knows which records the stage has gathered, so that they can be folded."""

    records: list[PartRecord]


def execute_step(
    spec: StepSpec, open_context: OpenContext, post: Post, stop_asked: Callable[[], bool] = lambda: False
) -> Manifest:
    """Make the step's artifact and commit it; returns the manifest that counts, ours or an earlier one.

    Waits while another attempt makes it, until `stop_asked`. What was made, or begun, from other content than the
    inputs hold now is quarantined and made again.
    """
    with spec.claimant.claim(post, stop_asked, is_made=lambda: _is_made(spec)) as claim:
        artifacts = open_inputs(spec)
        inputs = describe_inputs(artifacts)
        committed = _committed(spec, inputs)
        if committed is not None:
            post(StepEnded(step=spec.step, outcome="reused", items=committed.items))
            return committed
        if claim is None:
            raise StageError(f"step {spec.step!r}: {spec.folder} was quarantined just now; run the command again")
        post(StepStarted(step=spec.step))
        started = time.monotonic()
        writer = replace(spec.writer, claim=claim, is_repaired=is_repaired(spec.store, spec.folder))
        record_inputs(spec, inputs, writer)
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
    return head is not None and head.inputs == describe_inputs(open_inputs(spec))


def _committed(spec: StepSpec, inputs: Mapping[str, InputRecord]) -> Manifest | None:
    """The manifest over these inputs, or None.

    One that does not parse is quarantined; the records it was folded from are still there.
    """
    try:
        manifest = read_manifest(spec.store, spec.stage.name, spec.fingerprint)
    except (TornRecordError, ValidationError):
        key = f"{spec.folder}/manifest.json"
        with fault_point("record.quarantined", key):
            spec.store.quarantine(key)
        return None
    return manifest if manifest is not None and manifest.inputs == inputs else None


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
