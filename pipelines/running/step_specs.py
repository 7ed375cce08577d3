"""Step specs: what a machine needs to execute one step of a plan, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipelines.planning.plan import Plan
from pipelines.planning.request import Request
from pipelines.runs.run import PLAN_DIGEST, Run
from stages.commit.attempt import AttemptId
from stages.commit.step_spec import StepSpec


def step_specs(plan: Plan, run: Run, attempt: int, places: Mapping[str, str] | None = None) -> dict[str, StepSpec]:
    """Step name to its spec, for the steps that attempt number `attempt` must make or continue; inputs first."""
    request, specs = plan.request, {}
    frozen_sha256 = run.plan_sha256
    ended = run.ended_attempts(attempt - 1)
    for name in plan.to_make:
        step = request.step(name)
        stage, recipe = request.load_step(name)
        specs[name] = StepSpec(
            step=name,
            stage=stage,
            recipe=recipe,
            fingerprint=step.fingerprint,
            inputs={edge: (item.stage, item.fingerprint) for edge, item in step.inputs.items()},
            conduct_inputs=step.conduct_inputs,
            fork=step.fork,
            earlier=step.earlier,
            remade_of=step.remade_of,
            store=run.store,
            attempt=AttemptId(run.name, attempt),
            places={
                source: request.sources[source].seen_from(places or {}, source)
                for source in step.sources
                if source in request.sources
            },
            provenance=_provenance(request, name) | {PLAN_DIGEST: frozen_sha256},
            allows_rollback=plan.allows_rollback,
            ended_attempts=ended,
        )
    return specs


def _provenance(request: Request, step: str) -> dict[str, Any]:
    """Pipeline, step, digest of the user's file and places of sources, which the manifest records; never hashed."""
    file = {"user_file_sha256": request.user_file.sha256} if request.user_file else {}
    places = {
        name: request.sources[name].model_dump(mode="json", exclude={"pin", "key"}, exclude_none=True)
        for name in request.step(step).sources
        if name in request.sources
    }
    return {"pipeline": request.pipeline, "step": step, **file, **({"sources": places} if places else {})}
