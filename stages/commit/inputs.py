"""The inputs of a step: opened, checked against the kinds its stage takes, and recorded before anything is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.records import InputRecord
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.repair import quarantine_key
from stages.commit.step_spec import StepSpec
from stages.contract import StageError
from stages.store.errors import TornRecordError
from stages.store.fault_points import fault_point


def record_inputs(spec: StepSpec, inputs: Mapping[str, InputRecord], writer: ArtifactWriter) -> None:
    """Record what all parts from now on are made from, in `inputs.json`; quarantine what was made from other inputs.

    Records lie under the fingerprint, which stays the same when a lost input is made again and comes out different.
    Raises `StageError` where another attempt records other inputs at the same time.
    """
    read_now = {name: item.model_dump() for name, item in inputs.items()}
    key = f"{spec.folder}/inputs.json"
    if _create_or_compare(spec, key, read_now):
        return
    # inputs.json goes last: an attempt that is killed before leaves it, so the next one finds it and continues here.
    manifest = f"{spec.folder}/manifest.json"
    outdated = [*spec.store.keys(f"{spec.folder}/records/"), *spec.store.keys(f"{spec.folder}/phases/")]
    for outdated_key in [*outdated, manifest, quarantine_key(manifest), key]:
        is_read_by_others = outdated_key.endswith((".json", quarantine_key("")))
        if is_read_by_others and spec.store.size_bytes(outdated_key) is not None:
            writer.check_claim()
            with fault_point("record.quarantined", outdated_key):
                spec.store.quarantine(outdated_key, "outdated")
    if not _create_or_compare(spec, key, read_now):
        raise StageError(
            f"step {spec.step!r}: another attempt makes {spec.folder} from other inputs now; run it again later"
        )


def _create_or_compare(spec: StepSpec, key: str, inputs: Mapping[str, Any]) -> bool:
    """Whether `inputs.json` holds these inputs, created by this call or before."""
    with fault_point("inputs.recorded", key):
        is_ours = spec.store.create_json(key, inputs)
    try:
        return is_ours or spec.store.read_json(key) == inputs
    except TornRecordError:  # it cannot be known any more what the records were made from
        return False


def open_inputs(spec: StepSpec) -> dict[str, Artifact]:
    """The input artifacts, named as in the spec. Raises `StageError` if the stage does not take the kind of one."""
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
