"""Models in MLflow: a logged model for each artifact that holds one, and its version in the model registry.

Both refer to the artifact by its fingerprint and its folder in the store; no weights are uploaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pipelines.tracking import page_contents
from pipelines.tracking.client import PageClient
from stages.artifacts.artifact import Artifact
from stages.artifacts.head import HEAD_FILE, ManifestHead, head_bytes

if TYPE_CHECKING:
    from mlflow.entities import LoggedModel
    from mlflow.entities import Run as MlflowRun

READY = "READY"
"""MLflow's status of a logged model that is complete."""


@dataclass(frozen=True)
class LoggedModels:
    """The logged models of one experiment, and the registered models of one pipeline."""

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

    def log(self, page: str, step: str, artifact: Artifact, known: MlflowRun) -> None:
        """Log an artifact as a model that was made by `page`, and register it. `known` is the page as it is now."""
        from mlflow.entities import LoggedModelOutput

        tags = {
            **page_contents.step_tags(artifact.head),
            "neo.folder": page_contents.folder_url(artifact),
            "neo.manifest": page_contents.manifest_url(artifact),
        }
        model = self.find(artifact.fingerprint) or self.pages.mlflow.create_logged_model(
            self.pages.experiment,
            name=f"{self.pipeline}-{step}",
            source_run_id=page,
            tags=tags,
            params=page_contents.parameters(artifact.head.recipe),
            model_type=artifact.head.kind,
        )
        if model.status != READY:
            self._register(model, artifact.head, tags)
        if model.model_id not in {output.model_id for output in known.outputs.model_outputs}:
            self.pages.mlflow.log_outputs(page, [LoggedModelOutput(model.model_id, 0)])

    def list_on(self, page: str, fingerprints: Sequence[str]) -> None:
        """List the logged models of these artifacts as made by `page`: the run of the steps that made them."""
        from mlflow.entities import LoggedModelOutput

        known = {output.model_id for output in self.pages.read(page).outputs.model_outputs}
        found = [model for one in fingerprints if (model := self.find(one)) is not None]
        if new := [LoggedModelOutput(model.model_id, 0) for model in found if model.model_id not in known]:
            self.pages.mlflow.log_outputs(page, new)

    def _register(self, model: LoggedModel, head: ManifestHead, tags: dict[str, str]) -> None:
        """Upload the head and add a version of the registered model `<pipeline>-<step>`.

        The status READY is set last: a logged model without it was interrupted here, and is registered again.
        """
        client, name = self.pages.mlflow, str(model.name)
        self._log_head(model, head)
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, tags={"neo.pipeline": self.pipeline})
        source = f"models:/{model.model_id}"
        if source not in {version.source for version in client.search_model_versions(f"name = '{name}'")}:
            client.create_model_version(
                name, source, model.source_run_id, tags, model_id=model.model_id, await_creation_for=0
            )
        client.finalize_logged_model(model.model_id, READY)

    def _log_head(self, model: LoggedModel, head: ManifestHead) -> None:
        with TemporaryDirectory(prefix="neo-page-") as folder:
            (Path(folder) / HEAD_FILE).write_bytes(head_bytes(head))
            self.pages.mlflow.log_model_artifacts(model.model_id, folder)
