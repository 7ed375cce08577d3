"""The code of users' stages over the attempts of a run: kept in the store, taken anew by a resume, and compared.

A frozen plan has the texts of the user's files. A resume takes the graph and the recipes from the plan, and the code
from the file as it is now, if that is there: it continues under the fingerprints of that code, as another run. Parts
that older code made stay under their own fingerprints and are never mixed with new ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from pipelines.exits import BadCommandError, ResumeRefusedError
from pipelines.planning.catalog import load_from
from pipelines.planning.code_diff import code_change
from pipelines.planning.plan import NEVER_MADE, Decision, Plan
from pipelines.planning.progress import read_progress
from pipelines.planning.recipe_diff import field_changes
from pipelines.planning.request import RUN_DIGITS, FrozenStep, PlannedInput, Request
from pipelines.runs.in_brief import runs_in_brief
from pipelines.runs.resume import resume_command
from pipelines.runs.run import Run
from stages.contract import BindError, UserFile, load_stage
from stages.store.errors import MissingRecordError, TornRecordError
from stages.store.record_kind import skip_unreadable
from stages.store.store import Store


def with_newest_code(run: Run) -> tuple[Request, list[str]]:
    """The request of a run with the code of its user's file as it is now, and lines that say what changed.

    The request is the run's own where it has no stage of a user's own, or the file is gone, or nothing in it that
    decides has changed. Raises `ResumeRefusedError` where the file cannot be loaded or no longer takes the recipes.
    """
    frozen, file = run.request, run.request.user_file
    if file is None or not any(_is_users(step, file) for step in frozen.steps):
        return frozen, []
    path = Path(file.path)
    if not path.is_file():
        return frozen, [f"{file.path} is not here: this run continues with the code that it was frozen with."]
    then = f"{resume_command(run)} --keep-code"
    try:
        newest, _ = load_from(path, file.path, then)
    except BadCommandError as error:
        raise ResumeRefusedError(
            f"run {run.name} takes the newest code, and {error}; mend the file, or continue with the code that the run "
            "was frozen with (--keep-code)",
            then=then,
        ) from error
    steps: dict[str, FrozenStep] = {}
    for step in frozen.steps:
        try:
            steps[step.name] = _renewed(step, steps, file, newest)
        except (ImportError, BindError, ValidationError) as error:
            raise ResumeRefusedError(
                f"run {run.name} cannot take the newest code: step {step.name!r}: {error}. The pipeline as it is now "
                "is another run; --keep-code continues this one with the code that it was frozen with",
                then=then,
            ) from error
    request = frozen.model_copy(update={"steps": tuple(steps.values()), "user_file": newest})
    if request.run == frozen.run:
        return frozen, []
    changes = [
        f"  {code_change(after.stage, before.code, after.code, file.texts, newest)}"
        for before, after in zip(frozen.steps, request.steps, strict=True)
        if after.code is not None and before.code != after.code
    ]
    return request, [
        f"{file.path} has changed since run {run.name} was frozen. It continues with the newest code as run "
        f"{request.run}; what the changed code decides is made again, the rest is reused (--keep-code: with its own).",
        *changes,
    ]


def explained(plan: Plan, store: Store) -> Plan:
    """The plan, with the reason `the code changed` for steps that an earlier run began and never committed.

    A committed artifact is compared by its name in the store; what never became one is found in the runs of the same
    pipeline, the newest first.
    """
    unexplained = {one.step for one in plan.decisions if one.reason == NEVER_MADE and plan.request.step(one.step).code}
    if not unexplained:
        return plan
    found: dict[str, Decision] = {}
    for run in _earlier_runs(plan.request, store):
        try:
            known = {step.name: step for step in run.request.steps}
        except (TornRecordError, MissingRecordError) as error:
            skip_unreadable(error)
            continue
        for name in unexplained - found.keys() & known.keys():
            now = plan.request.step(name)
            if name in known and (reason := _since(run, known[name], now, plan.request.user_file)):
                changes = field_changes(known[name].recipe, now.recipe, without=now.conduct)
                found[name] = plan.decision(name).model_copy(update={"reason": reason, "changes": changes})
        if found.keys() == unexplained:
            break
    return plan.model_copy(update={"decisions": tuple(found.get(one.step, one) for one in plan.decisions)})


def _since(run: Run, before: FrozenStep, now: FrozenStep, file: UserFile | None) -> str:
    """Why a step of an earlier run is made again, if its code is why; '' if not."""
    if now.code is None or before.stage != now.stage or before.code == now.code:
        return ""
    own = run.request.user_file
    change = code_change(now.stage, before.code, now.code, own.texts if own else {}, file)
    progress = read_progress(run.store, before.stage, before.fingerprint)
    left = f"; what the old code made is not used: {progress.describe()}" if progress.started else ""
    return f"{change} since run {run.name}{left}"


def _earlier_runs(request: Request, store: Store) -> Iterator[Run]:
    """The runs of a pipeline of this name, the one that began last first."""
    pattern = re.compile(rf"{re.escape(request.pipeline)}-[0-9a-f]{{{RUN_DIGITS}}}")
    briefs = [
        one
        for one in runs_in_brief(store, with_times=True)
        if pattern.fullmatch(one.run.name) and one.run.name != request.run
    ]
    return (one.run for one in sorted(briefs, key=lambda one: -one.begun_at_seconds))


def _is_users(step: FrozenStep, file: UserFile) -> bool:
    """Whether a step's stage is of the user's own file, or of a module beside it."""
    return not step.used and step.import_path.partition(":")[0].partition(".")[0] == file.module


def _renewed(step: FrozenStep, before: dict[str, FrozenStep], file: UserFile, newest: UserFile) -> FrozenStep:
    """A step with the newest code. `before` has the renewed steps that it reads.

    Raises ImportError, `BindError` or `ValidationError` where the code no longer has the stage or takes the recipe.
    """
    reads = {
        edge: PlannedInput(step=item.step, stage=item.stage, fingerprint=before[item.step].fingerprint)
        for edge, item in step.inputs.items()
    }
    is_users = _is_users(step, file)
    if step.used or (not is_users and reads == step.inputs):
        return step
    import_path = newest.module + step.import_path.removeprefix(file.module) if is_users else step.import_path
    stage = load_stage(import_path)
    recipe = stage.recipe_type.model_validate(step.recipe)
    number = stage.number if is_users else step.number
    fingerprints = {edge: item.fingerprint for edge, item in reads.items()}
    changed = {
        "import_path": import_path,
        "number": number,
        "recipe": recipe.model_dump(mode="json"),
        "fingerprint": stage.fingerprint(recipe, fingerprints, number, fork=step.fork),
        "inputs": reads,
        "conduct_inputs": stage.conduct_edges(reads),
        "code": stage.code,
    }
    return step.model_copy(update=changed)
