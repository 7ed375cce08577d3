"""Step specs: what a machine needs to execute one step of a plan, as plain values."""

from __future__ import annotations

from typing import Any

from pipelines.planning.plan import Plan
from pipelines.planning.request import Request
from pipelines.runs.run import Run
from stages.commit.attempt import AttemptId
from stages.commit.step_spec import StepSpec


def step_specs(plan: Plan, run: Run, attempt: int) -> dict[str, StepSpec]:
    """Step name to its spec, for the steps that attempt number `attempt` must make or continue; inputs first."""
    request, specs = plan.request, {}
    earlier = (number for number in range(1, attempt) if run.end(number) is not None)
    ended = frozenset(str(AttemptId(run.name, number)) for number in earlier)
    for name in plan.to_make:
        step = request.step(name)
        stage, recipe = request.load_step(name)
        specs[name] = StepSpec(
            step=name,
            stage=stage,
            recipe=recipe,
            fingerprint=step.fingerprint,
            inputs={edge: (item.stage, item.fingerprint) for edge, item in step.inputs.items()},
            store=run.store,
            attempt=AttemptId(run.name, attempt),
            provenance=_provenance(request, name),
            allows_rollback=plan.allows_rollback,
            ended_attempts=ended,
        )
    return specs


def _provenance(request: Request, step: str) -> dict[str, Any]:
    """Pipeline, step and digest of the user's file, which the manifest records for people; never hashed."""
    file = {"user_file_sha256": request.user_file.sha256} if request.user_file else {}
    return {"pipeline": request.pipeline, "step": step, **file}
