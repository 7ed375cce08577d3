"""References as people type them: a run, a name such as `tiny/evaluate`, or the beginning of a fingerprint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import NAME_PATTERN, suggestion
from pipelines.planning.progress import read_progress
from pipelines.runs.run import Run
from stages.artifacts.artifact import Artifact
from stages.artifacts.fingerprint import SHOWN_DIGITS
from stages.artifacts.head import ManifestHead, read_head
from stages.artifacts.manifest import artifact_folder, manifest_key
from stages.store.refs import OF_ARTIFACT, OF_RUN, read_ref
from stages.store.store import Store

FINGERPRINT_START = re.compile(r"[0-9a-f]{4,64}")
MAX_CANDIDATES = 10
"""Matches that a message about an ambiguous reference lists, at most."""


@dataclass(frozen=True)
class Resolved:
    """What a reference names: either a run or a committed artifact; the other field is None."""

    run: Run | None = None
    artifact: Artifact | None = None


def resolve(store: Store, ref: str) -> Resolved:
    """What `ref` names. Raises `BadCommandError` if that is nothing, or several artifacts, which the message lists."""
    if not is_well_formed(ref):
        raise _nothing(store, ref)
    if store.read(f"runs/{ref}/plan.json") is not None:
        return Resolved(run=Run(store, ref))
    named = _named(store, ref)
    if named is not None and "/" not in ref:
        return Resolved(run=Run(store, named["run"]))
    if named is not None:
        return Resolved(artifact=_opened(store, named["stage"], named["fingerprint"], ref))
    return Resolved(artifact=Artifact(store, find_head(store, ref)))


def _named(store: Store, ref: str) -> dict[str, Any] | None:
    """What a name points at: a run, or, of a name such as `tiny/evaluate`, an artifact."""
    return read_ref(store, ref, OF_ARTIFACT if "/" in ref else OF_RUN)


def run_named(store: Store, ref: str) -> str | None:
    """The name of the run that `ref` names, itself or by its pipeline; None where it names none."""
    if not is_well_formed(ref) or "/" in ref:
        return None
    if store.read(f"runs/{ref}/plan.json") is not None:
        return ref
    named = read_ref(store, ref, OF_RUN)
    return str(named["run"]) if named else None


def find_run(store: Store, ref: str) -> Run:
    """The run that `ref` names. Raises `BadCommandError` if it names nothing, or an artifact."""
    run = resolve(store, ref).run
    if run is None:
        raise BadCommandError(f"{ref!r} is an artifact, not a run", then="neo list")
    return run


def resolve_artifact(store: Store, ref: str) -> tuple[str, str]:
    """Stage and fingerprint of the artifact that `ref` names, readable or not; for a run, of its first target.

    An artifact without a manifest has only the shown digits of its fingerprint, as its folder has. Raises
    `BadCommandError` if `ref` names nothing, or several artifacts.
    """
    named = _named(store, ref) if is_well_formed(ref) else None
    if named is not None and "/" in ref:
        return named["stage"], named["fingerprint"]
    if (unfinished := _unfinished(store, ref)) is not None:
        return unfinished
    resolved = resolve(store, ref)
    if resolved.run is not None:
        target = resolved.run.request.step(resolved.run.request.targets[0])
        return target.stage, target.fingerprint
    assert resolved.artifact is not None
    return resolved.artifact.stage, resolved.artifact.fingerprint


def runs_and_artifacts(store: Store, refs: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Names of the runs that are named, and stage and fingerprint of each artifact. Raises like `resolve_artifact`.

    A run stands for all that it makes, of which `resolve_artifact` takes one.
    """
    named = {ref: run_named(store, ref) for ref in refs}
    artifacts = [resolve_artifact(store, ref) for ref, run in named.items() if run is None]
    return [run for run in named.values() if run is not None], artifacts


