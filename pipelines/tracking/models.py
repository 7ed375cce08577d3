"""Logged models of MLflow: one for each artifact that holds a model, with the folder that MLflow loads it by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.tracking import page_contents
from pipelines.tracking.client import PageClient
from pipelines.tracking.model_files import model_files
from stages.artifacts.artifact import Artifact

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun

READY = "READY"
"""MLflow's status of a logged model that is complete."""


@dataclass(frozen=True)
class LoggedModels:
    """The logged models of one experiment."""

    pages: PageClient
    pipeline: str

    def find(self, fingerprint: str) -> LoggedModel | None:
        """The logged model of an artifact, or None. Two commands at once may have created two: the oldest counts."""
        models = self.pages.mlflow.search_logged_models(
            [self.pages.experiment],
            filter_string=f"tags.`neo.fingerprint` = '{fingerprint}'",
            order_by=[{"field_name": "creation_timestamp", "ascending": True}],
            max_results=1,
        )
        return models[0] if models else None

    def log(self, page: str, step: str, artifact: Artifact, known: MlflowRun, at_seconds: float) -> LoggedModel:
        """Log an artifact as a model that was made by `page`; returns it. `known` is the page as it is now.

        The status READY is set last: a logged model without it was interrupted here, and its files are sent again.
        """
        from mlflow.entities import LoggedModelOutput

        client = self.pages.mlflow
        model = self.find(artifact.fingerprint) or client.create_logged_model(
            self.pages.experiment,
            name=f"{self.pipeline}-{step}",
            source_run_id=page,
            tags={
                **page_contents.step_tags(artifact.head),
                "neo.folder": page_contents.folder_url(artifact),
                "neo.manifest": page_contents.manifest_url(artifact),
            },
            params=page_contents.parameters(artifact.head.recipe),
            model_type=artifact.head.kind,
        )
        if model.status != READY:
            with model_files(artifact, str(model.model_id), at_seconds) as folder:
                client.log_model_artifacts(model.model_id, str(folder))
            client.finalize_logged_model(model.model_id, READY)
        if model.model_id not in {output.model_id for output in known.outputs.model_outputs}:
            client.log_outputs(page, [LoggedModelOutput(model.model_id, 0)])
        return model

    def list_on(self, page: str, fingerprints: Sequence[str]) -> None:
        """List the logged models of these artifacts as made by `page`: the run of the steps that made them."""
        from mlflow.entities import LoggedModelOutput

        known = {output.model_id for output in self.pages.read(page).outputs.model_outputs}
        found = [model for one in fingerprints if (model := self.find(one)) is not None]
        if new := [LoggedModelOutput(model.model_id, 0) for model in found if model.model_id not in known]:
            self.pages.mlflow.log_outputs(page, new)
