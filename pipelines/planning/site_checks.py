"""Whether a site and this machine fit what is asked: names of stages and phases in the site, and the version of Ray.

A site is shared by many pipelines, so it may name stages that one of them does not use, stages of a user's own among
them. A name that is close to a known one is a slip of the pen, and is refused before anything is spent; of another it
is said that it changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cluster.site import Resources, Site
from cluster.versions import ray_refusal
from pipelines.exits import MENDED, BadCommandError, RefusedError
from pipelines.planning.catalog import suggestion
from pipelines.planning.request import Request
from pipelines.planning.stage_catalog import shipped_stages
from stages.contract import Stage, load_stage, load_user_file
from stages.training.recipe import TrainRecipe

COMMANDS_ON_MACHINES = ("audit",)
"""Commands whose work on machines has resources in a site as a stage has: `[stages.audit.parts]`."""


def check_ray_version() -> None:
    """Raise `RefusedError` where the Ray that is installed here is not one that runs were tested with."""
    if refusal := ray_refusal():
        raise RefusedError(refusal, then="neo doctor")


def check_site_names(site: Site, request: Request) -> list[str]:
    """Sentences about stages in the site that nobody here knows, to be said.

    Raises `BadCommandError` where such a name is close to that of a stage, or a phase of a stage or step is none, or
    where a step's ranks cannot share rows. A
    stage of a user's own is known where the request has a step of it, and its phases where it declares them.
    """
    for complaint in _ungrouped(site, request):
        raise BadCommandError(f"site {site.name!r}: {complaint}", then=f"neo plan {request.request}{MENDED}")
    if not site.stages and not any(resources.phases for resources in site.steps.values()):
        return []
    known = _known_stages(request)
    for complaint in _complaints(site, request, known):
        raise BadCommandError(f"site {site.name!r}: {complaint}", then=f"neo plan {request.request}{MENDED}")
    return [
        f"Site {site.name!r}: [stages.{name}] names no stage of this package or of {request.pipeline}, and changes "
        "nothing here."
        for name in site.stages
        if name not in known and name not in COMMANDS_ON_MACHINES
    ]


def _ungrouped(site: Site, request: Request) -> Iterator[str]:
    """A sentence for each training step whose ranks cannot share rows as the tables of the site say together."""
    for step in request.steps:
        if step.used or not isinstance(request.load_step(step.name)[1], TrainRecipe):
            continue
        if why := site.resources(stage=step.stage, step=step.name).gang.why_not_grouped():
            yield f"step {step.name}: {why}"


def _known_stages(request: Request) -> Mapping[str, Stage[Any]]:
    """The shipped stages and those of the request, by name; where two have one name, that of the request."""
    if request.user_file is not None:
        load_user_file(request.user_file)
    own = (load_stage(step.import_path) for step in request.steps)
    return {**shipped_stages(), **{stage.name: stage for stage in own}}


def _complaints(site: Site, request: Request, known: Mapping[str, Stage[Any]]) -> Iterator[str]:
    for name, resources in site.stages.items():
        if name in known:
            yield from _of_phases(f"stages.{name}", resources, known[name])
        elif name not in COMMANDS_ON_MACHINES and (meant := suggestion(name, [*known, *COMMANDS_ON_MACHINES])):
            yield f"[stages.{name}] names no stage{meant}"
    for step in request.steps:
        if step.name in site.steps and step.stage in known:
            yield from _of_phases(f"steps.{step.name}", site.steps[step.name], known[step.stage])


def _of_phases(where: str, resources: Resources, stage: Stage[Any]) -> Iterator[str]:
    """A sentence for each phase of a table of the site that the stage does not have."""
    for phase in resources.phases:
        if stage.phases is not None and phase not in stage.phases:
            known = f"its phases are: {', '.join(stage.phases)}" if stage.phases else "it makes no parts"
            meant = suggestion(phase, stage.phases)
            yield f"[{where}.phases.{phase}] names no phase of {stage.name}{meant}; {known}"
