"""Execute one step: claim its artifact, run its stage, fold the records into the manifest, commit it.

The creation of the manifest is the commit; its head is written after it, by the attempt that created it. Killed in
between, the head is missing: it is computed from the manifest whenever it is read, until an attempt of a run that
reuses the artifact writes it (`complete_head`). The backend decides only how the stage's four verbs are fulfilled.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, replace
from typing import Any, Protocol, TypeAlias

from stages.artifacts.artifact import Artifact, describe_inputs
from stages.artifacts.head import ManifestHead, check_head, head_bytes, head_key, head_of, read_head
from stages.artifacts.manifest import (
    FORK,
    Manifest,
    ManifestFields,
    content_digest,
    manifest_bytes,
    manifest_key,
    read_manifest,
)
from stages.artifacts.records import InputRecord, PartRecord, total
from stages.artifacts.taken_over import TAKEN_FROM, unchanged_parts
from stages.artifacts.versions import versions
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.checkpoints import begin_fork
from stages.commit.claims import check_not_deleted
from stages.commit.inputs import (
    all_inputs,
    identity_inputs,
    open_inputs,
    record_conduct_inputs,
    record_inputs,
    with_inputs_before,
)
from stages.commit.phase_records import DIGESTS, recorded_digests
from stages.commit.repair import check_same_again, is_repaired
from stages.commit.step_spec import StepSpec
from stages.contract import (
    Post,
    SourcePlace,
    StageContext,
    StageError,
    StepEnded,
    StepStarted,
)
from stages.store.errors import StoreError, TornRecordError
from stages.store.fault_points import fault_point
from stages.store.store import Store

logger = logging.getLogger(__name__)

OpenContext: TypeAlias = Callable[[ArtifactWriter, Post], AbstractContextManager["RecordingContext"]]
"""A backend's context for one step, opened in the process that carries it out."""


class RecordingContext(StageContext, Protocol):
    """A context that knows which records the stage has gathered, so that they can be folded."""

    records: list[PartRecord]
    places: Mapping[str, SourcePlace]
    """Source name to where its files lie."""
    phases: tuple[str, ...] | None
    """Phases that the stage declares; None: it declares none, and may name any."""
    unchanged: Mapping[str, Sequence[PartRecord]]
    """Phase to the records of parts that an earlier make has of rows that did not change."""
    before: Artifact | None
    """What the stage made of the same recipe under fewer takedowns."""


def execute_step(
    spec: StepSpec, open_context: OpenContext, post: Post, stop_asked: Callable[[], bool] = lambda: False
) -> Manifest:
    """Make the step's artifact and commit it; returns the manifest that counts, ours or an earlier one.

    Waits while another attempt makes it, until `stop_asked`. What was made, or begun, from other content than the
    inputs hold now is quarantined and made again.
    """
    with spec.claimant.claim(post, stop_asked, is_made=lambda: _is_made(spec)) as claim:
        artifacts = open_inputs(spec)
        inputs = with_inputs_before(spec, describe_inputs(artifacts))
        committed = _committed(spec, inputs)
        if committed is not None:
            post(StepEnded(step=spec.step, outcome="reused", items=committed.items))
            return committed
        if claim is None:
            raise StageError(f"step {spec.step!r}: {spec.folder} was quarantined just now; run the command again")
        check_not_deleted(spec.store, spec.folder, spec.step)
        post(StepStarted(step=spec.step))
        started = time.monotonic()
        writer = replace(spec.writer, claim=claim, is_repaired=is_repaired(spec.store, spec.folder))
        record_inputs(spec, identity_inputs(spec, inputs), writer)
        record_conduct_inputs(spec, inputs, writer)
        begin_fork(writer)
        with open_context(writer, post) as context:
            context.places, context.phases = spec.places, spec.stage.phases
            context.unchanged = _unchanged(spec, artifacts, writer)
            context.before = _made_before(spec)
            spec.stage(spec.recipe, *spec.stage.arrange(artifacts), ctx=context)
            records = tuple(context.records)
        manifest = _commit(spec, fold(spec, inputs, records), writer)
        post(StepEnded(step=spec.step, outcome="committed", items=manifest.items, seconds=time.monotonic() - started))
        return manifest


def _unchanged(
    spec: StepSpec, artifacts: Mapping[str, Artifact], writer: ArtifactWriter
) -> Mapping[str, Sequence[PartRecord]]:
    """Phase to the parts that can be taken over from what the stage made before its input grew.

    None while damage is repaired: the damaged file may be one that was taken over. None either where what was made
    before, or an artifact that it was made of, is gone or cannot be read: taking over only saves work.
    """
    if not spec.stage.part_by_part or writer.is_repaired:
        return {}
    try:
        found = _earlier_parts(spec, artifacts)
    except StoreError as error:
        logger.warning("step %s takes over no part of what was made before: %s", spec.step, error)
        return {}
    return {phase: [record for record in found if record.phase == phase] for phase in {one.phase for one in found}}


def _earlier_parts(spec: StepSpec, artifacts: Mapping[str, Artifact]) -> list[PartRecord]:
    """Parts of the newest earlier make, made of the same rows with the same other inputs. Reads no file of a part."""
    name = spec.stage.part_by_part
    others = {key: item for key, item in describe_inputs(artifacts).items() if key != name}
    for fingerprint in spec.earlier:
        made = _readable(spec.store, spec.stage.name, fingerprint)
        if made is None or {key: item for key, item in made.inputs.items() if key != name} != others:
            continue
        judged = _readable(spec.store, made.inputs[name].stage, made.inputs[name].fingerprint)
        if judged is not None and judged.content == made.inputs[name].content:
            same = unchanged_parts(artifacts[name], Artifact(spec.store, judged))
            return [record for record in Artifact(spec.store, made).parts if record.part in same]
    return []


