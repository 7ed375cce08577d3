"""How an artifact was made, as an in-toto statement with the predicate SLSA provenance, version 1.

Owns how the words of the house map to those of SLSA. Reads heads, the records of the run that made it and, of a model,
the list of its files: nothing here grows with rows or parts.
"""

from __future__ import annotations

from typing import Any, Final

from pipelines.evidence.step_times import spelled_time, step_times
from pipelines.lineage.graph import lineage_of, step_name
from pipelines.outside.copy_record import chain_document
from pipelines.outside.held_files import held_files
from pipelines.runs.run import PLAN_DIGEST, Run
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead
from stages.artifacts.manifest import artifact_folder, manifest_key
from stages.store.errors import StoreError

STATEMENT: Final = "https://in-toto.io/Statement/v1"
PREDICATE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "urn:neo-pipelines:stage:v1"
"""A stage: `externalParameters` are its name, its number and its recipe in full, which with the inputs decide what is
made; `internalParameters` are what takes no part in identity."""
BUILDER: Final = "urn:neo-pipelines:runner"
"""A run of this package on its owner's machines. It isolates and signs nothing: level 1 of SLSA's build track."""


def provenance_statement(artifact: Artifact) -> dict[str, Any]:
    """The statement for an artifact.

    Its subjects are the files of a model; for anything else, the manifest, which has the digest of every file.
    """
    head = artifact.head
    return {
        "_type": STATEMENT,
        "subject": _subjects(artifact),
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"stage": head.stage, "number": head.number, "recipe": head.recipe},
                "internalParameters": _internal(head),
                "resolvedDependencies": [*_inputs(artifact), *_sources(head)],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": dict(head.versions)},
                "metadata": _metadata(artifact),
                "byproducts": [],
            },
        },
    }


def _subjects(artifact: Artifact) -> list[dict[str, Any]]:
    head = artifact.head
    annotations = {
        "artifact": f"{head.stage}/{head.fingerprint}",
        "kind": head.kind,
        "content": head.content,
        "merkleRoot": chain_document(artifact)["artifacts"][-1]["root"],
    }
    manifest = {
        "name": manifest_key(head.stage, head.fingerprint),
        "digest": {"sha256": head.manifest_sha256},
        "annotations": annotations,
    }
    if not head.holds_model:
        return [manifest]
    files = [{"name": file.path, "digest": {"sha256": file.entry.sha256}} for file in held_files(artifact)]
    return [*files, manifest]


def _internal(head: ManifestHead) -> dict[str, Any]:
    known = {"step": step_name(head), "pipeline": head.provenance.get("pipeline"), "run": head.provenance.get("run")}
    digests = {name: head.provenance.get(name) for name in (PLAN_DIGEST, "user_file_sha256")}
    return {name: value for name, value in {**known, **digests}.items() if value is not None}


def _inputs(artifact: Artifact) -> list[dict[str, Any]]:
    """The artifacts that were read, each by its manifest."""
    read = lineage_of(artifact.store, artifact.stage, artifact.fingerprint).by_fingerprint
    found = []
    for name, item in artifact.head.inputs.items():
        node = read.get(item.fingerprint)
        digest = {"sha256": node.head.manifest_sha256} if node is not None and node.head is not None else {}
        found.append(
            {
                "name": name,
                "uri": f"urn:neo-pipelines:{artifact_folder(item.stage, item.fingerprint)}/manifest.json",
                "digest": {**digest, "neo_content": item.content},
                "annotations": {"artifact": f"{item.stage}/{item.fingerprint}"},
            }
        )
    return found


def _sources(head: ManifestHead) -> list[dict[str, Any]]:
    """The files from outside that were read, each source by the digest of its list of files."""
    return [
        {
            "name": name,
            "uri": str(source["place"]),
            "digest": {"neo_source": source["digest"]},
            "annotations": {"numFiles": source["num_files"], "sizeBytes": source["size_bytes"]},
        }
        for name, source in head.provenance.get("sources", {}).items()
    ]


def _metadata(artifact: Artifact) -> dict[str, str]:
    """The attempt that committed it, and when its step began and ended, as far as the run's records are there."""
    provenance = artifact.head.provenance
    metadata = {"invocationId": str(provenance.get("attempt", ""))}
    try:
        times = step_times(Run(artifact.store, str(provenance.get("run", "")))).get(step_name(artifact.head))
    except StoreError:  # the history of runs may be gone; what they made is not
        return metadata
    if times is not None and times.outcome == "committed":
        stamps = {"startedOn": times.began_seconds, "finishedOn": times.ended_seconds}
        metadata |= {name: spelled_time(seconds) for name, seconds in stamps.items() if seconds is not None}
    return metadata