def _unfinished(store: Store, ref: str) -> tuple[str, str] | None:
    """Stage and shown digits of the only artifact that `ref` can name, if it has no manifest; else None."""
    stage_wanted, _, start = ref.rpartition("/")
    candidates = _candidates(store, start, stage_wanted) if FINGERPRINT_START.fullmatch(start) else []
    is_one = len(candidates) == 1 and store.size_bytes(manifest_key(*candidates[0])) is None
    return candidates[0] if is_one else None


def is_well_formed(ref: str) -> bool:
    """Whether `ref` can be a run, a name or a fingerprint, judged by its characters alone."""
    return all(NAME_PATTERN.fullmatch(part) for part in ref.split("/"))


def find_head(store: Store, ref: str) -> ManifestHead:
    """The head of the only committed artifact whose fingerprint begins with `ref`; `stage/` may come before it.

    `3f2a` and `pack_rows/3f2a` both name pack_rows/3f2a9c01d4e5. Raises `BadCommandError` if none or several match.
    """
    stage_wanted, _, start = ref.rpartition("/")
    candidates = _candidates(store, start, stage_wanted) if FINGERPRINT_START.fullmatch(start) else []
    manifests = [manifest for stage, name in candidates if (manifest := _committed(store, stage, name, start))]
    if len(manifests) == 1:
        return manifests[0]
    if manifests:
        listed = ", ".join(f"{item.stage}/{item.fingerprint[:SHOWN_DIGITS]}" for item in manifests[:MAX_CANDIDATES])
        raise BadCommandError(f"{ref!r} is the beginning of several: {listed}; type more of it", then="neo list")
    if candidates:
        stage, name = candidates[0]
        raise BadCommandError(_not_committed(store, stage, name, ref), then="neo list")
    raise _nothing(store, ref)


def _nothing(store: Store, ref: str) -> BadCommandError:
    return BadCommandError(
        f"nothing in {store.url} is called {ref!r}{_near(store, ref)}; a reference is a run, a name such as "
        "tiny/evaluate, or 4 or more digits of a fingerprint",
        then="neo list",
    )


def _near(store: Store, ref: str) -> str:
    """The run or name that is likely meant, as a suggestion; ''. Names are listed only where a pipeline is near."""
    pipeline, slash, _ = ref.partition("/")
    pipelines = store.folders("refs/")
    if not slash:
        return suggestion(ref, [*pipelines, *store.folders("runs/")])
    (near,) = get_close_matches(pipeline, pipelines, n=1) or ("",)
    return suggestion(ref, [f"{near}/{step}" for step in store.folders(f"refs/{near}/")]) if near else ""


def _candidates(store: Store, start: str, stage_wanted: str) -> list[tuple[str, str]]:
    """(stage, shown digits) of the artifact folders that a beginning of a fingerprint matches, by listing them."""
    stages = [stage for stage in store.folders("artifacts/") if stage_wanted in ("", stage)]
    shown = start[:SHOWN_DIGITS]
    return [
        (stage, name) for stage in stages for name in store.folders(f"artifacts/{stage}/") if name.startswith(shown)
    ]


def _committed(store: Store, stage: str, name: str, start: str) -> ManifestHead | None:
    manifest = read_head(store, stage, name)
    return manifest if manifest is not None and manifest.fingerprint.startswith(start) else None


def _opened(store: Store, stage: str, fingerprint: str, ref: str) -> Artifact:
    manifest = read_head(store, stage, fingerprint)
    if manifest is None:
        raise BadCommandError(_not_committed(store, stage, fingerprint, ref), then="neo list")
    return Artifact(store, manifest)


def _not_committed(store: Store, stage: str, fingerprint: str, ref: str) -> str:
    progress = read_progress(store, stage, fingerprint)
    so_far = progress.describe() if progress.started else "nothing recorded"
    return f"{ref!r} ({artifact_folder(stage, fingerprint)}) is not committed: {so_far}"
