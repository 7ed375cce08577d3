"""The model registry: a version for each model that one would hand on, with description, scores and aliases.

Registered are whole models that no other model of the run was made of: exports, and checkpoints that nothing exports.
`models:/<pipeline>-<step>/latest` is the newest version, by MLflow itself, which reserves that word; the alias `best`
is the version with the highest score by the first evaluation of the request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pipelines.lineage.graph import describe_counts
from pipelines.planning.request import FrozenStep, Request
from pipelines.tracking.client import MAX_TAG_CHARACTERS, PageClient
from pipelines.tracking.model_files import MAX_COPIED_BYTES, WHOLE_MODELS
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities.model_registry import ModelVersion

BEST: Final = "best"
"""The alias of the version with the highest score."""
SCORES: Final = ("accuracy", "average", "score", "mra", "anls", "vqa_accuracy")
"""Metrics by which versions are compared, by falling precedence; higher is better."""
SCORE_TAG: Final = "neo.score"
"""Begins the tags of a version that hold its scores: `neo.score.<step>` for each evaluation step."""


def is_handed_on(request: Request, step: FrozenStep) -> bool:
    """Whether one would register the model of a step: a whole one, of which no other of the run is made."""
    readers = (other for other in request.steps if any(item.step == step.name for item in other.inputs.values()))
    return step.makes in WHOLE_MODELS and not any(reader.makes in WHOLE_MODELS for reader in readers)


def models_scored_by(request: Request, step: FrozenStep) -> list[FrozenStep]:
    """The steps whose models an evaluation is about: what it asked, and the exports of the same weights."""
    asked = [request.step(item.step) for item in step.inputs.values() if request.step(item.step).makes in WHOLE_MODELS]
    names = {one.name for one in asked}
    exports = [
        other
        for other in request.steps
        if other.makes == "ExportedCheckpoint" and any(item.step in names for item in other.inputs.values())
    ]
    return [*asked, *exports]


def is_about(request: Request, evaluation: FrozenStep, step: FrozenStep) -> bool:
    """Whether a step is an evaluation of the model of `step`."""
    return evaluation.makes == "Evaluation" and step in models_scored_by(request, evaluation)


def description(request: Request, step: FrozenStep, head: ManifestHead) -> str:
    """What a version is, in Markdown."""
    copied = head.size_bytes <= MAX_COPIED_BYTES
    where = "are copied here" if copied else f"stay in the store ({head.size_bytes:,} bytes), where loading reads them"
    return "\n".join(
        [
            f"{step.name} of run {request.run}: {head.kind} {head.short}, {describe_counts(head)}.",
            "",
            f"The weights {where}. `mlflow.pyfunc.load_model` gives a model that answers "
            '`predict([{"question": "...", "picture_path": "..."}])`.',
            "",
            f"Content `{head.content}`. `neo trace {head.short}` prints what it was made of, `neo audit {head.short}` "
            "checks it.",
        ]
    )


@dataclass(frozen=True)
class Registry:
    """The registered models of one pipeline. All calls may be repeated."""

    pages: PageClient
    pipeline: str

    def name_of(self, step: str) -> str:
        """Name of the registered model of a step."""
        return f"{self.pipeline}-{step}"

    def register(self, step: FrozenStep, request: Request, artifact: Artifact, model: LoggedModel) -> None:
        """Add a version that is this logged model, unless there is one."""
        client, name = self.pages.mlflow, self.name_of(step.name)
        if not client.search_registered_models(f"name = '{name}'"):
            told = f"Models of step `{step.name}` of pipeline `{self.pipeline}`. `{BEST}` has the highest score."
            client.create_registered_model(name, tags={"neo.pipeline": self.pipeline}, description=told)
        if self._version(name, str(model.model_id)) is None:
            client.create_model_version(
                name,
                f"models:/{model.model_id}",
                model.source_run_id,
                {tag: text[:MAX_TAG_CHARACTERS] for tag, text in model.tags.items() if tag.startswith("neo.")},
                description=description(request, step, artifact.head),
                model_id=model.model_id,
                await_creation_for=0,
            )

    def score(
        self, step: FrozenStep, request: Request, evaluation: FrozenStep, model: LoggedModel, metrics: dict[str, float]
    ) -> None:
        """Note the score of a version by an evaluation, and let `best` be the version with the highest one.

        Versions are compared by the first evaluation of the request that is about them; ties go to the older.
        """
        client, name = self.pages.mlflow, self.name_of(step.name)
        version = self._version(name, str(model.model_id))
        measured = next((metrics[metric] for metric in SCORES if metric in metrics), None)
        if version is None or measured is None:
            return
        client.set_model_version_tag(name, version.version, f"{SCORE_TAG}.{evaluation.name}", repr(measured))
        decides = next(f"{SCORE_TAG}.{one.name}" for one in request.steps if is_about(request, one, step))
        scored = [
            (float(one.tags[decides]), -int(one.version))
            for one in client.search_model_versions(f"name = '{name}'")
            if decides in one.tags
        ]
        if scored:
            client.set_registered_model_alias(name, BEST, str(-max(scored)[1]))

    def _version(self, name: str, model_id: str) -> ModelVersion | None:
        versions = self.pages.mlflow.search_model_versions(f"name = '{name}'")
        return next((one for one in versions if one.source == f"models:/{model_id}"), None)
