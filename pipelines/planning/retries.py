"""Steps that fetch failed rows of a download again: `--retry-rows pairs=timeout,server_error`.

Owns where such a step stands in a graph. It is inserted behind the download, and all steps that read the download read
it instead; the download itself stays as it is. Named again, a step stands behind the one that was inserted before.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence

from pipelines.exits import BadCommandError
from pipelines.planning.catalog import AnyStep, Pipeline
from pipelines.planning.overrides import apply_settings, known_step
from stages.artifacts.taken_over import EXTENDS_INPUT
from stages.download.failed_rows import TRANSIENT, spelled_reasons
from stages.retry_pairs import DOWNLOADS, RetryPairsRecipe, retry_pairs

INSERTED = re.compile(r"(.+)_retry\d+")
"""Names of inserted steps: `pairs_retry1` fetches rows of `pairs` again."""


def with_retries(pipeline: Pipeline, texts: Sequence[str], settings: Sequence[str] = ()) -> Pipeline:
    """The pipeline with settings, and with a step for each text `STEP=REASONS` that fetches rows of STEP again.

    Fields of the download are those of the inserted step too, as the settings leave them; settings may also name the
    inserted step. Raises `BadCommandError`.
    """
    own = [text for text in settings if not texts or text.partition(".")[0] in pipeline.steps]
    pipeline = apply_settings(pipeline, own)
    for text in texts:
        pipeline = _with_retry(pipeline, text)
    return apply_settings(pipeline, [text for text in settings if text not in own])


def last_retry(steps: Sequence[tuple[str, str | None]], step: str) -> str:
    """The last step that fetches rows of `step` again, or itself; `steps` are names with what each extends."""
    found = next((name for name, extends in steps if extends == step), None)
    return step if found is None else last_retry(steps, found)


def _with_retry(pipeline: Pipeline, text: str) -> Pipeline:
    then = f"neo plan {pipeline.request}"
    name, equals, typed = text.partition("=")
    if not name or not equals or not typed:
        raise BadCommandError(f"--retry-rows {text}: write it as STEP=REASONS, such as pairs={TRANSIENT}", then=then)
    known_step(pipeline, name, f"--retry-rows {text}")
    extended = pipeline.steps[last_retry(extended_steps(pipeline.steps), name)]
    if extended.stage.name not in DOWNLOADS:
        downloads = ", ".join(one for one, step in pipeline.steps.items() if step.stage.name in DOWNLOADS) or "none"
        raise BadCommandError(
            f"--retry-rows {text}: {name!r} is {extended.stage.name}, which knows nothing of the web; steps that "
            f"do: {downloads}",
            then=then,
        )
    further = [one for one, step in pipeline.steps.items() if step.edges.get(EXTENDS_INPUT) is extended]
    if further:
        raise BadCommandError(
            f"--retry-rows {text}: step {further[0]!r} adds a table to {extended.name!r}, and would be downloaded "
            f"anew; retry {further[0]!r}, which holds the rows of both",
            then=then,
        )
    try:
        reasons = spelled_reasons(typed.split(","))
    except ValueError as error:
        raise BadCommandError(f"--retry-rows {text}: {error}", then=then) from error
    fields = RetryPairsRecipe.model_fields.keys() - {"reasons", "accept_unreachable"}
    kept = {field: getattr(extended.recipe, field) for field in fields if field in type(extended.recipe).model_fields}
    recipe = RetryPairsRecipe(**kept, reasons=reasons)
    inserted = retry_pairs.bind(_free_name(pipeline, extended.name), recipe, extended)
    return _behind(pipeline, extended, inserted)


def extended_steps(steps: Mapping[str, AnyStep]) -> list[tuple[str, str | None]]:
    """The names of steps, each with the step that it extends, for `last_retry`."""
    extends = {name: step.edges.get(EXTENDS_INPUT) for name, step in steps.items() if step.stage is retry_pairs}
    return [(name, None if step is None else step.name) for name, step in extends.items()]


def _free_name(pipeline: Pipeline, step: str) -> str:
    inserted = INSERTED.fullmatch(step)
    root, number = inserted[1] if inserted else step, 1
    while f"{root}_retry{number}" in pipeline.steps:
        number += 1
    return f"{root}_retry{number}"


def _behind(pipeline: Pipeline, extended: AnyStep, inserted: AnyStep) -> Pipeline:
    """The pipeline in which all that read `extended` read `inserted`, which reads it."""
    done: dict[str, AnyStep] = {}

    def rebuilt(step: AnyStep) -> AnyStep:
        if step.name == extended.name:
            return inserted
        if step.name not in done:
            edges = {name: rebuilt(dependency) for name, dependency in step.edges.items()}
            done[step.name] = dataclasses.replace(step, edges=edges)
        return done[step.name]

    return dataclasses.replace(pipeline, targets=tuple(map(rebuilt, pipeline.targets)))
