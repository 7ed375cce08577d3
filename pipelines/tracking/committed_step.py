"""The page of a committed step: note, tags, parameters, metrics, files, data sets and models.

Owns the calls that fill it. `run_pages.py` decides when; `page_contents.py` has the texts and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from pipelines.lineage.contents import evaluation_metrics
from pipelines.planning.request import FrozenStep, Request
from pipelines.tracking import page_contents
from pipelines.tracking.client import PageClient, dataset_input, to_metrics
from pipelines.tracking.datasets import artifact_dataset, outside_dataset
from pipelines.tracking.models import LoggedModels
from pipelines.tracking.registry import Registry, is_handed_on, models_scored_by
from pipelines.tracking.run_contents import OUTSIDE
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import ManifestHead, read_head
from stages.store.store import Store

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, LoggedModel
    from mlflow.entities import Run as MlflowRun


@dataclass(frozen=True)
class CommittedSteps:
    """Fills the pages of the committed steps of one run."""

    pages: PageClient
    request: Request
    store: Store

    @property
    def registry(self) -> Registry:
        """The registered models of the pipeline."""
        return Registry(self.pages, self.request.pipeline)

    @property
    def models(self) -> LoggedModels:
        """The logged models of the pipeline's experiment."""
        return LoggedModels(self.pages, self.request.pipeline)

    def describe(
        self, page: str, step: FrozenStep, head: ManifestHead, note: str, at_seconds: float
    ) -> dict[str, float]:
        """Fill the page of a step from its artifact; returns the metrics of an evaluation, {} for other artifacts.

        Parameters that the page has are left alone: MLflow refuses to change one, and `--use` may bind another artifact
        to the same page.
        """
        artifact = Artifact(self.store, head)
        known = self.pages.read(page)
        models_read = self._log_inputs(page, head, known)
        tags_of_models = {f"neo.input_model.{name}": f"models:/{model}" for name, model in models_read.items()}
        evaluated = evaluation_metrics(artifact)
        scored = self._scored(step) if evaluated else []
        self.pages.log(
            page,
            tags={
                **page_contents.step_tags(head),
                **tags_of_models,
                "neo.folder": page_contents.folder_url(artifact),
                "neo.manifest": page_contents.manifest_url(artifact),
                "mlflow.note.content": note,
            },
            parameters={
                name: value
                for name, value in page_contents.parameters(head.recipe).items()
                if name not in known.data.params
            },
            metrics=[
                *to_metrics(page_contents.counts(head), at_seconds, None),
                *to_metrics(evaluated, at_seconds, None),
            ],
        )
        for of_step, scored_model in scored:
            self._score(step, of_step, scored_model, evaluated, at_seconds)
        if head.holds_model:
            self._log_model(page, step, artifact, known, at_seconds)
        self.pages.log_files(page, partial(page_contents.write_files, artifact))
        return evaluated

    def _log_inputs(self, page: str, head: ManifestHead, known: MlflowRun) -> dict[str, str]:
        """Log data read or made as data sets, and models that were read as inputs; returns input name to model id."""
        from mlflow.entities import LoggedModelInput

        datasets = [] if head.holds_model else [self._dataset(head, "made")]
        for name, source in head.provenance.get("sources", {}).items():
            datasets.append(dataset_input(outside_dataset(name, source), OUTSIDE))
        models: dict[str, str] = {}
        for name, item in head.inputs.items():
            parent = read_head(self.store, item.stage, item.fingerprint)
            if parent is None:
                continue
            model = self.models.find(parent.fingerprint) if parent.holds_model else None
            if model is not None:
                models[name] = str(model.model_id)
            else:
                datasets.append(self._dataset(parent, f"read as {name}"))
        already = {model.model_id for model in known.inputs.model_inputs}
        new = [LoggedModelInput(model) for model in dict.fromkeys(models.values()) if model not in already]
        if datasets or new:
            self.pages.mlflow.log_inputs(page, datasets=datasets, models=new)
        return models

    def _log_model(self, page: str, step: FrozenStep, artifact: Artifact, known: MlflowRun, at_seconds: float) -> None:
        """Log the model that a step made, register it where it is handed on, and give it the scores that there are."""
        model = self.models.log(page, step.name, artifact, known, at_seconds)
        if not is_handed_on(self.request, step):
            return
        self.registry.register(step, self.request, artifact, model)
        for evaluation in self.request.steps:
            if step not in models_scored_by(self.request, evaluation):
                continue
            head = read_head(self.store, evaluation.stage, evaluation.fingerprint)
            if head is not None and (numbers := evaluation_metrics(Artifact(self.store, head))):
                self._score(evaluation, step, model, numbers, at_seconds)

    def _scored(self, evaluation: FrozenStep) -> list[tuple[FrozenStep, LoggedModel]]:
        """The logged models that an evaluation is about, with their steps."""
        steps = models_scored_by(self.request, evaluation)
        return [(step, model) for step in steps if (model := self.models.find(step.fingerprint)) is not None]

    def _score(
        self, evaluation: FrozenStep, step: FrozenStep, model: LoggedModel, numbers: dict[str, float], at_seconds: float
    ) -> None:
        """Give a model the numbers of an evaluation; numbers that it has are left alone."""
        page = self.pages.find(f"{self.request.run}/{evaluation.name}")
        if page is None:
            return
        known = {(one.key, one.run_id) for one in self.pages.mlflow.get_logged_model(model.model_id).metrics or ()}
        metrics = to_metrics(numbers, at_seconds, None, model=str(model.model_id), page=page)
        if new := [metric for metric in metrics if (metric.key, page) not in known]:
            self.pages.log(page, metrics=new)
        if is_handed_on(self.request, step):
            self.registry.score(step, self.request, evaluation, model, numbers)

    def _dataset(self, head: ManifestHead, context: str) -> DatasetInput:
        """An artifact as a data set. It is equal on all pages, by which MLflow links its maker with its readers."""
        return dataset_input(artifact_dataset(head, self.store, page_contents.counts(head)), context)
