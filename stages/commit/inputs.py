"""What a step reads: artifacts, opened and recorded before anything is made, and pinned sources from outside.

`inputs.json` below an artifact's folder records what its parts are made of. Inputs that take no part in identity, such
as rows that a training is only examined on, have `conduct_inputs/<n>.json`, one record each time that others are read
than before. The manifest lists those that were read last under their own names, and those of before as
`heldout_rows.earlier.0`, so lineage shows all of them.

A step's recipe holds the name and the digest of a source; `sources/<digest>.json` in the store lists its files. So a
resume, and a driver on a cluster, need neither `sources.lock` nor the machine that pinned. A list has some 150 bytes a
file and is read once a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from stages.artifacts.artifact import Artifact, open_artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS, digest
from stages.artifacts.head import head_key
from stages.artifacts.manifest import CONDUCT_INPUTS, manifest_key
from stages.artifacts.records import INPUT_RECORDS, InputRecord
from stages.commit.artifact_writer import ArtifactWriter
from stages.commit.repair import quarantine_key
from stages.commit.step_spec import StepSpec
from stages.contract import PinnedFile, PinnedSource, Source, SourcePlace, StageError
from stages.contract.source import digest_of
from stages.store.errors import TornRecordError
from stages.store.fault_points import fault_point
from stages.store.numbering import first_missing
from stages.store.record_kind import RecordKind
from stages.store.store import Store


class _PinnedFiles(BaseModel):
    """The content of `sources/<digest>.json`."""

    files: tuple[PinnedFile, ...]


PINNED_FILES = RecordKind[_PinnedFiles](
    _PinnedFiles,
    "the list of a source's files",
    "move it away; `neo run` with the pipeline's file lists them again",
)


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
    # The head goes before its manifest: it is never beside another one.
    stage, fingerprint = spec.stage.name, spec.fingerprint
    head, manifest = head_key(stage, fingerprint), manifest_key(stage, fingerprint)
    folders = ("records", "phases", CONDUCT_INPUTS)
    outdated = [key for folder in folders for key in spec.store.keys(f"{spec.folder}/{folder}/")]
    for outdated_key in [*outdated, head, manifest, quarantine_key(manifest), key]:
        is_read_by_others = outdated_key.endswith((".json", ".deleted", ".held", quarantine_key("")))
        if is_read_by_others and spec.store.size_bytes(outdated_key) is not None:
            writer.check_claim()
            with fault_point("record.quarantined", outdated_key):
                spec.store.quarantine(outdated_key, "outdated")
    if not _create_or_compare(spec, key, read_now):
        raise StageError(
            f"step {spec.step!r}: another attempt makes {spec.folder} from other inputs now; run it again later"
        )


def with_inputs_before(spec: StepSpec, inputs: Mapping[str, InputRecord]) -> dict[str, InputRecord]:
    """The inputs of a step, and those that only the training which it continues from has read, as `before.<name>`."""
    own = {item.fingerprint for item in inputs.values()}
    before = spec.fork.inputs if spec.fork is not None else {}
    return {**inputs, **{f"before.{name}": item for name, item in before.items() if item.fingerprint not in own}}


def identity_inputs(spec: StepSpec, inputs: Mapping[str, InputRecord]) -> dict[str, InputRecord]:
    """The inputs that an artifact is made of, without those that are conduct."""
    return {name: item for name, item in inputs.items() if name not in spec.conduct_inputs}


def record_conduct_inputs(spec: StepSpec, inputs: Mapping[str, InputRecord], writer: ArtifactWriter) -> None:
    """Record which inputs are read now that take no part in identity, unless the last record says the same."""
    if not _may_read_any(spec):
        return
    now = {name: item for name, item in inputs.items() if name in spec.conduct_inputs}
    before = _recorded_conduct(spec)
    if (before[-1] if before else {}) == now:
        return
    writer.check_claim()
    key = _conduct_key(spec, len(before))
    with fault_point("inputs.recorded", key):
        spec.store.create_json(key, {name: item.model_dump() for name, item in now.items()})


def all_inputs(
    spec: StepSpec, inputs: Mapping[str, InputRecord]
) -> tuple[dict[str, InputRecord], dict[str, list[str]]]:
    """The inputs as the manifest lists them, and what its provenance says of those outside identity; {} for none.

    An input outside identity that an earlier attempt read, and that is not read now, is listed as `<name>.earlier.<n>`.
    """
    if not _may_read_any(spec):
        return dict(inputs), {}
    listed = dict(inputs)
    for name, item in (pair for record in _recorded_conduct(spec) for pair in record.items()):
        of_name = {key: one for key, one in listed.items() if key.split(".earlier.")[0] == name}
        if item not in of_name.values():
            num_earlier = sum(key != name for key in of_name)
            listed[f"{name}.earlier.{num_earlier}"] = item
    outside = sorted(name for name in listed if name not in inputs or name in spec.conduct_inputs)
    return listed, {CONDUCT_INPUTS: outside} if outside else {}


def _may_read_any(spec: StepSpec) -> bool:
    return any(slot.is_conduct for slot in spec.stage.slots)


def _recorded_conduct(spec: StepSpec) -> list[dict[str, InputRecord]]:
    """The records so far, in order. One that is torn counts as empty: nothing is made of what it names."""
    num_records = first_missing(lambda number: spec.store.size_bytes(_conduct_key(spec, number)) is not None)
    return [INPUT_RECORDS.read_or_skip(spec.store, _conduct_key(spec, number)) or {} for number in range(num_records)]


def _conduct_key(spec: StepSpec, number: int) -> str:
    return f"{spec.folder}/{CONDUCT_INPUTS}/{number}.json"


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
        if plain.head.kind not in allowed:
            raise StageError(f"step {spec.step!r}: input {name!r} is {plain!r}, expected {sorted(allowed)}")
        opened[name] = plain.as_kind(allowed[plain.head.kind])
    return opened


def _with_subclasses(kinds: tuple[type[Artifact], ...]) -> list[type[Artifact]]:
    return [kind for base in kinds for kind in (base, *_with_subclasses(tuple(base.__subclasses__())))]


def pin_key(content: str, files: Sequence[PinnedFile]) -> str:
    """Key of the list of a source's files; `content` is their digest.

    Entity tags belong to a place, so equal files in two buckets have two lists.
    """
    etags = {file.path: file.etag for file in files if file.etag}
    tagged = f"-{digest(etags)[:SHOWN_DIGITS]}" if etags else ""
    return f"sources/{content}{tagged}.json"


def keep_pin(store: Store, key: str, files: Sequence[PinnedFile]) -> None:
    """Keep the list of a source's files under its `pin_key`. Keeping it again changes nothing."""
    with fault_point("source.kept", key):
        store.create_json(key, {"files": [file.model_dump(exclude_defaults=True) for file in files]})


def kept_files(store: Store, key: str) -> tuple[PinnedFile, ...] | None:
    """The list of a source's files that is kept under this key; None if there is none."""
    kept = PINNED_FILES.read(store, key)
    return None if kept is None else kept.files


def read_pinned(store: Store, source: Source, places: Mapping[str, SourcePlace]) -> PinnedSource:
    """The files of a pinned source, and where they lie. Raises `StageError` if either is not known."""
    if source.digest is None:
        raise StageError(f"source {source.name!r} is not pinned: run `neo pin` with the pipeline, then run it again")
    at = places.get(source.name)
    if at is None:
        raise StageError(f"nothing says where the files of source {source.name!r} lie; name it in sources.toml")
    files = kept_files(store, at.key)
    if files is None:
        raise StageError(
            f"{store.url}/{at.key}, which lists the files of source {source.name!r}, is missing; `neo run` with the "
            "pipeline's file lists them again"
        )
    if digest_of(files) != source.digest:
        raise StageError(f"{store.url}/{at.key} lists other files than source {source.name!r} was pinned with")
    return PinnedSource(name=source.name, place=at.place, files=files)
