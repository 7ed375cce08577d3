"""Moves names: `<pipeline>/<step>` points at an artifact once it is committed, `<pipeline>` at the newest run."""

from __future__ import annotations

from pipelines.planning.request import Request
from pipelines.runs.run import Run
from stages.artifacts.head import read_head
from stages.store.fault_points import fault_point
from stages.store.refs import OF_ARTIFACT, OF_RUN, read_ref, set_ref
from stages.store.store import Store


def point_name(store: Store, request: Request, name: str, run: str, *, is_new: bool = False) -> None:
    """Point `pipeline/step` at the committed artifact of step `name`, unless it points there already.

    `is_new`: the artifact was just committed. Its manifest may then differ from the one that the name points at under
    the same fingerprint, and the digest of the manifest is compared too.
    """
    step = request.step(name)
    ref = f"{request.pipeline}/{name}"
    current = read_ref(store, ref, OF_ARTIFACT)
    if current is None or current["fingerprint"] != step.fingerprint or is_new:
        head = read_head(store, step.stage, step.fingerprint)
        sha256 = head.manifest_sha256 if head is not None else ""
        target = {"stage": step.stage, "fingerprint": step.fingerprint, "manifest_sha256": sha256, "run": run}
        if current is None or current | {"run": run} != target:
            with fault_point("ref.set", ref):
                set_ref(store, ref, target)


def point_at_run(run: Run) -> None:
    """Point the pipeline's name at this run, unless it points there already."""
    current = read_ref(run.store, run.request.pipeline, OF_RUN)
    if current is None or current["run"] != run.name:
        with fault_point("ref.set", run.request.pipeline):
            set_ref(run.store, run.request.pipeline, {"run": run.name})
