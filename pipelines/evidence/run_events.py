"""A run as run events of OpenLineage: the run itself, and a run of its own for each step that it made.

Owns how the words of the house map to those of OpenLineage 2-0-2. The same run gives the same events, whenever it is
told: ids are made of names. Reads heads and the run's records.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable, Iterator
from http.client import HTTPException
from importlib.metadata import version
from pathlib import PurePath
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from pipelines.evidence.step_times import StepTimes, spelled_time, step_times
from pipelines.exits import CommandError, ExitCode
from pipelines.planning.request import FrozenStep
from pipelines.runs.run import Run
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.manifest import artifact_folder
from stages.artifacts.records import InputRecord

SPEC: Final = "https://openlineage.io/spec"
SCHEMA: Final = f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent"
FACETS: Final = {
    "parent": "facets/1-2-0/ParentRunFacet.json#/$defs/ParentRunFacet",
    "errorMessage": "facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet",
    "version": "facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet",
    "outputStatistics": "facets/1-0-2/OutputStatisticsOutputDatasetFacet.json"
    "#/$defs/OutputStatisticsOutputDatasetFacet",
}
"""Facet to the schema of it that is followed."""
NAMESPACE: Final = "neo"
"""Namespace of jobs: a pipeline, and `PIPELINE.STEP`."""
ENDED: Final = {"done": "COMPLETE", "failed": "FAIL", "interrupted": "ABORT", "superseded": "ABORT", "killed": "ABORT"}
"""State of a run to the type of its last event; of one that is under way there is none yet."""
PATH: Final = "/api/v1/lineage"
"""Path below the address of a site at which events are taken, as the clients of OpenLineage have it."""
POST_SECONDS: Final = 30.0


class EndpointError(CommandError):
    """The endpoint did not take an event."""

    code = ExitCode.REFUSED


def run_events(run: Run) -> Iterator[dict[str, Any]]:
    """The events of a run, in the order in which they happened, as far as its steps have begun.

    Steps that it reused were made by another run, and are told as inputs alone.
    """
    attempts, standing, times = run.attempts(), run.standing(), step_times(run)
    began = attempts[0].at_seconds if attempts else None
    events: list[tuple[float, dict[str, Any]]] = []
    if began is not None:
        events.append((began, _event("START", began, _run_of(run.name), _job(run))))
    for step in run.request.steps:
        events += _events_of(run, step, times.get(step.name, StepTimes()), began)
    if standing.state in ENDED and standing.end is not None:
        ended = standing.end.at_seconds
        facets = {"errorMessage": _facet("errorMessage", message=standing.end.reason, programmingLanguage="Python")}
        closing = _run_of(run.name, facets if standing.state == "failed" else {})
        last = max([ended, *(at for at, _ in events)])
        events.append((last, _event(ENDED[standing.state], ended, closing, _job(run))))
    return (event for _, event in sorted(events, key=lambda one: one[0]))


def _events_of(
    run: Run, step: FrozenStep, times: StepTimes, began: float | None
) -> Iterator[tuple[float, dict[str, Any]]]:
    head = read_head(run.store, step.stage, step.fingerprint)
    is_ours = head is not None and head.provenance.get("run") == run.name
    start = times.began_seconds or (began if is_ours else None)
    if start is None or not (is_ours or times.outcome in ("", "failed", "interrupted")):
        return
    parent = _facet("parent", run={"runId": _id(run.name)}, job=_job(run))
    named, job = f"{run.name}/{step.name}", _job(run, step)
    read = [_dataset_of(run, item) for item in head.inputs.values()] if head is not None else []
    inputs = [*read, *(_sources(head) if head is not None else ())]
    yield start, _event("START", start, _run_of(named, {"parent": parent}), job, inputs=inputs)
    end = times.ended_seconds or start
    if head is not None and is_ours:
        made = [_made(run, head)]
        yield end, _event("COMPLETE", end, _run_of(named, {"parent": parent}), job, inputs=inputs, outputs=made)
    elif times.outcome == "failed":
        error = _facet("errorMessage", message=times.reason, programmingLanguage="Python")
        yield end, _event("FAIL", end, _run_of(named, {"parent": parent, "errorMessage": error}), job)
    elif times.outcome == "interrupted":
        yield end, _event("ABORT", end, _run_of(named, {"parent": parent}), job)


def _event(
    kind: str, seconds: float, of: dict[str, Any], job: dict[str, Any], **datasets: Iterable[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "eventType": kind,
        "eventTime": spelled_time(seconds),
        "run": of,
        "job": job,
        "inputs": [*datasets.get("inputs", ())],
        "outputs": [*datasets.get("outputs", ())],
        "producer": producer(),
        "schemaURL": SCHEMA,
    }


def producer() -> str:
    """The URI by which events name this package and its version."""
    return f"urn:neo-pipelines:{version('neo-pipelines')}"


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"urn:neo-pipelines:run:{name}"))


def _run_of(name: str, facets: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"runId": _id(name), "facets": facets or {}}


def _job(run: Run, step: FrozenStep | None = None) -> dict[str, str]:
    pipeline = run.request.pipeline
    return {"namespace": NAMESPACE, "name": pipeline if step is None else f"{pipeline}.{step.name}"}


def _facet(name: str, **fields: Any) -> dict[str, Any]:
    return {"_producer": producer(), "_schemaURL": f"{SPEC}/{FACETS[name]}", **fields}


def _dataset_of(run: Run, item: InputRecord) -> dict[str, Any]:
    name = artifact_folder(item.stage, item.fingerprint)
    return {"namespace": _namespace(run.store.url), "name": name, "facets": _version(item.content)}


def _made(run: Run, head: ManifestHead) -> dict[str, Any]:
    item = InputRecord(stage=head.stage, fingerprint=head.fingerprint, content=head.content)
    counted = {
        "rowCount": head.items.kept,
        "size": head.size_bytes,
        "fileCount": sum(one.num_files for one in head.phases),
    }
    return {**_dataset_of(run, item), "outputFacets": {"outputStatistics": _facet("outputStatistics", **counted)}}


def _sources(head: ManifestHead) -> Iterator[dict[str, Any]]:
    for name, source in head.provenance.get("sources", {}).items():
        place = _namespace(str(source["place"]))
        yield {"namespace": place, "name": name, "facets": _version(str(source["digest"]))}


def _version(content: str) -> dict[str, Any]:
    return {"version": _facet("version", datasetVersion=content)}


def _namespace(place: str) -> str:
    """A place as a URI: that of a folder is `file:///...`."""
    return place if "://" in place or not PurePath(place).is_absolute() else f"file://{place}"


def post_events(address: str, events: Iterable[dict[str, Any]], key: str | None) -> int:
    """Post events to an endpoint, in order; returns how many. Raises `EndpointError` where one is not taken."""
    number = 0
    for event in events:
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        body = json.dumps(event).encode()
        try:
            asked = urllib.request.Request(address.rstrip("/") + PATH, body, headers, method="POST")
            with urllib.request.urlopen(asked, timeout=POST_SECONDS):
                number += 1
        except (OSError, HTTPException, ValueError) as error:
            told = f"{address} did not take event {number + 1}: {error}; {number} were taken"
            raise EndpointError(told, then="neo disclose --help   (the same events may be sent again)") from error
    return number