def _made_before(spec: StepSpec) -> Artifact | None:
    """What the stage made of the same recipe before something of it was taken down; None where nothing was."""
    head = _readable(spec.store, spec.stage.name, spec.remade_of) if spec.remade_of else None
    return None if head is None else spec.stage.makes(spec.store, head)


def _readable(store: Store, stage: str, fingerprint: str) -> ManifestHead | None:
    """The head of a committed artifact; None where there is none, or it cannot be read."""
    try:
        return read_head(store, stage, fingerprint)
    except TornRecordError:
        return None


def _is_made(spec: StepSpec) -> bool:
    """Whether the artifact is committed over its inputs as they are now. Costs little where it is not."""
    try:
        head = read_head(spec.store, spec.stage.name, spec.fingerprint)
    except TornRecordError:
        return False
    if head is None:
        return False
    return _is_over(head, spec, with_inputs_before(spec, describe_inputs(open_inputs(spec))))


def _committed(spec: StepSpec, inputs: Mapping[str, InputRecord]) -> Manifest | None:
    """The manifest over these inputs, or None.

    One that does not parse is quarantined; the records it was folded from are still there.
    """
    try:
        manifest = read_manifest(spec.store, spec.stage.name, spec.fingerprint)
    except TornRecordError:
        stage, fingerprint = spec.stage.name, spec.fingerprint
        for key in (head_key(stage, fingerprint), manifest_key(stage, fingerprint)):
            with fault_point("record.quarantined", key):
                spec.store.quarantine(key)
        return None
    return manifest if manifest is not None and _is_over(manifest, spec, inputs) else None


def _is_over(known: ManifestFields, spec: StepSpec, inputs: Mapping[str, InputRecord]) -> bool:
    """Whether an artifact was made of these inputs, whatever it read besides that takes no part in identity."""
    return known.identity_inputs == identity_inputs(spec, inputs)


def fold(spec: StepSpec, inputs: Mapping[str, InputRecord], records: tuple[PartRecord, ...]) -> Manifest:
    """The manifest over the records of all phases, with the item balance and the digest of the content."""
    if not records:
        raise StageError(f"step {spec.step!r}: {spec.stage.name} recorded no part, so it made nothing")
    last_phase = records[-1].phase
    listed, outside = all_inputs(spec, inputs)
    return Manifest(
        kind=spec.stage.makes.kind,
        stage=spec.stage.name,
        number=spec.stage.number,
        fingerprint=spec.fingerprint,
        recipe=spec.recipe.model_dump(mode="json"),
        inputs=listed,
        parts=records,
        items=total(record.items for record in records if record.phase == last_phase),
        content=content_digest(records),
        versions=versions(),
        provenance={
            "run": spec.attempt.run,
            "attempt": str(spec.attempt),
            **_code(spec, records),
            **_taken_over(records),
            **spec.provenance,
            **outside,
            **({FORK: spec.fork.model_dump(mode="json")} if spec.fork else {}),
            DIGESTS: recorded_digests(spec.store, spec.folder, dict.fromkeys(record.phase for record in records)),
        },
    )


def _code(spec: StepSpec, records: tuple[PartRecord, ...]) -> dict[str, Any]:
    """The code of a user's stage, and the digests of all texts that made its parts: they may differ in comments."""
    code = spec.stage.code
    if code is None:
        return {}
    texts = sorted({record.made_by["code"] for record in records if "code" in record.made_by})
    return {"code": asdict(code), "code_texts": texts}


def _taken_over(records: tuple[PartRecord, ...]) -> dict[str, Any]:
    """How many parts were taken over by reference from which artifact, as `taken_over`; nothing where none was."""
    numbers = Counter(record.made_by[TAKEN_FROM] for record in records if TAKEN_FROM in record.made_by)
    return {"taken_over": dict(sorted(numbers.items()))} if numbers else {}


def _commit(spec: StepSpec, manifest: Manifest, writer: ArtifactWriter) -> Manifest:
    writer.check_claim()
    key = manifest_key(spec.stage.name, spec.fingerprint)
    if writer.is_repaired:
        check_same_again(spec.store, key, manifest)
    data = manifest_bytes(manifest)
    with fault_point("artifact.manifest_created", key):
        ours = spec.store.create(key, data)
    if ours:
        _write_head(spec.store, head_of(data))
        return manifest
    winner = read_manifest(spec.store, spec.stage.name, spec.fingerprint)
    if winner is None:
        raise StageError(f"step {spec.step!r}: {key} vanished while it was committed; run the command again")
    return winner


def complete_head(store: Store, head: ManifestHead) -> None:
    """Write the head of a committed artifact that was computed from its manifest, because none could be used."""
    if head.problem:
        _write_head(store, head)


def _write_head(store: Store, head: ManifestHead) -> None:
    """Write a head beside its manifest. A store that fails now does not undo the commit: a head can be computed again.

    One that is there already and is not that of the manifest as it is now is replaced.
    """
    key, data = head_key(head.stage, head.fingerprint), head_bytes(head)
    with suppress(StoreError), fault_point("artifact.head_written", key):
        if not store.create(key, data) and check_head(store, head.stage, head.fingerprint):
            store.overwrite(key, data)
