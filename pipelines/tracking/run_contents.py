"""The contents of a run's own page: who asked for what, where it ran, what differs from the defaults, and totals.

Pure: plain values from the frozen plan, the records of attempts and heads. `run_summary.py` adds them to the page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Final

from cluster.machines.origin import Origin
from pipelines.planning.request import Request
from pipelines.report.facts import changed_fields
from pipelines.runs.run import AttemptRecord
from pipelines.tracking.page_contents import MAX_PARAMETER_CHARACTERS
from stages.artifacts.head import ManifestHead
from stages.surfaces.visible import visible

OUTSIDE: Final = "read from outside"
"""The context of a data set that lies outside of the store."""
TRAINED_ON: Final = "training"
"""The context of a data set that a model was made of."""
EXAMINED_ON: Final = "evaluation"
"""The context of a data set that models were asked about."""


def origin_tags(record: AttemptRecord, asked_by: Origin | None, request: Request) -> dict[str, str]:
    """Who began an attempt, how, and where: MLflow's own tags, and ours for what it has none for.

    Of a submitted run, user and commit are those of the command that submitted it; the machine is the driver's.
    """
    machine = record.origin or Origin()
    asked = asked_by or Origin()
    versions = machine.versions.model_dump() if machine.versions else {}
    tags = {
        "mlflow.user": asked.user,
        "mlflow.source.name": request.request,
        "mlflow.source.type": "JOB" if record.job else "LOCAL",
        "mlflow.source.git.commit": asked.commit,
        "mlflow.source.git.dirty": str(asked.is_changed).lower() if asked.commit else "",
        "mlflow.project.entryPoint": request.request,
        "neo.command": request.command,
        "neo.host": record.host,
        "neo.site": record.site,
        "neo.job": record.job,
        "neo.system": machine.system,
        "neo.hardware": machine.hardware if machine.num_cpus else "",
        **{f"neo.version.{name}": text for name, text in versions.items()},
    }
    return {name: text for name, text in tags.items() if text}


def step_origin_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of `origin_tags` that the pages of steps have too, so that a table of runs shows them in every line."""
    return {name: text for name, text in tags.items() if name.startswith("mlflow.") or name == "neo.host"}


def changed_parameters(request: Request) -> dict[str, str]:
    """Fields of all recipes that are not at their defaults, as `step.field`; of stages of a user's own, all fields."""
    changed = {step.name: changed_fields(step) for step in request.steps}
    flat = {f"{step}.{name}": text for step, fields in changed.items() for name, text in fields.items()}
    return {name: visible(text)[:MAX_PARAMETER_CHARACTERS] for name, text in flat.items()}


def totals(
    heads: Mapping[str, ManifestHead], made: Collection[str], num_attempts: int, seconds: float
) -> dict[str, float]:
    """Numbers of a whole run. `made` are the steps that this run made itself, of those in `heads`."""
    own = [heads[name] for name in made]
    return {
        "total/steps": len(heads),
        "total/steps_made": len(own),
        "total/steps_reused": len(heads) - len(own),
        "total/attempts": num_attempts,
        "total/seconds": round(seconds, 3),
        "total/parts_made": sum(head.num_parts for head in own),
        "total/bytes_made": sum(head.size_bytes for head in own),
        "total/items_dropped": sum(head.items.num_dropped for head in own),
        "total/items_failed": sum(head.items.num_failed for head in own),
    }


def contexts_of_data(request: Request, heads: Mapping[str, ManifestHead]) -> Iterator[tuple[str, str]]:
    """(step, context) of the data that models of this run were made of, and that evaluations asked about."""
    models = {name for name, head in heads.items() if head.holds_model}
    for step in request.steps:
        if step.name not in heads:
            continue
        context = TRAINED_ON if step.name in models else EXAMINED_ON if heads[step.name].kind == "Evaluation" else ""
        for name, item in step.inputs.items() if context else ():
            if item.step in heads and item.step not in models:
                yield item.step, EXAMINED_ON if name in step.conduct_inputs else context
